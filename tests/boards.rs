//! The profiles of boards: each loads, says what can be so, and is found by its device tree.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use edgeclip::config::{AUTO, Board, Config, Model};
use edgeclip::outputs::gpio::Backend;
use serde_json::Value;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn boards() -> impl Iterator<Item = (Board, Config)> {
    Board::names().map(|name| {
        let board = Board::load(name).unwrap_or_else(|error| panic!("{error}"));
        (board, Config::load(Some(name), None, &[]).unwrap_or_else(|error| panic!("{error}")))
    })
}

#[test]
fn each_file_is_a_profile_and_is_listed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("boards");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let profiles = files.filter(|path| path.extension().is_some_and(|end| end == "toml"));
    let there: BTreeSet<String> =
        profiles.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    let known: BTreeSet<String> = Board::names().map(str::to_owned).collect();
    assert_eq!(there, known);
    let list = read("boards/README.md");
    for (Board { name, about, .. }, config) in boards() {
        let row =
            list.lines().find(|line| line.starts_with(&format!("| [{name}]({name}.toml) | ")));
        let row = row.unwrap_or_else(|| panic!("boards/README.md has no row of {name}"));
        let pins = format!("{:?}", config.options.gpio.backend).to_lowercase();
        let budget = about.budget_mb.map_or_else(String::new, |mb| mb.to_string());
        for cell in [about.board, about.kernel.unwrap(), budget, pins] {
            assert!(row.split('|').any(|found| found.trim() == cell), "{cell}: {row}");
        }
    }
}

#[test]
fn profiles_say_what_can_be_so() {
    let support = read("models/SUPPORT.md");
    let mut answered = BTreeSet::new();
    for (Board { name, about, .. }, config) in boards() {
        let has = |feature: &str| about.features.iter().any(|found| found == feature);
        let kernel = about.kernel.as_deref().unwrap();
        let wanted = match kernel {
            "neon" => has("asimd") && !has("asimddp"),
            "dotprod" => has("asimddp") && !has("i8mm"),
            "avx2" => has("avx2") && has("fma"),
            _ => false,
        };
        assert!(wanted, "{name}: {kernel} with {:?}", about.features);
        let is_pi = name.starts_with("raspberry-pi");
        assert_eq!(config.options.gpio.backend == Backend::Rpi, is_pi, "{name}");
        assert_eq!(config.options.source.url, if is_pi { "rpicam" } else { "v4l:/dev/video0" });
        assert!(!about.board.is_empty() && !about.pins.is_empty(), "{name}");
        assert!(!about.sources.is_empty() && !about.notes.is_empty(), "{name}");
        assert!(about.sources.keys().all(|url| url.starts_with("https://")), "{name}");
        if let (Some(smallest), Some(budget)) = (about.memory_mb.iter().min(), about.budget_mb) {
            assert!(budget * 2 <= *smallest, "{name}: {budget} of {smallest} MB");
        }
        assert!(!about.models.is_empty(), "{name}");
        for model in &about.models {
            assert!(support.contains(&format!("\n| {model} |")), "{name}: {model}");
            let takes = Model::named(model).unwrap().labels_mb;
            assert!(about.budget_mb.is_none_or(|budget| takes <= budget), "{name}: {model}");
        }
        for compatible in about.compatible {
            assert!(answered.insert(compatible.clone()), "{compatible} is claimed twice");
        }
    }
}

/// What was compared and came out right fits somewhere: below the limit, figures are bold.
#[test]
fn boards_know_all_models_that_were_compared() {
    let support = read("models/SUPPORT.md");
    let rows = support.lines().filter(|line| line.starts_with("| ") && !line.contains("---"));
    let right = rows.skip(1).filter(|row| !row.contains("**"));
    let names: BTreeSet<&str> = right.map(|row| row.split('|').nth(1).unwrap().trim()).collect();
    assert!(names.contains("clip-rn50") && names.contains("mobileclip-s2"), "{names:?}");
    let generic = Board::load("generic").unwrap().about.models;
    assert_eq!(generic.iter().map(String::as_str).collect::<BTreeSet<_>>(), names);
    // Memory decides, and nothing else.
    for (Board { name, about, .. }, _) in boards() {
        let fits = |model: &&String| {
            about.budget_mb.is_none_or(|budget| Model::named(model).unwrap().labels_mb <= budget)
        };
        let fitting: Vec<&String> = generic.iter().filter(fits).collect();
        assert_eq!(about.models.iter().collect::<Vec<_>>(), fitting, "{name}");
    }
}

