//! Which of a repository's ONNX graphs are taken.

use std::fmt;

use super::ImportError;

/// How a graph's weights are stored, by the ends of names that Optimum and transformers.js give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Floats of 32 bits: `model.onnx`.
    Fp32,
    /// Floats of 16 bits: `model_fp16.onnx`.
    Fp16,
    /// Bytes by ONNX Runtime's dynamic quantisation: `model_quantized.onnx`.
    Quantized,
    /// The same, signed: `model_int8.onnx`.
    Int8,
    /// The same, unsigned: `model_uint8.onnx`.
    Uint8,
    /// Four bits in blocks: `model_q4.onnx`.
    Q4,
    /// Four bits in blocks between floats of 16 bits: `model_q4f16.onnx`.
    Q4f16,
}

/// What is taken of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The files to have, settings and graphs, as the repository names them.
    pub wanted: Vec<String>,
    /// The graphs among them.
    pub graphs: Graphs,
    /// Which graphs these are, and why.
    pub reason: String,
}

/// The files that the towers are in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Graphs {
    /// Both in one.
    Joint(String),
    /// One each.
    Separate {
        /// The image tower.
        vision: String,
        /// The text tower.
        text: String,
    },
    /// An image tower alone.
    Features(String),
}

/// Settings that are read where they are there.
const SETTINGS: [&str; 7] = [
    "config.json",
    "open_clip_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "README.md",
];

/// Folders that exporters put graphs into.
const FOLDERS: [&str; 2] = ["onnx/", ""];

impl Variant {
    /// Best first: edgeclip quantises by itself, channel by channel, and best from what was not quantised before.
    pub const ALL: [Self; 7] =
        [Self::Fp32, Self::Fp16, Self::Int8, Self::Quantized, Self::Uint8, Self::Q4f16, Self::Q4];

    /// Its name, as the names of files end.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Quantized => "quantized",
            Self::Int8 => "int8",
            Self::Uint8 => "uint8",
            Self::Q4 => "q4",
            Self::Q4f16 => "q4f16",
        }
    }

    fn suffix(self) -> String {
        if self == Self::Fp32 { String::new() } else { format!("_{}", self.name()) }
    }

    /// What edgeclip makes of such weights.
    fn why(self) -> &'static str {
        match self {
            Self::Fp32 => "the most exact, from which edgeclip quantises by itself",
            Self::Fp16 => "nearly as exact as fp32",
            Self::Quantized | Self::Int8 | Self::Uint8 => {
                "already quantised, so somewhat less exact; quantised again channel by channel"
            }
            Self::Q4 | Self::Q4f16 => {
                "weights of 4 bits, so clearly less exact; quantised again to int8 channel by channel"
            }
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Variant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|variant| variant.name() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("there is no variant {text}; there are {known}")
        })
    }
}

/// Chooses among the files of a repository: the best variant there is, or the one that is asked for. One file with
/// both towers is better than two, since it holds the logit scale as well.
///
/// # Errors
/// [`ImportError::Selection`]: there are no graphs, or none of that variant.
pub fn select(files: &[&str], variant: Option<Variant>) -> Result<Selection, ImportError> {
    let found: Vec<(Variant, Graphs)> = Variant::ALL
        .into_iter()
        .filter_map(|variant| graphs(files, variant).map(|graphs| (variant, graphs)))
        .collect();
    let names = |found: &[(Variant, Graphs)]| {
        found.iter().map(|(variant, _)| variant.name()).collect::<Vec<_>>().join(", ")
    };
    if found.is_empty() {
        return Err(ImportError::Selection(
            "it holds no ONNX graphs (onnx/model.onnx, or onnx/vision_model.onnx and onnx/text_model.onnx): make them of the \
             checkpoint with models/export.py"
                .into(),
        ));
    }
    let chosen = if let Some(variant) = variant {
        found.iter().find(|(of, _)| *of == variant).ok_or_else(|| {
            let there = names(&found);
            ImportError::Selection(format!("it holds no {variant} graphs; it holds {there}"))
        })?
    } else {
        // A tower alone may be a part of what is there.
        let is_whole = |(_, graphs): &&(_, Graphs)| !matches!(graphs, Graphs::Features(_));
        found.iter().find(is_whole).unwrap_or(&found[0])
    };
    let (taken, graphs) = chosen;
    let why = match variant {
        Some(_) => "as asked for",
        None => taken.why(),
    };
    let others: Vec<_> = found.iter().filter(|(of, _)| of != taken).cloned().collect();
    let others = if others.is_empty() {
        String::new()
    } else {
        format!(" (there are {} too)", names(&others))
    };
    let reason = format!("{graphs}: {taken}, {why}{others}");
    Ok(Selection { wanted: wanted(files, graphs), graphs: graphs.clone(), reason })
}

