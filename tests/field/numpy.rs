//! `embed --npy` as numpy reads it.

use std::process::Command;

use crate::available;

/// Prints shape and type, and whether the rows are those of the JSON lines.
const READ: &str = "
import json, sys, numpy
rows = numpy.load(sys.argv[1])
lines = [json.loads(line)['embedding'] for line in open(sys.argv[2])]
print(rows.shape, rows.dtype, numpy.abs(rows - numpy.array(lines, 'float32')).max() < 1e-6)
";

#[test]
fn numpy_reads_the_array() {
    let python = |script: &str| {
        let mut command = Command::new("python3");
        command.args(["-c", script]);
        command
    };
    if !available("python3 with numpy", &mut python("import numpy")) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (npy, json) = (folder.path().join("texts.npy"), folder.path().join("texts.json"));
    let embed = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edgeclip"));
        command.args(["embed", "--text", "a cat", "--text", "a photo of a dog"]);
        command
    };
    assert!(embed().arg("--npy").arg(&npy).status().unwrap().success());
    std::fs::write(&json, embed().output().unwrap().stdout).unwrap();
    let output = python(READ).arg(&npy).arg(&json).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.trim(), "(2, 256) float32 True", "{}", String::from_utf8_lossy(&output.stderr));
}
