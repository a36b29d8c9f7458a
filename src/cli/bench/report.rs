//! `edgeclip bench --report`: measures everything about one machine with one model, for its owner to send in.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use edgeclip::capture::Shot;
use edgeclip::config::{AUTO, Board};
use edgeclip::disk;
use edgeclip::doctor::{self, Facts, Level, Machine, Setting, State};
use edgeclip::pipeline::{FrameTimes, ImageSide, Model as OpenModel, Profile};

use super::pipeline::{self, Loop};
use super::record::{
    Camera, Computed, FORMAT, Memory, Model, Record, Sustained, Tower, others_load,
};
use super::{Arguments, Measured, markdown, measure, ms, status, times};
use crate::cli::{Failure, Outcome};

/// From one look at clocks and heat to the next, while the loop runs.
const WATCH_EVERY: Duration = Duration::from_secs(1);

const WHERE_TO: &str = "to send it in, attach both to an issue of the project";

pub(super) fn run(arguments: &Arguments, place: &Path) -> Result<Outcome, Failure> {
    let machine = Machine::here();
    let mut facts = Facts::of(&machine);
    if arguments.emulated {
        facts.setting = Setting::Emulated("who measured says so".to_owned());
    }
    let frames = pipeline::frames(arguments)?;
    let before = State::of(&machine);
    warn(&machine, &facts, &before);
    let begun = Instant::now();
    let model = arguments.model.open()?;
    let mut side = model.image_side()?;
    side.encode_image(&frames[0])?;
    let first_embedding_ms = ms(begun.elapsed());
    let profile = Board::load(AUTO)?.name;
    // Before the long part: a place that takes no file is told at once.
    let files = Files::named(place, &stem(&facts, &profile, &model.bundle().manifest().name))?;
    eprintln!(
        "edgeclip: measuring {} frames of each kind, then {} s of the whole loop",
        arguments.frames, arguments.seconds
    );
    let measured = measure(&mut side, &frames[0], arguments.frames as usize)?;
    let memory = Memory::now(&measured);
    let (described, compute) = (Model::of(&model), Computed::of(&model, &side));
    drop((side, model));
    let (_folder, mut running) = pipeline::start(&arguments.model.options())?;
    let shots = pipeline::shots(&frames)?;
    let camera = Camera::measure(&mut running, &shots, arguments.frames)?;
    let sustained = sustain(&mut running, &shots[0], arguments.seconds, &machine)?;
    // Before the machine cools down.
    let after = State::of(&machine);
    running.stop();
    let record = Record {
        format: FORMAT,
        edgeclip: env!("CARGO_PKG_VERSION").to_owned(),
        date: jiff::Timestamp::now().strftime("%F").to_string(),
        note: arguments.note.clone(),
        profile,
        machine: facts,
        model: described,
        compute,
        before,
        after,
        tower: Tower {
            picture: [frames[0].width(), frames[0].height()],
            frames: arguments.frames,
            first_embedding_ms,
            preprocess_ms: measured.preprocess,
            encode_ms: measured.encode,
            operators: measured.operators,
        },
        camera,
        sustained,
        memory,
    };
    files.write(&record)?;
    println!("{}\n{}", files.json.display(), files.page.display());
    eprintln!("edgeclip: a record and its page; {WHERE_TO}");
    Ok(Outcome::Done)
}

/// What makes the times longer than they need be.
fn warn(machine: &Machine, facts: &Facts, before: &State) {
    for finding in doctor::examine_pace(machine) {
        if finding.level > Level::Ok {
            eprintln!("edgeclip: {finding}");
        }
    }
    if let Some(load) = others_load(facts, before) {
        eprintln!("edgeclip: other programs compute here (load {load}): times will be too long");
    }
}

/// The loop with raw frames for some seconds, with an eye on clocks and heat.
fn sustain(
    running: &mut Profile,
    shots: &[Shot],
    seconds: u32,
    machine: &Machine,
) -> anyhow::Result<Sustained> {
    let (mut taken, mut clocks_min_mhz, mut celsius_max) = (Vec::new(), Vec::new(), None);
    let mut watched = Duration::ZERO;
    let begun = Instant::now();
    for shot in shots.iter().cycle() {
        taken.push(running.take(shot)?);
        let elapsed = begun.elapsed();
        let is_over = elapsed >= Duration::from_secs(seconds.into());
        if is_over || elapsed >= watched + WATCH_EVERY {
            watched = elapsed;
            lower(&mut clocks_min_mhz, doctor::clocks_mhz(machine));
            let celsius = doctor::temperatures(machine).into_iter().map(|it| it.celsius);
            celsius_max = celsius.chain(celsius_max).max_by(f64::total_cmp);
        }
        if is_over {
            break;
        }
    }
    Ok(Sustained::of(&taken, begun.elapsed(), clocks_min_mhz, celsius_max))
}

