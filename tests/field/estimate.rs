//! Predicted times: the committed tables are what the counts and the profiles give.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::available;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

/// The first table whose first heading begins so: what a row and a column have in common.
fn table(text: &str, heading: &str) -> BTreeMap<(String, String), String> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&format!("| {heading}")));
    let columns = cells(lines.next().unwrap_or_else(|| panic!("no table of {heading}")));
    let rows = lines.skip(1).take_while(|line| line.starts_with('|')).map(cells);
    rows.flat_map(|row| {
        assert_eq!(row.len(), columns.len(), "{row:?}");
        let key = |at: usize| (row[0].to_owned(), columns[at].to_owned());
        (1..row.len()).map(|at| (key(at), row[at].to_owned())).collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn predictions_are_what_the_data_give() {
    let mut python = Command::new("python3");
    if !available("python3 with tomllib", python.args(["-c", "import tomllib"])) {
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("boards/estimate/estimate.py");
    let output = Command::new("python3").arg("-B").arg(script).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made = String::from_utf8(output.stdout).unwrap();
    assert!(made == read("boards/estimate/results.md"), "make boards/estimate/results.md anew");
}

#[test]
fn pages_show_the_predictions() {
    let results = read("boards/estimate/results.md");
    let all = table(&results, "board");
    let errors = results.split_once("was off by ").unwrap().1.split_once(".\n").unwrap().0;
    for page in ["README.md", "boards/README.md"] {
        let text = read(page);
        assert!(text.contains(errors), "{page}: \"{errors}\"");
        let shown = table(&text, "Predicted");
        assert!(!shown.is_empty(), "{page}");
        for (key, cell) in shown {
            assert_eq!(Some(&cell), all.get(&key), "{page}: {key:?}");
        }
    }
}
