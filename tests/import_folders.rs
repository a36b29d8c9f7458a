//! Folders of published models (narrow families, `tests/golden/families.py`) of which one thing was changed: what is
//! refused names the file, the field and the reason.

use std::fs;
use std::path::Path;

use edgeclip::import::Options;
use edgeclip::pipeline::{self, TakenIn};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What is changed: a field of a JSON file by its pointer, null to take it out; or a file.
enum Edit {
    Field(&'static str, &'static str, Value),
    Gone(&'static str),
    /// A text within a binary file becomes another one of the same length.
    Renamed(&'static str, &'static str, &'static str),
    Written(&'static str, Vec<u8>),
}

use Edit::{Field, Gone, Renamed, Written};

const CONFIG: &str = "config.json";
const PICTURES: &str = "preprocessor_config.json";
const TOKENS: &str = "tokenizer_config.json";
const TOKENIZER: &str = "tokenizer.json";
const OPEN_CLIP: &str = "open_clip_config.json";
const VISION: &str = "onnx/vision_model.onnx";
const TEXT: &str = "onnx/text_model.onnx";

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let places: Vec<_> =
        (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

impl Edit {
    fn apply(&self, folder: &Path) {
        match self {
            Field(file, pointer, value) => {
                let path = folder.join(file);
                let mut settings: Value =
                    serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
                let (parent, name) = pointer.rsplit_once('/').unwrap();
                match settings.pointer_mut(parent).unwrap() {
                    Value::Object(fields) if value.is_null() => drop(fields.remove(name)),
                    Value::Array(items) => items[name.parse::<usize>().unwrap()] = value.clone(),
                    parent => parent[name] = value.clone(),
                }
                fs::write(path, settings.to_string()).unwrap();
            }
            Gone(file) => fs::remove_file(folder.join(file)).unwrap(),
            Renamed(file, from, to) => {
                let path = folder.join(file);
                let bytes = fs::read(&path).unwrap();
                fs::write(path, replaced(&bytes, from.as_bytes(), to.as_bytes())).unwrap();
            }
            Written(file, bytes) => fs::write(folder.join(file), bytes).unwrap(),
        }
    }
}

/// A family's folder with changes.
fn changed(family: &str, edits: &[Edit]) -> TempDir {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/families").join(family);
    let folder = TempDir::new().unwrap();
    for entry in walkdir::WalkDir::new(&from).min_depth(1) {
        let entry = entry.unwrap();
        let to = folder.path().join(entry.path().strip_prefix(&from).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir(to).unwrap();
        } else {
            fs::write(to, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
    for edit in edits {
        edit.apply(folder.path());
    }
    folder
}

fn take_in(folder: &Path, options: &Options) -> Result<TakenIn, String> {
    let target = TempDir::new().unwrap();
    pipeline::take_in(folder, &target.path().join("bundle"), options, None)
        .map_err(|error| format!("{:#}", anyhow::Error::from(error)))
}

/// Each folder is refused with words that contain these.
fn refused(table: Vec<(&str, Vec<Edit>, &str)>) {
    for (family, edits, words) in table {
        let folder = changed(family, &edits);
        let taken = take_in(folder.path(), &Options::default());
        let refusal = taken.map(|_| format!("{family} was taken in, not refused: {words}"));
        let refusal = refusal.unwrap_or_else(|refusal| refusal);
        assert!(refusal.contains(words), "{family}, {words}:\n{refusal}");
    }
}

#[test]
fn towers_that_are_missing_or_others_are_refused() {
    let type_of = |model_type| Field(CONFIG, "/model_type", json!(model_type));
    refused(vec![
        (
            "clip-vit",
            vec![Gone(TEXT)],
            "onnx/text_model.onnx: it is missing, and model_type clip has a text tower",
        ),
        (
            "openclip-vit",
            vec![Gone(TEXT)],
            "onnx/text_model.onnx: it is missing, and a model of OpenCLIP has a text tower",
        ),
        (
            "dinov2",
            vec![type_of("jina_clip")],
            "model.onnx: it has no input_ids, and model_type jina_clip has a text tower",
        ),
        (
            "clip-vit",
            vec![type_of("clip_vision_model")],
            "text_model.onnx: it is there, and model_type clip_vision_model has no words",
        ),
        (
            "clip-vit",
            vec![Renamed(VISION, "image_embeds", "class_logits")],
            "none of its outputs is known to be the one of a tower: class_logits",
        ),
        (
            // A tower without a class token, and no pooled output.
            "dinov2",
            vec![
                type_of("siglip_vision_model"),
                Field(CONFIG, "/image_size", json!(112)),
                Renamed("onnx/model.onnx", "pooler_output", "pooler_hidden"),
            ],
            "none of its outputs is known to be the one of a tower: last_hidden_state",
        ),
        (
            "clip-vit",
            vec![Field(CONFIG, "/projection_dim", json!(25))],
            "projection_dim is 25, but",
        ),
        (
            "siglip-dynamo",
            vec![Field(CONFIG, "/vision_config/hidden_size", json!(48))],
            "is 48, but",
        ),
        (
            "clip-vit-joint",
            vec![type_of("clip_vision_model")],
            "model.onnx: it has a text tower, and model_type clip_vision_model has none",
        ),
        ("rn50", vec![Field(OPEN_CLIP, "/model_cfg/embed_dim", json!(32))], "embed_dim is 32, but"),
        (
            "clip-vit",
            vec![Field(CONFIG, "/vision_config/image_size", json!(64))],
            "vision_config.image_size is 64, but preprocessor_config.json makes pictures of 32",
        ),
        (
            "rn50",
            vec![Field(OPEN_CLIP, "/model_cfg/vision_cfg/image_size", json!(32))],
            "vision_model.onnx: it reads pictures of 64 where the settings make 32",
        ),
        (
            "openclip-vit",
            vec![Field(OPEN_CLIP, "/preprocess_cfg/size", json!(64))],
            "preprocess_cfg.size is 64, but vision_cfg.image_size is 32",
        ),
    ]);
}

#[test]
fn an_image_tower_alone_is_what_its_settings_say() {
    let alone =
        [Field(CONFIG, "/model_type", json!("clip_vision_model")), Gone(TEXT), Gone(TOKENIZER)];
    let taken = take_in(changed("clip-vit", &alone).path(), &Options::default()).unwrap();
    assert!(taken.manifest.text.is_none());
    assert_eq!(taken.manifest.embedding_dim, 24);
}

#[test]
fn tokens_that_are_not_the_models_are_refused() {
    let config = |pointer, value| Field(CONFIG, pointer, value);
    let tokens = |pointer, value| Field(TOKENS, pointer, value);
    let no_ends = || Field(TOKENIZER, "/post_processor", Value::Null);
    refused(vec![
        ("clip-vit", vec![no_ends()], "puts 0 tokens around a text, 2 are meant: write it anew"),
        ("rn50", vec![no_ends()], "puts 0 tokens around a text, 2 are meant"),
        ("siglip", vec![no_ends()], "puts 0 tokens around a text, 1 are meant"),
        ("siglip2", vec![tokens("/add_bos_token", json!(true))], "a text, GemmaTokenizer means ["),
        (
            "clip-vit",
            vec![tokens("/eos_token", json!("!"))],
            "around a text, CLIPTokenizer means [",
        ),
        ("clip-vit", vec![tokens("/eos_token", json!("<end>"))], "is <end>, which tokenizer.json"),
        ("clip-vit", vec![tokens("/eos_token", json!(2))], "eos_token is 2, a token is meant"),
        (
            "chinese-clip",
            vec![tokens("/do_lower_case", json!(false))],
            "tokenizer.json: it makes small",
        ),
        (
            "clip-vit",
            vec![
                Field(TOKENIZER, "/normalizer/normalizers/2", json!({"type": "NFC"})),
                tokens("/do_lower_case", Value::Null),
            ],
            "tokenizer.json: it keeps capital letters",
        ),
        (
            "siglip",
            vec![Field(TOKENIZER, "/normalizer/normalizers/0", json!({"type": "NFC"}))],
            "tokenizer.json: it keeps capital letters",
        ),
        ("chinese-clip", vec![tokens("/strip_accents", json!(true))], "strip_accents is true, but"),
        ("siglip", vec![tokens("/padding_side", json!("left"))], "padding_side is left: texts are"),
        // Gemma's tokenizer fills up on the left where its file says nothing.
        ("siglip2", vec![tokens("/padding_side", Value::Null)], "padding_side is missing, and"),
        (
            "clip-vit",
            vec![config("/text_config/vocab_size", json!(400))],
            "text_config.vocab_size is 400, but tokenizer.json has",
        ),
        (
            // Of the tokens that were added to it, those around a text count.
            "clip-vit",
            vec![config("/text_config/vocab_size", json!(575))],
            "text_config.vocab_size is 575, but tokenizer.json has token 575",
        ),
        (
            "clip-vit",
            vec![config("/text_config/vocab_size", json!(9999))],
            "text_config.vocab_size is 9999, but",
        ),
        (
            "rn50",
            vec![Field(OPEN_CLIP, "/model_cfg/text_cfg/context_length", json!(64))],
            "text_cfg.context_length is 64, but",
        ),
        (
            "clip-vit",
            vec![
                config("/text_config/max_position_embeddings", json!(100)),
                tokens("/model_max_length", Value::Null),
            ],
            "onnx/text_model.onnx: the text graph",
        ),
        (
            "openclip-vit",
            vec![Field(OPEN_CLIP, "/model_cfg/text_cfg/tokenizer_kwargs", json!({"mode": 1}))],
            "tokenizer_kwargs.mode is not known",
        ),
    ]);
}

#[test]
fn what_other_programs_do_not_heed_is_no_reason_to_refuse() {
    use edgeclip::tokenizer::Cleaning;
    let tokens = |pointer, value| Field(TOKENS, pointer, value);
    let class = |name| tokens("/tokenizer_class", json!(name));
    let is_lower = |is_lower: bool| tokens("/do_lower_case", json!(is_lower));
    let clean = json!({"clean": "lower"});
    let table = vec![
        // Tokens that stand in a vocabulary and were never trained, as T5's.
        (
            "chinese-clip",
            vec![
                Field(CONFIG, "/text_config/vocab_size", json!(299)),
                Field(TOKENIZER, "/added_tokens/4/id", json!(299)),
                Field(TOKENIZER, "/added_tokens/4/content", json!("kites")),
            ],
            Cleaning::None,
        ),
        ("clip-vit", vec![is_lower(false)], Cleaning::Clip),
        ("chinese-clip", vec![class("XLMRobertaTokenizer"), is_lower(false)], Cleaning::None),
        ("siglip2", vec![is_lower(false)], Cleaning::Lower),
        ("siglip2", vec![class("Siglip2Tokenizer"), is_lower(true)], Cleaning::Lower),
        (
            "siglip2",
            vec![
                class("Siglip2Tokenizer"),
                tokens("/add_bos_token", Value::Null),
                tokens("/add_eos_token", Value::Null),
                tokens("/padding_side", Value::Null),
            ],
            Cleaning::Lower,
        ),
        ("siglip2", vec![class("TokenizersBackend")], Cleaning::Lower),
        ("siglip", vec![is_lower(true)], Cleaning::None),
        (
            "openclip-vit",
            vec![
                Field(OPEN_CLIP, "/model_cfg/text_cfg/hf_tokenizer_name", json!("x/y")),
                Field(OPEN_CLIP, "/model_cfg/text_cfg/tokenizer_kwargs", clean),
                Field(TOKENIZER, "/normalizer", Value::Null),
            ],
            Cleaning::Lower,
        ),
        // Settings that were copied from another model; the graph reads 32.
        (
            "mobileclip-b",
            vec![Field(CONFIG, "/vision_config", json!({"image_size": 224}))],
            Cleaning::Clip,
        ),
        ("clip-vit", vec![Written("README.md", vec![b'-'; (4 << 20) + 1])], Cleaning::Clip),
    ];
    for (family, edits, cleaning) in table {
        let taken = take_in(changed(family, &edits).path(), &Options::default());
        let text = taken.unwrap_or_else(|error| panic!("{family}: {error}")).manifest.text;
        assert_eq!(text.unwrap().tokenizer.cleaning, cleaning, "{family}");
    }
}

#[test]
fn values_of_wrong_types_are_not_missing() {
    let config = |pointer, value| vec![Field(CONFIG, pointer, value)];
    let open_clip = |pointer, value| vec![Field(OPEN_CLIP, pointer, value)];
    refused(vec![
        (
            "clip-vit",
            config("/model_type", json!(5)),
            "config.json: model_type is 5, a text is meant",
        ),
        (
            "clip-vit",
            config("/text_config", json!("x")),
            "text_config is \"x\", an object is meant",
        ),
        ("clip-vit", config("/projection_dim", json!("24")), "is \"24\", a whole number is meant"),
        (
            "clip-vit",
            config("/logit_scale", json!(0)),
            "config.json: logit_scale is 0, which is no scale",
        ),
        ("clip-vit", config("/text_config/vocab_size", json!(0)), "text_config.vocab_size is 0"),
        (
            "clip-vit",
            vec![Field(TOKENS, "/model_max_length", json!("77"))],
            "tokenizer_config.json: model_max_length is \"77\", a number is meant",
        ),
        (
            "clip-vit",
            vec![Field(TOKENS, "/tokenizer_class", json!(3))],
            "tokenizer_class is 3, a text is meant",
        ),
        (
            "clip-vit",
            vec![Field(PICTURES, "/gamma", json!(2))],
            "preprocessor_config.json: gamma is not known, and may change pixels",
        ),
        ("clip-vit", vec![Written(CONFIG, b"[]".to_vec())], "config.json: it holds no JSON object"),
        (
            "clip-vit",
            vec![Written(CONFIG, vec![b' '; (16 << 20) + 1])],
            "config.json: it has more than 16777216 bytes",
        ),
        (
            "openclip-vit",
            open_clip("/preprocess_cfg/interpolation", json!(3)),
            "preprocess_cfg.interpolation is 3, a text is meant",
        ),
        (
            "openclip-vit",
            open_clip("/preprocess_cfg/std", json!([0, 0, 0])),
            "preprocess_cfg.std must be above 0",
        ),
        ("openclip-vit", open_clip("/model_cfg", Value::Null), "model_cfg.embed_dim is missing"),
        (
            "openclip-vit",
            open_clip("/model_cfg/vision_cfg/image_size", json!("32")),
            "vision_cfg.image_size is \"32\", a whole number is meant",
        ),
    ]);
    let folder = changed("clip-vit", &[Gone(CONFIG)]);
    fs::create_dir(folder.path().join(CONFIG)).unwrap();
    let refusal = take_in(folder.path(), &Options::default()).unwrap_err();
    assert!(refusal.contains("config.json: not a regular file"), "{refusal}");
}

#[test]
fn a_sigmoid_without_its_bias_is_refused() {
    let folder = changed("siglip-dynamo", &[Field(CONFIG, "/logit_bias", Value::Null)]);
    let refusal = take_in(folder.path(), &Options::default()).unwrap_err();
    assert!(refusal.contains("--logit-bias"), "{refusal}");
    let options = Options { logit_bias: Some(-10.0), ..Options::default() };
    let taken = take_in(folder.path(), &options).unwrap();
    assert!((taken.manifest.scoring.logit_bias + 10.0).abs() < 1e-6);
    for (logit_scale, words) in [(-1.0, "the logit scale is -1"), (f32::NAN, "scale is NaN")] {
        let options = Options { logit_scale: Some(logit_scale), ..options.clone() };
        let refusal = take_in(folder.path(), &options).unwrap_err();
        assert!(refusal.contains(words), "{refusal}");
    }
}

#[test]
fn all_files_that_were_opened_are_named() {
    let mut checkpoint =
        br#"{"logit_scale":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}"#.to_vec();
    checkpoint.splice(0..0, (checkpoint.len() as u64).to_le_bytes());
    checkpoint.extend(4.0_f32.to_le_bytes());
    let (before, after) = ("vision_model.onnx_data", "vision_weights.bin_dat");
    let folder = changed(
        "clip-vit-external",
        &[
            Field(CONFIG, "/logit_scale", Value::Null),
            Written("model.safetensors", checkpoint),
            Renamed(VISION, before, after),
        ],
    );
    let onnx = folder.path().join("onnx");
    fs::rename(onnx.join(before), onnx.join(after)).unwrap();
    let manifest = take_in(folder.path(), &Options::default()).unwrap().manifest;
    assert!((manifest.scoring.logit_scale / 4.0_f32.exp() - 1.0).abs() < 1e-6);
    let files: Vec<String> =
        manifest.provenance.unwrap().files.into_iter().map(|file| file.path).collect();
    let wanted = [
        CONFIG,
        "model.safetensors",
        TEXT,
        "onnx/text_model.onnx_data",
        VISION,
        "onnx/vision_weights.bin_dat",
        PICTURES,
        "special_tokens_map.json",
        TOKENIZER,
        TOKENS,
    ];
    assert_eq!(files, wanted);
}

#[cfg(unix)]
#[test]
fn a_link_whose_file_is_gone_is_named() {
    let folder = changed("clip-vit", &[Gone(TEXT)]);
    std::os::unix::fs::symlink("../../blobs/0123", folder.path().join(TEXT)).unwrap();
    let refusal = take_in(folder.path(), &Options::default()).unwrap_err();
    let words = "onnx/text_model.onnx: it is a link to ../../blobs/0123, which is gone";
    assert!(refusal.contains(words), "{refusal}");
}