/// The published count of all parameters is that of both sides.
#[test]
fn models_have_the_size_that_was_counted() {
    let generic = Board::load("generic").unwrap().about;
    let support = read("models/SUPPORT.md");
    for name in generic.models {
        let row = support.lines().find(|line| line.starts_with(&format!("| {name} |"))).unwrap();
        let millions: f64 = row.split('|').nth(2).unwrap().trim().parse().unwrap();
        let mb = Model::named(&name).unwrap().labels_mb as f64 - 40.0;
        assert!((mb - millions).abs() < 1.5, "{name}: {mb} MB, {millions} M");
    }
}

#[test]
fn boards_are_found_by_their_device_tree() {
    let other = if cfg!(target_arch = "x86_64") { "x86-64-kiosk" } else { "generic" };
    for (compatible, name) in [
        ("raspberrypi,model-zero-2-w\0brcm,bcm2837\0", "raspberry-pi-zero-2w"),
        ("raspberrypi,3-model-b-plus\0brcm,bcm2837\0", "raspberry-pi-3b-plus"),
        ("raspberrypi,3-model-a-plus\0brcm,bcm2837\0", "raspberry-pi-3b-plus"),
        ("raspberrypi,4-model-b\0brcm,bcm2711\0", "raspberry-pi-4"),
        ("raspberrypi,400\0brcm,bcm2711\0", "raspberry-pi-4"),
        ("raspberrypi,5-model-b\0brcm,bcm2712\0", "raspberry-pi-5"),
        ("xunlong,orangepi-5\0rockchip,rk3588s\0", "orange-pi-5"),
        ("xunlong,orangepi-5-plus\0rockchip,rk3588\0", "orange-pi-5"),
        ("radxa,rock-5b\0rockchip,rk3588\0", "rock-5"),
        ("radxa,rock-5a\0rockchip,rk3588s\0", "rock-5"),
        ("friendlyarm,nanopc-t6\0rockchip,rk3588\0", "rk3588"),
        ("radxa,zero-3w\0rockchip,rk3566\0", "radxa-zero-3"),
        ("radxa,zero-3e\0rockchip,rk3566", "radxa-zero-3"),
        ("nvidia,p3450-0000\0nvidia,tegra210\0", "jetson-nano"),
        ("nvidia,p3541-0000\0nvidia,p3450-0000\0nvidia,tegra210\0", "jetson-nano"),
        ("nvidia,p3768-0000+p3767-0000\0nvidia,p3767-0000\0nvidia,tegra234\0", "jetson-orin"),
        ("nvidia,p3737-0000+p3701-0000\0nvidia,p3701-0000\0nvidia,tegra234\0", "jetson-orin"),
        ("beagle,am67a-beagley-ai\0ti,j722s\0", "beagley-ai"),
        ("someone,board\0someone,chip\0", other),
        ("", other),
        ("\0\0", other),
    ] {
        assert_eq!(Board::detect(compatible), name, "{compatible:?}");
    }
}

#[test]
fn what_a_base_says_is_replaced_by_what_stands_on_it() {
    let (_, orange) = boards().find(|(board, _)| board.name == "orange-pi-5").unwrap();
    assert_eq!(orange.options.model.cores.unwrap().to_string(), "4,5,6,7");
    let about = Board::load("orange-pi-5").unwrap().about;
    let base = Board::load("rk3588").unwrap().about;
    assert_eq!((about.cores, about.pins, about.kernel), (base.cores, base.pins, base.kernel));
    assert!(about.compatible.iter().all(|name| name.starts_with("xunlong,")));
    // Sources are a table: they add up.
    let zero = Board::load("raspberry-pi-zero-2w").unwrap().about.sources;
    let below = Board::load("raspberry-pi").unwrap().about.sources;
    assert!(below.keys().all(|source| zero.contains_key(source)) && zero.len() > below.len());
}

