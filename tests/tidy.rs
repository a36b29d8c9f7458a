//! Rules about the code itself: who imports whom, where outside crates may be named, sizes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Longest source file, in lines.
const LINES_MAX: usize = 500;

/// What each top-level module may import from this crate.
const IMPORTS: &[(&str, &[&str])] = &[
    ("lib", &[]),
    ("digest", &[]),
    ("disk", &[]),
    ("lines", &[]),
    ("memory", &[]),
    ("embedding", &[]),
    ("eval", &[]),
    ("gemm", &[]),
    ("capture", &["gemm"]),
    ("tokenizer", &[]),
    ("preprocess", &["capture", "gemm"]),
    ("encoder", &["embedding", "gemm", "preprocess", "tokenizer"]),
    ("classify", &["embedding"]),
    ("prompts", &["classify", "digest", "disk", "embedding", "encoder", "lines", "tokenizer"]),
    ("probe", &["classify", "digest", "disk", "embedding", "lines", "prompts"]),
    ("outputs", &["capture", "classify", "digest", "disk", "prompts"]),
    (
        "bundle",
        &["classify", "digest", "disk", "lines", "memory", "preprocess", "prompts", "tokenizer"],
    ),
    (
        "import",
        &[
            "bundle",
            "classify",
            "digest",
            "disk",
            "embedding",
            "encoder",
            "memory",
            "preprocess",
            "prompts",
            "tokenizer",
        ],
    ),
    (
        "pipeline",
        &[
            "bundle",
            "capture",
            "classify",
            "digest",
            "disk",
            "embedding",
            "encoder",
            "gemm",
            "import",
            "memory",
            "outputs",
            "preprocess",
            "probe",
            "prompts",
            "tokenizer",
        ],
    ),
    ("hub", &["digest", "disk"]),
    ("config", &["lines", "pipeline"]),
    ("doctor", &["capture", "encoder", "gemm", "outputs", "pipeline", "probe", "prompts"]),
];

/// Files that may import less than their module: the image side knows nothing of words, and the
/// text side nothing of pictures.
const NARROWER: &[(&str, &[&str])] = &[
    ("src/encoder/vision.rs", &["embedding", "gemm", "preprocess"]),
    ("src/encoder/text.rs", &["embedding", "gemm", "tokenizer"]),
    ("src/encoder/tower.rs", &["embedding", "gemm"]),
    ("src/encoder/engine.rs", &["gemm"]),
];

/// Outside crates with one home.
const HOMES: &[(&str, &str)] = &[
    ("tract_onnx", "encoder"),
    ("tract_nnef", "encoder"),
    ("memmap2", "memory"),
    ("tar", "bundle"),
    ("tokenizers", "tokenizer"),
    ("image", "capture"),
    ("v4l", "capture"),
    ("zune_jpeg", "capture"),
    ("axum", "outputs"),
    ("hyper", "outputs"),
    ("hyper_util", "outputs"),
    ("rumqttc", "outputs"),
    ("rppal", "outputs"),
    ("gpiocdev", "outputs"),
    ("sha1", "digest"),
    ("sha2", "digest"),
    ("ureq", "hub"),
    ("iri_string", "hub"),
    ("clap_complete", "cli"),
    ("clap_mangen", "cli"),
];

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = walkdir::WalkDir::new(root.join(folder)).sort_by_file_name();
    let files = files.into_iter().map(|entry| entry.unwrap().into_path());
    let rust = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    rust.map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        (path.strip_prefix(root).unwrap().to_owned(), text)
    })
    .collect()
}

/// `src/encoder/text.rs` and `src/encoder.rs` are both of module `encoder`.
fn module(path: &Path) -> String {
    let part = path.components().nth(1).unwrap().as_os_str().to_str().unwrap();
    part.trim_end_matches(".rs").to_owned()
}

/// The names that follow `prefix` in code, comments left out.
fn named_after<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split(prefix).skip(1))
        .map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap())
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn modules_import_only_what_the_table_allows() {
    let allowed: BTreeMap<&str, &[&str]> = IMPORTS.iter().copied().collect();
    let mut seen = BTreeSet::new();
    for (path, text) in sources("src") {
        let module = module(&path);
        if ["main", "cli"].contains(&module.as_str()) {
            continue;
        }
        let may = allowed.get(module.as_str());
        let may = may.unwrap_or_else(|| panic!("{}: not in the table", path.display()));
        let narrower = NARROWER.iter().find(|(file, _)| path == Path::new(file));
        let may = narrower.map_or(may, |(_, narrower)| narrower);
        for import in named_after(&text, "crate::") {
            let fine = import == module || may.contains(&import);
            assert!(fine, "{}: {module} may not import {import}", path.display());
        }
        assert!(!text.contains("crate::{"), "{}: one import a line", path.display());
        let is_folder = path.components().count() > 2;
        let code = text.split("#[cfg(test)]").next().unwrap();
        assert!(is_folder || !code.contains("super::"), "{}: crate:: instead", path.display());
        seen.insert(module);
    }
    let listed: BTreeSet<String> = allowed.keys().map(ToString::to_string).collect();
    assert_eq!(seen, listed, "the table lists the modules that there are");
}

#[test]
fn outside_crates_stay_in_their_homes() {
    for (path, text) in sources("src") {
        let module = module(&path);
        for (outside, home) in HOMES {
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let path_of = format!("{outside}::");
            let names = code.into_iter().any(|line| {
                line.match_indices(&path_of).any(|(at, _)| {
                    !line[..at].ends_with(|c: char| c.is_alphanumeric() || "_:".contains(c))
                })
            });
            assert!(!names || module == *home, "{}: {outside} lives in {home}", path.display());
        }
    }
}

#[test]
fn unsafe_code_stays_in_its_homes_and_gives_its_reasons() {
    for (path, text) in sources("src") {
        let files = ["src/gemm/workers.rs", "src/memory.rs"].map(Path::new);
        let home = path.starts_with("src/gemm/kernels") || files.contains(&&*path);
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap();
            let mut words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
            if !words.any(|word| word == "unsafe") {
                continue;
            }
            let shown = format!("{}:{}", path.display(), at + 1);
            assert!(home, "{shown}");
            // Clippy asks for the same, of the code of one architecture.
            let has_reason =
                lines[at.saturating_sub(3)..at].iter().any(|line| line.contains("SAFETY"));
            assert!(code.contains("unsafe fn") || has_reason, "{shown}: no reason");
        }
    }
}

#[test]
fn files_are_small_and_say_what_they_are() {
    for (path, text) in ["src", "tests", "examples", "benches"].into_iter().flat_map(sources) {
        let shown = path.display();
        assert!(text.lines().count() <= LINES_MAX, "{shown}: more than {LINES_MAX} lines");
        assert!(text.starts_with("//!"), "{shown}: begins with what it is");
        let leftovers = ["dbg!", "todo!", "unimplemented!", "FIXME"];
        for word in leftovers.iter().filter(|_| !path.ends_with("tidy.rs")) {
            assert!(!text.contains(word), "{shown}: has {word}");
        }
    }
}
