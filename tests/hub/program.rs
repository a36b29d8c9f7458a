//! The program with a hub, a cache and a folder of models of its own.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{Hub, Repository};

pub(crate) const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/edgeclip-mini");

/// A published model's repository, made of the built-in model: its towers and settings in transformers' layout.
pub(crate) fn tiny(name: &str) -> Repository {
    let read = |file: &str| fs::read(Path::new(MODEL).join(file)).unwrap();
    let config = json!({
        "model_type": "clip",
        "projection_dim": 256,
        "logit_scale": 41.5,
        "text_config": { "max_position_embeddings": 32 },
        "vision_config": {},
    });
    let processor = json!({
        "do_resize": true,
        "size": { "shortest_edge": 64 },
        "resample": 3,
        "do_center_crop": true,
        "crop_size": { "height": 64, "width": 64 },
        "do_rescale": true,
        "rescale_factor": 1.0 / 255.0,
        "do_normalize": true,
        "image_mean": [0.481_454_66, 0.457_827_5, 0.408_210_73],
        "image_std": [0.268_629_54, 0.261_302_58, 0.275_777_11],
        "do_convert_rgb": true,
    });
    let (config, processor) = (config.to_string().into_bytes(), processor.to_string().into_bytes());
    let files: [(&str, &[u8]); 8] = [
        ("README.md", b"---\nlicense: mit\n---\n"),
        ("config.json", &config),
        ("preprocessor_config.json", &processor),
        ("tokenizer.json", &read("tokenizer.json")),
        ("tokenizer_config.json", br#"{"pad_token": "<|endoftext|>"}"#),
        ("onnx/vision_model.onnx", &read("vision.onnx")),
        ("onnx/text_model.onnx", &read("text.onnx")),
        ("pytorch_model.bin", &[7; 5000]),
    ];
    Repository::new(name, &files)
}

/// Where the program runs.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    endpoint: String,
}

impl Place {
    pub(crate) fn new(hub: &Hub) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), endpoint: hub.endpoint().to_owned() }
    }

    pub(crate) fn path(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join(path)
    }

    /// `edgeclip` with these arguments, parted by spaces.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edgeclip"));
        command.args(line.split_whitespace()).current_dir(self.folder.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        for name in [
            "HF_TOKEN",
            "HF_TOKEN_PATH",
            "HF_HUB_CACHE",
            "HF_HUB_OFFLINE",
            "XDG_DATA_HOME",
            "EDGECLIP_LOG",
        ] {
            command.env_remove(name);
        }
        command.env("HF_ENDPOINT", &self.endpoint).env("HF_HOME", self.path("hf"));
        command.env("EDGECLIP_MODELS", self.path("models")).env("HOME", self.folder.path());
        command
    }

    /// Standard output and standard error of a command that must end with this exit code.
    pub(crate) fn run(&self, line: &str, code: i32) -> (String, String) {
        ended(&self.command(line).output().unwrap(), line, code)
    }

    pub(crate) fn json(&self, line: &str) -> Value {
        let (out, _) = self.run(line, 0);
        serde_json::from_str(&out).expect(&out)
    }
}

pub(crate) fn ended(output: &Output, line: &str, code: i32) -> (String, String) {
    let [out, err] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert_eq!(output.status.code(), Some(code), "{line}\n{out}{err}");
    assert!(!err.contains("panicked"), "{err}");
    (out, err)
}

/// A text has all of these words.
pub(crate) fn assert_has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no {word:?} in:\n{text}");
    }
}