#[test]
fn a_file_of_the_users_may_be_a_board() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    let load = |text: &str| {
        fs::write(&file, text).unwrap();
        Config::load(file.to_str(), None, &[])
    };
    let mine = "base = \"raspberry-pi-5\"\n[about]\nboard = \"Mine\"\nnotes = [\n  \"[source]\",\n]\n\n[source]\nfps = 3\n";
    let config = load(mine).unwrap();
    assert_eq!((config.options.source.fps, config.options.source.url.as_str()), (3, "rpicam"));
    let board = config.board().unwrap();
    assert_eq!((board.about.board.as_str(), board.detected), ("Mine", false));
    assert_eq!(board.about.kernel.as_deref(), Some("dotprod"));
    let shown = config.show();
    assert!(shown.contains("mine.toml: line 9"), "{shown}");
    assert!(shown.contains("# board raspberry-pi: line 5"), "{shown}");
    assert!(!shown.contains("about") && !shown.contains("base"), "{shown}");
    for (text, wanted) in [
        ("\nbase = \"pdp-11\"\n", "line 2: there is no base 'pdp-11': use raspberry-pi"),
        ("base = 5\n", "line 1: base must be a name"),
        ("[about]\n\ncolour = \"green\"\n", "line 3: unknown field `colour`"),
        ("[about]\nmemory_mb = [\"much\"]\n", "line 2: "),
        ("about = 1\n", "line 1: "),
        ("[about]\nboard = \"x\"\n[source]\nfps = \"x\"\n", "line 4: "),
        ("board = \"generic\"\n", "line 1: unknown field `board`"),
    ] {
        let error = load(text).unwrap_err().to_string();
        assert!(error.contains("mine.toml: ") && error.contains(wanted), "{text:?}: {error}");
    }
    // The user's settings are no board's profile.
    for text in ["base = \"generic\"\n", "[about]\nboard = \"x\"\n"] {
        fs::write(&file, text).unwrap();
        let error = Config::load(None, Some(&file), &[]).unwrap_err().to_string();
        assert!(error.contains("line 1: unknown field"), "{error}");
    }
}

/// Standard output of a command that must end well, and what it says to people.
fn edgeclip(line: &str) -> [String; 2] {
    let output = Command::new(env!("CARGO_BIN_EXE_edgeclip"))
        .args(line.split_whitespace())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("EDGECLIP_LOG")
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
}

#[test]
fn boards_are_shown() {
    let here = Board::load(AUTO).unwrap();
    assert!(here.detected);
    let [table, _] = edgeclip("config boards");
    let marked: Vec<&str> = table.lines().filter(|line| line.starts_with('*')).collect();
    assert!(marked[0].contains(&format!(" {} ", here.name)), "{table}");
    let names: Vec<&str> = Board::names().collect();
    assert!(names.iter().all(|name| table.contains(name)), "{table}");
    let [lines, _] = edgeclip("config boards --json");
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), names.len());
    for line in &lines {
        assert_eq!(line["here"], line["name"] == here.name.as_str());
    }
    let [page, _] = edgeclip("config boards raspberry-pi-4");
    for words in
        ["Raspberry Pi 4 Model B", "neon", "1024, 2048", "not stated", "128 MB", "BCM", "https://"]
    {
        assert!(page.contains(words), "{words}: {page}");
    }
    let [shown, _] = edgeclip("config show --board auto");
    let line = format!("# board: {} ({}), detected\n", here.name, here.about.board);
    assert!(shown.contains(&line), "{shown}");
}

#[cfg(feature = "mini")]
#[test]
fn a_run_says_once_which_board_it_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    fs::write(&file, "board = \"auto\"\n[http]\nenabled = false\n").unwrap();
    let line = format!(
        "run --config {} --source dir:examples/images --labels cat --no-state --threads 1",
        file.display()
    );
    let [_, words] = edgeclip(&line);
    let found = format!("this is board {} (", Board::load(AUTO).unwrap().name);
    assert_eq!(words.matches(&found).count(), 1, "{words}");
    let [_, words] = edgeclip(&format!("{line} --board generic"));
    assert!(!words.contains("this is board"), "{words}");
}