/// Of each core the lower clock.
fn lower(lowest: &mut Vec<u64>, clocks: Vec<u64>) {
    // A core may come or go while the loop runs: then there is nothing to compare.
    if lowest.len() == clocks.len() {
        lowest.iter_mut().zip(clocks).for_each(|(low, clock)| *low = clock.min(*low));
    } else {
        *lowest = clocks;
    }
}

impl Sustained {
    fn of(
        taken: &[FrameTimes],
        time: Duration,
        clocks_min_mhz: Vec<u64>,
        celsius_max: Option<f64>,
    ) -> Self {
        let seconds = time.as_secs_f64();
        let tenth = taken.len().div_ceil(10);
        let median =
            |part: &[FrameTimes]| times(part.iter().map(|it| it.all_ms().into()).collect()).median;
        Self {
            seconds,
            frames: taken.len(),
            frames_per_s: taken.len() as f64 / seconds,
            yuyv: Loop::of(taken),
            first_tenth_ms: median(&taken[..tenth]),
            last_tenth_ms: median(&taken[taken.len() - tenth..]),
            clocks_min_mhz,
            celsius_max,
        }
    }
}

impl Camera {
    fn measure(
        running: &mut Profile,
        [yuyv, mjpeg]: &[Vec<Shot>; 2],
        frames: u32,
    ) -> anyhow::Result<Self> {
        let taken = pipeline::in_turn(running, yuyv, mjpeg, frames as usize)?;
        let [yuyv, mjpeg] = taken.map(|taken| Loop::of(&taken));
        Ok(Self { frames, yuyv, mjpeg })
    }
}

impl Model {
    fn of(model: &OpenModel) -> Self {
        let manifest = model.bundle().manifest();
        Self {
            name: manifest.name.clone(),
            digest: model.bundle().digest().to_owned(),
            image_size: manifest.preprocess.image_size as usize,
        }
    }
}

impl Computed {
    fn of(model: &OpenModel, side: &ImageSide) -> Self {
        let compute = model.compute();
        let is_int8 = side.encoder.report().products > 0;
        Self {
            precision: compute.precision(),
            kernel: if is_int8 { compute.kernel().name() } else { "float" }.to_owned(),
            threads: if is_int8 { compute.threads() } else { 1 },
            cores: compute.cores().map(ToString::to_string),
        }
    }
}

impl Memory {
    fn now(measured: &Measured) -> Self {
        Self {
            resident_bytes: status("VmRSS"),
            mapped_bytes: status("RssFile"),
            resident_max_bytes: status("VmHWM"),
            allocations: measured.allocations,
            allocated_bytes: measured.allocated_bytes,
        }
    }
}

/// Where a record and its page go.
#[derive(Debug)]
struct Files {
    json: PathBuf,
    page: PathBuf,
}

impl Files {
    /// The file that the user names, or one with this name in the folder that the user names, or in this one. What is
    /// there already stays.
    fn named(place: &Path, stem: &str) -> Result<Self, Failure> {
        let own = PathBuf::from(format!("{stem}.json"));
        let json = match place {
            here if here == Path::new(".") => own,
            folder if folder.is_dir() => folder.join(own),
            file => file.to_owned(),
        };
        if json.extension() != Some(OsStr::new("json")) {
            let words = "neither a folder that is there nor a file whose name ends in .json";
            return Err(Failure::Usage(anyhow!("--report={}: {words}", json.display())));
        }
        let page = json.with_extension("md");
        for path in [&json, &page] {
            if path.exists() {
                let words =
                    "is there already: move it, or name another file with --report=FILE.json";
                return Err(anyhow!("{} {words}", path.display()).into());
            }
        }
        let folder = json.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        tempfile::tempfile_in(folder)
            .with_context(|| format!("no report can be written to {}", folder.display()))?;
        Ok(Self { json, page })
    }

    fn write(&self, record: &Record) -> anyhow::Result<()> {
        let json = serde_json::to_string_pretty(record)? + "\n";
        for (path, text) in [(&self.json, json), (&self.page, markdown::page(record))] {
            disk::publish(path, text.as_bytes()).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}

/// A name for a record, made of what was measured.
fn stem(facts: &Facts, profile: &str, model: &str) -> String {
    let board = facts.board.as_deref().unwrap_or(profile);
    let words = match facts.setting {
        Setting::Machine => format!("{board} {model}"),
        Setting::Virtual(_) => format!("virtual {board} {model}"),
        Setting::Emulated(_) => format!("emulated {board} {model}"),
    };
    let words = words.to_lowercase();
    let parts = words.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use edgeclip::doctor::{Cooling, CoreKind, Temperature, Throttled};
    use serde_json::Value;

    use super::*;

    /// Every record in the repository is one, and its page is made of it. What an emulator ran is named so.
    #[test]
    fn records_are_what_is_written() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("boards/records");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let (records, others): (Vec<_>, Vec<_>) =
            files.partition(|path| path.extension() == Some(OsStr::new("json")));
        assert!(records.len() >= 3, "{records:?}");
        for path in &records {
            let shown = path.display();
            let text = std::fs::read_to_string(path).unwrap();
            let record: Record =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{shown}: {error}"));
            assert_eq!(record.format, FORMAT, "{shown}");
            let page = std::fs::read_to_string(path.with_extension("md")).unwrap();
            assert_eq!(page, markdown::page(&record), "{shown}");
            let name = path.file_name().unwrap().to_str().unwrap();
            let emulated = matches!(record.machine.setting, Setting::Emulated(_));
            assert_eq!(name.starts_with("emulated-"), emulated, "{shown}");
            assert_eq!(page.contains("**Emulated: "), emulated, "{shown}");
            let virtual_one = matches!(record.machine.setting, Setting::Virtual(_));
            assert_eq!(name.starts_with("virtual-"), virtual_one, "{shown}");
            assert!(Board::names().any(|name| name == record.profile), "{shown}");
        }
        let is_page = |path: &PathBuf| {
            path.ends_with("README.md") || records.contains(&path.with_extension("json"))
        };
        assert!(others.iter().all(is_page), "no record goes with one of {others:?}");
    }

    /// The names of all fields, those of lists' elements as well.
    fn fields(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.keys().cloned());
                map.values().for_each(|value| fields(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| fields(value, found)),
            _ => {}
        }
    }

