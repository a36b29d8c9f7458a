//! Packed models: they compute what the folder does, on every kernel, and what is not whole is refused.
#![cfg(feature = "mini")]

use std::fs;
use std::path::{Path, PathBuf};

use edgeclip::bundle::{BundleError, PackedError};
use edgeclip::capture;
use edgeclip::embedding::Embedding;
use edgeclip::encoder::{Options, Precision};
use edgeclip::gemm::Layout;
use edgeclip::pipeline::{Model, ModelError};
use tempfile::TempDir;

const TEXTS: [&str; 3] = ["a cat", "three green triangles", "a photo of a dog in the snow"];

fn picture() -> capture::Frame {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/images/cat.jpg");
    capture::read(&path).unwrap()
}

fn embeddings(model: &Model) -> Vec<Embedding> {
    let mut embeddings = model.text_side().unwrap().encode_texts(&TEXTS).unwrap();
    embeddings.push(model.image_side().unwrap().encode_image(&picture()).unwrap());
    embeddings
}

/// The built-in model, packed into a folder.
fn packed(folder: &TempDir) -> PathBuf {
    let file = folder.path().join("mini.eclip");
    let model = Model::open(None).unwrap();
    model.pack(&file, model.compute().kernel().name()).unwrap();
    file
}

/// Why a file is refused, by the side that reads the part in question.
fn refusal(file: &Path, is_text: bool) -> String {
    let error = match Model::open(Some(file)) {
        Err(error) => error,
        Ok(model) if is_text => model.text_side().err().expect("a refusal"),
        Ok(model) => model.image_side().err().expect("a refusal"),
    };
    let chain = anyhow::Error::from(error).chain().map(ToString::to_string).collect::<Vec<_>>();
    chain.join(": ")
}

#[test]
fn a_packed_model_computes_the_same_bits() {
    let folder = TempDir::new().unwrap();
    let model = Model::open(None).unwrap();
    let wanted = embeddings(&model);
    for kernel in Layout::kernels() {
        let file = folder.path().join(kernel);
        model.pack(&file, kernel).unwrap();
        let again = Model::open(Some(&file)).unwrap();
        assert_eq!(again.bundle().digest(), model.bundle().digest());
        assert_eq!(embeddings(&again), wanted, "packed for {kernel}");
        let [again, before] =
            [&again, &model].map(|model| model.image_side().unwrap().encoder.report().clone());
        assert_eq!((again.products, again.norms), (before.products, before.norms));
    }
}

#[test]
fn every_damaged_part_is_named() {
    let folder = TempDir::new().unwrap();
    let file = packed(&folder);
    let sound = fs::read(&file).unwrap();
    let mut archive = tar::Archive::new(&*sound);
    let parts: Vec<(String, u64)> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (
                entry.path().unwrap().display().to_string(),
                entry.raw_file_position() + entry.size() / 2,
            )
        })
        .collect();
    assert_eq!(parts.len(), 10);
    for (name, middle) in parts.iter().filter(|(name, _)| name != "eclip.toml") {
        let mut damaged = sound.clone();
        damaged[usize::try_from(*middle).unwrap()] ^= 0x55;
        fs::write(&file, damaged).unwrap();
        let refusal = if name == "golden.safetensors" {
            let verified = Model::open(Some(&file)).unwrap().verify();
            format!("{:#}", anyhow::Error::from(verified.unwrap_err()))
        } else {
            refusal(&file, name.starts_with("text") || name == "tokenizer.json")
        };
        assert!(refusal.contains("mini.eclip"), "{refusal}");
        assert!(refusal.contains(&format!("{name} is damaged")), "{name}: {refusal}");
    }
}

#[test]
fn what_is_cut_off_or_no_packed_model_is_refused() {
    let folder = TempDir::new().unwrap();
    let file = packed(&folder);
    let sound = fs::read(&file).unwrap();
    for length in (0..20).map(|part| sound.len() * part / 20) {
        fs::write(&file, &sound[..length]).unwrap();
        let refusal = refusal(&file, true);
        let named = ["no packed model", "neither a packed model nor", "it has no"];
        assert!(named.iter().any(|words| refusal.contains(words)), "{length} bytes: {refusal}");
    }
    let text = String::from_utf8_lossy(&sound[..1024]).into_owned();
    let at = text.find("format = 1").unwrap();
    let mut newer = sound.clone();
    newer[at..at + 10].copy_from_slice(b"format = 7");
    fs::write(&file, newer).unwrap();
    let error = Model::open(Some(&file)).err().unwrap();
    let ModelError::Bundle(BundleError::Packed { source, .. }) = error else { panic!("{error}") };
    assert!(matches!(source, PackedError::Format { found: 7, .. }), "{source}");
}

#[test]
fn garbage_in_any_place_is_survived() {
    let folder = TempDir::new().unwrap();
    let file = packed(&folder);
    let sound = fs::read(&file).unwrap();
    for at in (0..1536).step_by(61) {
        let mut damaged = sound.clone();
        damaged[at] = damaged[at].wrapping_add(1);
        fs::write(&file, damaged).unwrap();
        if let Ok(model) = Model::open(Some(&file)) {
            let _ = model.image_side();
        }
    }
}

#[test]
fn a_packed_model_is_int8_and_packed_once() {
    let folder = TempDir::new().unwrap();
    let file = packed(&folder);
    let options = Options { precision: Precision::Float, ..Options::default() };
    let error = Model::open_with(Some(&file), &options).unwrap().image_side().err().unwrap();
    let error = anyhow::Error::from(error);
    assert!(format!("{error:#}").contains("--precision float needs"), "{error:#}");
    let model = Model::open(Some(&file)).unwrap();
    assert!(matches!(model.pack(&file, "neon"), Err(ModelError::IsPacked)));
}

#[test]
fn a_failed_pack_leaves_the_file_as_it_was() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("model.eclip");
    fs::write(&file, "before").unwrap();
    let error = Model::open(None).unwrap().pack(&file, "sve9").err().unwrap().to_string();
    assert!(error.contains("sve9") && error.contains("dotprod"), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "before");
    let nowhere = folder.path().join("no/model.eclip");
    let error =
        anyhow::Error::from(Model::open(None).unwrap().pack(&nowhere, "neon").err().unwrap());
    assert!(format!("{error:#}").contains("no/model.eclip"), "{error:#}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
