//! A binary without the built-in model says what it needs.
#![cfg(not(feature = "mini"))]

use std::process::Command;

#[test]
fn a_model_is_asked_for() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgeclip"));
    let output = command.args(["embed", "--text", "a cat"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("without a built-in model") && message.contains("--model"),
        "{message}"
    );
}