    #[test]
    fn each_field_is_explained() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("boards/records");
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        let text = read("emulated-cortex-a72-edgeclip-mini.json");
        let mut found = BTreeSet::new();
        fields(&serde_json::from_str(&text).unwrap(), &mut found);
        let state = State {
            temperatures: vec![Temperature { place: String::new(), celsius: 0.0 }],
            throttled: Some(Throttled { bits: String::new(), now: vec![], ever: vec![] }),
            cooling: vec![Cooling { kind: String::new(), step: 0, step_max: 0 }],
            ..State::default()
        };
        fields(&serde_json::to_value(state).unwrap(), &mut found);
        assert!(found.len() > 60, "{found:?}");
        let explained = read("README.md");
        let missing: Vec<_> =
            found.iter().filter(|name| !explained.contains(&format!("`{name}`"))).collect();
        assert!(missing.is_empty(), "README.md says nothing of {missing:?}");
    }

    #[test]
    fn a_record_is_named_after_what_was_measured() {
        let mut facts = Facts::of(&Machine::rooted(Path::new("/nowhere"), &[]));
        facts.setting = Setting::Machine;
        assert_eq!(stem(&facts, "generic", "edgeclip-mini"), "generic-edgeclip-mini");
        facts.board = Some("Raspberry Pi 4 Model B Rev 1.4".to_owned());
        let wanted = "raspberry-pi-4-model-b-rev-1-4-clip-vit-b-32";
        assert_eq!(stem(&facts, "raspberry-pi-4", "CLIP ViT-B/32"), wanted);
        facts.setting = Setting::Emulated(String::new());
        assert_eq!(
            stem(&facts, "raspberry-pi-4", "../a"),
            "emulated-raspberry-pi-4-model-b-rev-1-4-a"
        );
    }

    #[test]
    fn other_programs_are_noticed() {
        let mut facts = Facts::of(&Machine::rooted(Path::new("/nowhere"), &[]));
        let busy = State { load: Some(2.1), ..State::default() };
        assert_eq!(others_load(&facts, &busy), None, "nobody knows how many cores there are");
        let numbers = vec![0, 1, 2, 3];
        facts.cores = vec![CoreKind { name: "A76".to_owned(), numbers, mhz_max: None }];
        assert_eq!(others_load(&facts, &busy), Some(2.1));
        let quiet = State { load: Some(1.9), ..State::default() };
        assert_eq!(others_load(&facts, &quiet), None);
        assert_eq!(others_load(&facts, &State::default()), None);
    }

    #[test]
    fn the_first_and_the_last_frames_are_told_apart() {
        let frame = |ms: f32| FrameTimes { encode_ms: ms, ..FrameTimes::default() };
        let taken: Vec<FrameTimes> = (1..=25_u8).map(|at| frame(at.into())).collect();
        let of = |taken| Sustained::of(taken, Duration::from_secs(5), Vec::new(), None);
        let all = of(&taken);
        assert_eq!((all.frames, all.frames_per_s), (25, 5.0));
        let median = all.yuyv.all_ms.median;
        assert_eq!((all.first_tenth_ms, median, all.last_tenth_ms), (2.0, 13.0, 24.0));
        let one = of(&taken[..1]);
        assert_eq!((one.first_tenth_ms, one.last_tenth_ms), (1.0, 1.0));
    }

    #[test]
    fn the_lowest_clock_of_each_core_is_kept() {
        let mut lowest = Vec::new();
        for clocks in [[2400, 1800], [1500, 2400], [2400, 2400]] {
            lower(&mut lowest, clocks.to_vec());
        }
        assert_eq!(lowest, [1500, 1800]);
        lower(&mut lowest, vec![2400]);
        assert_eq!(lowest, [2400]);
    }
}
