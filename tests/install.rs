//! What packages take from the program itself: manual pages and completions.
#![cfg(feature = "mini")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

fn edgeclip(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_edgeclip")).args(words).output().unwrap()
}

fn text(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A command and all below it that its help shows, as names of pages.
fn pages(words: &[&str], found: &mut BTreeSet<String>) {
    let name = [&["edgeclip"], words].concat().join("-");
    found.insert(format!("{name}.1"));
    let help = text(edgeclip(&[words, &["--help"]].concat()));
    let Some((_, commands)) = help.split_once("\nCommands:\n") else { return };
    let names = commands.lines().take_while(|line| !line.is_empty());
    let names = names.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    for command in names.map(|line| line.split_whitespace().next().unwrap()) {
        if command != "help" {
            pages(&[words, &[command]].concat(), found);
        }
    }
}

#[test]
fn each_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    text(edgeclip(&["man", folder.path().to_str().unwrap()]));
    let mut expected = BTreeSet::new();
    pages(&[], &mut expected);
    assert!(expected.len() > 20 && expected.contains("edgeclip-model-pull.1"), "{expected:?}");
    let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
    let made: BTreeSet<String> = entries.map(|name| name.into_string().unwrap()).collect();
    assert_eq!(made, expected);
    for page in &made {
        let page_text = fs::read_to_string(folder.path().join(page)).unwrap();
        let title = page.trim_end_matches(".1").to_uppercase();
        let version = env!("CARGO_PKG_VERSION");
        let heading = format!(".TH {title} 1 \"\" \"edgeclip {version}\" edgeclip\n.SH NAME\n");
        assert!(page_text.contains(&heading), "{page}: {}", &page_text[..200]);
        let has_more = page_text.contains(".SH ENVIRONMENT");
        assert_eq!(has_more, page == "edgeclip.1", "{page}");
    }
}

#[test]
fn pages_that_cannot_be_written_are_named() {
    let output = edgeclip(&["man", "no/such/folder"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let path = Path::new("no/such/folder").join("edgeclip.1");
    assert!(said.contains(path.to_str().unwrap()), "{said}");
}

#[test]
fn each_shell_has_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let script = text(edgeclip(&["completions", shell]));
        assert!(script.contains("linear-probe") && script.contains("pull"), "{shell}");
    }
    assert_eq!(edgeclip(&["completions", "tea"]).status.code(), Some(2));
}

/// As bash asks for them when the last of the words is begun and Tab is pressed.
const COMPLETE: &str = r#"
eval "$1"
shift
function=$(complete -p edgeclip | sed 's/.* -F \([^ ]*\).*/\1/')
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
"$function" edgeclip "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
printf '%s\n' "${COMPREPLY[@]}"
"#;

#[test]
fn bash_completes_commands_options_and_values() {
    let script = text(edgeclip(&["completions", "bash"]));
    for (words, expected) in [
        ("mod", "model"),
        ("model pu", "pull"),
        ("model pull --rev", "--revision"),
        ("run --no-s", "--no-state"),
        ("bench --precision fl", "float"),
    ] {
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", COMPLETE, "bash", &script, "edgeclip"]);
        let Ok(output) = bash.args(words.split(' ')).output() else {
            // Written past the test harness, which keeps what a passing test prints.
            let _ = writeln!(std::io::stderr(), "SKIPPED: bash is missing");
            return;
        };
        assert_eq!(text(output).lines().collect::<Vec<_>>(), [expected], "{words}");
    }
}

/// What the pages on boards tell one to type.
#[test]
fn commands_of_the_pages_on_boards_exist() {
    let mut known = BTreeSet::new();
    pages(&[], &mut known);
    let mut seen = 0;
    for page in ["boards/README.md", "examples/cross-deploy/README.md"] {
        let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
        let code = page.lines().filter(|line| line.starts_with("    "));
        for (_, typed) in code.filter_map(|line| line.split_once("edgeclip ")) {
            let typed = typed.split(['#', '\'', ';']).next().unwrap();
            let words: Vec<&str> = typed.split_whitespace().collect();
            let is_known =
                |words: &&[&str]| known.contains(&format!("edgeclip-{}.1", words.join("-")));
            let starts = [2, 1].into_iter().filter_map(|count| words.get(..count));
            let Some(command) = starts.into_iter().find(is_known) else { continue };
            let help = text(edgeclip(&[command, &["--help"]].concat()));
            for option in words.iter().filter(|word| word.starts_with("--")) {
                assert!(help.contains(option), "{typed}: no {option}");
            }
            seen += 1;
        }
    }
    assert!(seen > 5, "{seen} commands");
}
