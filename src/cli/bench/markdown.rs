//! A record as a page for people.

use std::fmt::{Display, Write as _};

use edgeclip::doctor::{CoreKind, Setting, State};

use super::pipeline::{Loop, Stage};
use super::record::{Record, others_load};
use super::{Operator, Times};

/// For what a machine does not tell.
const UNTOLD: &str = "not told";

/// The page; the same record always gives the same.
pub(super) fn page(record: &Record) -> String {
    let mut page = String::new();
    head(&mut page, record);
    facts(&mut page, record);
    states(&mut page, record);
    sustained(&mut page, record);
    stages(&mut page, record);
    operators(&mut page, &record.tower.operators);
    memory(&mut page, record);
    page
}

fn line(page: &mut String, words: impl Display) {
    writeln!(page, "{words}").expect("a string takes everything");
}

/// What comes from outside, as words in a line of a table.
fn plain(words: &str) -> String {
    words.replace(char::is_control, " ").replace('|', "\\|")
}

/// The first row of a table, and the line below it.
fn header<const N: usize>(page: &mut String, names: [&str; N]) {
    line(page, format_args!("\n| {} |", names.join(" | ")));
    // The first column has words, the others figures.
    line(page, format_args!("| ---{} |", " | ---:".repeat(N - 1)));
}

fn row<const N: usize>(page: &mut String, cells: [&str; N]) {
    line(page, format_args!("| {} |", cells.map(plain).join(" | ")));
}

fn list(values: impl IntoIterator<Item = impl Display>) -> String {
    let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    if values.is_empty() { UNTOLD.to_owned() } else { values.join(", ") }
}

fn told(value: Option<impl Display>) -> String {
    value.map_or_else(|| UNTOLD.to_owned(), |value| value.to_string())
}

fn megabytes(bytes: Option<u64>) -> String {
    told(bytes.map(|bytes| format!("{:.1} MB", bytes as f64 / 1e6)))
}

fn head(page: &mut String, record: &Record) {
    let Record { machine, model, compute, sustained, tower, .. } = record;
    let board = machine.board.as_deref().unwrap_or("A machine that does not tell its name");
    line(page, format_args!("# {}\n", plain(board)));
    match &machine.setting {
        Setting::Machine => {}
        Setting::Virtual(seen) => line(page, format_args!("**A virtual machine** ({seen}).\n")),
        Setting::Emulated(seen) => {
            line(page, format_args!("**Emulated: times say nothing about a board** ({seen}).\n"));
        }
    }
    if let Some(load) = others_load(machine, &record.before) {
        line(
            page,
            format_args!(
                "**Other programs computed as well** (load {load}): times are too long.\n"
            ),
        );
    }
    line(
        page,
        format_args!(
            "**{:.1} frames a second** with {} ({} x {} pixels), kernel {}, {}: \
             {:.2} ms a frame in the loop, {:.2} ms the image tower alone.",
            sustained.frames_per_s,
            plain(&model.name),
            model.image_size,
            model.image_size,
            compute.kernel,
            threads(compute.threads),
            sustained.yuyv.all_ms.median,
            tower.encode_ms.median,
        ),
    );
}

fn threads(count: usize) -> String {
    if count == 1 { "1 thread".to_owned() } else { format!("{count} threads") }
}

fn facts(page: &mut String, record: &Record) {
    let Record { machine, model, compute, .. } = record;
    let kind = |CoreKind { name, numbers, mhz_max }: &CoreKind| {
        let rate = mhz_max.map_or_else(String::new, |mhz| format!(" up to {mhz} MHz"));
        format!("{} x {name}{rate} ({})", numbers.len(), list(numbers))
    };
    let setting = match &machine.setting {
        Setting::Machine => "the machine itself, as far as it tells".to_owned(),
        Setting::Virtual(seen) => format!("a virtual machine: {seen}"),
        Setting::Emulated(seen) => format!("an emulator: {seen}"),
    };
    let pinned = compute.cores.as_ref().map_or_else(
        || "not pinned to cores".to_owned(),
        |cores| format!("pinned to cores {cores}"),
    );
    let precision = format!("{:?}", compute.precision).to_lowercase();
    line(page, "\n| what | |\n| --- | --- |");
    for (name, value) in [
        ("executed by", setting),
        ("cores", list(machine.cores.iter().map(kind))),
        ("features", list(&machine.features)),
        ("int8 kernels", list(&machine.kernels)),
        ("memory of the machine", megabytes(machine.memory_bytes)),
        ("system", told(machine.system.as_ref())),
        ("its kernel", told(machine.release.as_ref())),
        ("profile", record.profile.clone()),
        ("edgeclip", format!("{} for {}, on {}", record.edgeclip, machine.arch, record.date)),
        ("model", format!("{}, {}", model.name, model.digest)),
        ("precision", precision),
        ("computed on", format!("{}, {pinned}", threads(compute.threads))),
        ("note", record.note.clone().unwrap_or_else(|| "none".to_owned())),
    ] {
        row(page, [name, &value]);
    }
}