/// The graphs of one variant.
fn graphs(files: &[&str], variant: Variant) -> Option<Graphs> {
    let suffix = variant.suffix();
    FOLDERS.into_iter().find_map(|folder| {
        let there = |stem: &str| {
            let path = format!("{folder}{stem}{suffix}.onnx");
            files.contains(&path.as_str()).then_some(path)
        };
        let alone = |vision| match there("text_model") {
            Some(text) => Graphs::Separate { vision, text },
            None => Graphs::Features(vision),
        };
        let separate = there("vision_model").map(alone);
        there("model").map(Graphs::Joint).or(separate)
    })
}

/// Settings, graphs, and the data that graphs keep beside them.
fn wanted(files: &[&str], graphs: &Graphs) -> Vec<String> {
    let taken = graphs.files();
    let is_wanted = |file: &str| {
        let data = |graph: &&str| {
            let rest = file.strip_prefix(graph).unwrap_or("x");
            rest.starts_with("_data") || rest.starts_with(".data")
        };
        SETTINGS.contains(&file) || taken.contains(&file) || taken.iter().any(data)
    };
    files.iter().filter(|file| is_wanted(file)).map(|file| (*file).to_owned()).collect()
}

impl Graphs {
    /// The files' names.
    #[must_use]
    pub fn files(&self) -> Vec<&str> {
        match self {
            Self::Joint(file) | Self::Features(file) => vec![file],
            Self::Separate { vision, text } => vec![vision, text],
        }
    }

    /// The file that holds the text tower, or should.
    pub(super) fn text_file(&self) -> String {
        match self {
            Self::Separate { text, .. } => text.clone(),
            Self::Joint(file) => file.replace("model", "text_model"),
            Self::Features(vision) => vision.replace("vision_model", "text_model"),
        }
    }
}

impl fmt::Display for Graphs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.files().join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_variant_is_taken_and_said_why() {
        let files = [
            "config.json",
            "model.safetensors",
            "onnx/model.onnx",
            "onnx/model.onnx_data",
            "onnx/model_fp16.onnx",
            "onnx/text_model_q4.onnx",
            "onnx/vision_model.onnx",
            "onnx/text_model.onnx",
            "onnx/vision_model_q4.onnx",
        ];
        let best = select(&files, None).unwrap();
        assert_eq!(best.graphs, Graphs::Joint("onnx/model.onnx".into()));
        assert_eq!(best.wanted, ["config.json", "onnx/model.onnx", "onnx/model.onnx_data"]);
        assert_eq!(
            best.reason,
            "onnx/model.onnx: fp32, the most exact, from which edgeclip quantises by itself (there are fp16, q4 too)"
        );
        let small = select(&files, Some(Variant::Q4)).unwrap();
        assert_eq!(
            small.wanted,
            ["config.json", "onnx/text_model_q4.onnx", "onnx/vision_model_q4.onnx"]
        );
        let missing = select(&files, Some(Variant::Uint8)).unwrap_err().to_string();
        assert_eq!(missing, "it holds no uint8 graphs; it holds fp32, fp16, q4");
        assert!(select(&files[..2], None).unwrap_err().to_string().contains("models/export.py"));
        let features = select(&["vision_model.onnx"], None).unwrap();
        assert_eq!(features.graphs, Graphs::Features("vision_model.onnx".into()));
        assert_eq!(features.graphs.text_file(), "text_model.onnx");
        // Both towers in one variant are better than one of a better variant.
        let partly = ["vision_model.onnx", "vision_model_q4.onnx", "text_model_q4.onnx"];
        assert_eq!(select(&partly, None).unwrap().graphs.files(), &partly[1..]);
    }
}