/// How the machine stood before and after.
fn states(page: &mut String, record: &Record) {
    let states = [&record.before, &record.after];
    let each = |words: fn(&State) -> String| states.map(words);
    header(page, ["", "before", "at the end of the loop"]);
    for (name, [before, after]) in [
        ("load", each(|state| told(state.load))),
        ("governor", each(|state| list(&state.governors))),
        ("clocks, MHz", each(|state| list(&state.clocks_mhz))),
        ("temperature, degrees Celsius", each(heat)),
        ("Raspberry Pi's throttling", each(throttling)),
        ("cooling, step of steps", each(cooling)),
    ] {
        row(page, [name, &before, &after]);
    }
}

fn heat(state: &State) -> String {
    list(state.temperatures.iter().map(|it| format!("{} {:.1}", it.place, it.celsius)))
}

fn throttling(state: &State) -> String {
    let Some(throttled) = &state.throttled else { return UNTOLD.to_owned() };
    let words = |by: &[String]| if by.is_empty() { "no".to_owned() } else { by.join(", ") };
    let (now, ever) = (words(&throttled.now), words(&throttled.ever));
    format!("{}: now {now}; earlier {ever}", throttled.bits)
}

fn cooling(state: &State) -> String {
    list(state.cooling.iter().map(|it| format!("{} {} of {}", it.kind, it.step, it.step_max)))
}

fn sustained(page: &mut String, record: &Record) {
    let sustained = &record.sustained;
    line(
        page,
        format_args!(
            "\n## The whole loop, as fast as it goes\n\n\
             {} frames of 640 x 480 (YUYV) in {:.1} s. A frame took {:.3} ms in the first tenth of them and {:.3} ms in \
             the last (medians). Lowest clocks meanwhile, MHz: {}; highest temperature, degrees Celsius: {}.",
            sustained.frames,
            sustained.seconds,
            sustained.first_tenth_ms,
            sustained.last_tenth_ms,
            list(&sustained.clocks_min_mhz),
            told(sustained.celsius_max.map(|celsius| format!("{celsius:.1}"))),
        ),
    );
    header(page, ["stage, ms", "median", "10 %", "90 %"]);
    of_loop(page, &sustained.yuyv);
}

fn times(page: &mut String, name: &str, Times { median, p10, p90 }: &Times) {
    row(page, [name, &format!("{median:.3}"), &format!("{p10:.3}"), &format!("{p90:.3}")]);
}

fn of_loop(page: &mut String, Loop { stages, others_ms, all_ms, .. }: &Loop) {
    for Stage { name, ms } in stages {
        times(page, name, ms);
    }
    times(page, "all but encode", others_ms);
    times(page, "all", all_ms);
}

/// The same before the machine is hot, frame by frame.
fn stages(page: &mut String, record: &Record) {
    let Record { tower, camera, .. } = record;
    let [width, height] = tower.picture;
    line(
        page,
        format_args!(
            "\n## The first frames\n\nThe first embedding was there {:.1} ms after the model began to be opened. \
             {} frames of {width} x {height} through the image side alone:",
            tower.first_embedding_ms, tower.frames,
        ),
    );
    header(page, ["stage, ms", "median", "10 %", "90 %"]);
    times(page, "preprocess", &tower.preprocess_ms);
    times(page, "encode", &tower.encode_ms);
    for (encoding, of) in [("YUYV", &camera.yuyv), ("JPEG", &camera.mjpeg)] {
        line(
            page,
            format_args!("\n{} frames of 640 x 480 ({encoding}) through the loop:", camera.frames),
        );
        header(page, ["stage, ms", "median", "10 %", "90 %"]);
        of_loop(page, of);
    }
}

fn operators(page: &mut String, operators: &[Operator]) {
    line(page, "\n## Operators of the image tower");
    header(page, ["operator", "nodes", "ms", "share", "multiply-adds, M", "GOP/s", "allocations"]);
    for Operator { name, nodes, ms, share, mmac, gop_per_s, allocations } in operators {
        let counted = |value: f64| if *mmac > 0.0 { format!("{value:.1}") } else { String::new() };
        let cells = [
            name.clone(),
            nodes.to_string(),
            format!("{ms:.3}"),
            format!("{:.1} %", share * 100.0),
            counted(*mmac),
            counted(*gop_per_s),
            allocations.to_string(),
        ];
        row(page, cells.each_ref().map(String::as_str));
    }
}

fn memory(page: &mut String, record: &Record) {
    let memory = &record.memory;
    line(
        page,
        format_args!(
            "\n## Memory\n\n{} in use with the image tower loaded, {} of it mapped from files, {} at most so far; \
             a frame allocates {} times, {} bytes in all.",
            megabytes(memory.resident_bytes),
            megabytes(memory.mapped_bytes),
            megabytes(memory.resident_max_bytes),
            memory.allocations,
            memory.allocated_bytes,
        ),
    );
}
