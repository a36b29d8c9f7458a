//! Embeddings of the built-in model against ONNX Runtime's (`tests/golden/embeddings.py`).
#![cfg(feature = "mini")]

use std::path::{Path, PathBuf};

use edgeclip::bundle::Bundle;
use edgeclip::capture;
use edgeclip::embedding::Embedding;
use edgeclip::encoder::{self, Compute, Precision, TextEncoder};
use edgeclip::pipeline::Model;
use edgeclip::tokenizer::{Cleaning, Options, Padding, TokenIds, Tokenizer};
use serde::Deserialize;

/// Least cosine of int8 to float, over pictures and texts; and with the mean embedding taken off both, so that what
/// all have in common does not count.
const INT8_MIN: f32 = 0.995;
const INT8_CENTRED_MIN: f32 = 0.98;

/// Least cosine to the reference. JPEG decoders differ by a few grey levels.
const COSINE_MIN: f32 = 0.9999;
const COSINE_MIN_JPEG: f32 = 0.999;

#[derive(Deserialize)]
struct Golden {
    pictures: Vec<Picture>,
    texts: Vec<Text>,
}

#[derive(Deserialize)]
struct Picture {
    path: String,
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    embedding: Vec<f32>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn golden() -> Golden {
    let file = root().join("tests/data/mini-embeddings.json");
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn cosine(found: &Embedding, reference: &[f32]) -> f32 {
    found.cosine(&Embedding::normalised(reference).unwrap())
}

fn float() -> encoder::Options {
    encoder::Options { precision: Precision::Float, ..encoder::Options::default() }
}

#[test]
fn pictures_equal_onnx_runtime() {
    let mut image_side = Model::open_with(None, &float()).unwrap().image_side().unwrap();
    let pictures = golden().pictures;
    assert!(pictures.len() > 10, "only {} pictures", pictures.len());
    for Picture { path, embedding } in pictures {
        let frame = capture::read(&root().join(&path)).unwrap();
        let cosine = cosine(&image_side.encode_image(&frame).unwrap(), &embedding);
        println!("{path}: {cosine:.7}");
        let jpeg = Path::new(&path).extension().is_some_and(|extension| extension == "jpg");
        let least = if jpeg { COSINE_MIN_JPEG } else { COSINE_MIN };
        assert!(cosine >= least, "{path}: {cosine}");
    }
}

#[test]
fn texts_equal_onnx_runtime() {
    let text_side = Model::open_with(None, &float()).unwrap().text_side().unwrap();
    let texts = golden().texts;
    assert!(texts.len() > 10, "only {} texts", texts.len());
    let words: Vec<&str> = texts.iter().map(|text| text.text.as_str()).collect();
    // All at once, so that texts of several lengths go through the batching.
    for (Text { text, embedding }, found) in
        texts.iter().zip(text_side.encode_texts(&words).unwrap())
    {
        let cosine = cosine(&found, embedding);
        assert!(cosine >= COSINE_MIN, "{text:?}: {cosine}");
    }
}

fn int8() -> encoder::Options {
    encoder::Options { precision: Precision::Int8, ..encoder::Options::default() }
}

/// Embeddings less their mean, of length 1 again.
fn centred(embeddings: &[Embedding]) -> Vec<Embedding> {
    let count = embeddings.len() as f32;
    let dim = embeddings[0].values().len();
    let mean: Vec<f32> =
        (0..dim).map(|at| embeddings.iter().map(|e| e.values()[at]).sum::<f32>() / count).collect();
    let less = |e: &Embedding| -> Vec<f32> {
        e.values().iter().zip(&mean).map(|(value, mean)| value - mean).collect()
    };
    embeddings.iter().map(|e| Embedding::normalised(&less(e)).unwrap()).collect()
}

/// Each of `found` is near to its own reference, and nearer to it than to any other.
fn assert_near(found: &[Embedding], reference: &[Embedding]) {
    let [found_centred, reference_centred] = [centred(found), centred(reference)];
    for at in 0..found.len() {
        let cosine = found[at].cosine(&reference[at]);
        let own = found_centred[at].cosine(&reference_centred[at]);
        println!("{at}: {cosine:.5}, centred {own:.5}");
        assert!(cosine >= INT8_MIN, "{at}: {cosine}");
        assert!(own >= INT8_CENTRED_MIN, "{at}: {own}, centred");
        // Two empty tables are as good as one picture.
        let differs = |other: &usize| reference[at].cosine(&reference[*other]) < 0.98;
        for other in (0..found.len()).filter(differs) {
            let cosine = found_centred[at].cosine(&reference_centred[other]);
            assert!(cosine < own, "{at} is as near to {other}: {cosine}");
        }
    }
}

#[test]
fn int8_embeddings_are_those_of_float() {
    let models = [int8(), float()].map(|options| Model::open_with(None, &options).unwrap());
    let folders = ["examples/images", "tests/data/cards"];
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(root().join(folder)).unwrap());
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension != "md"));
    files.sort();
    assert!(files.len() > 50, "only {} pictures", files.len());
    let [found, reference] = models.each_ref().map(|model| {
        let mut side = model.image_side().unwrap();
        let embed = |path: &PathBuf| side.encode_image(&capture::read(path).unwrap()).unwrap();
        files.iter().map(embed).collect::<Vec<_>>()
    });
    assert_near(&found, &reference);
    let golden = golden();
    let texts: Vec<&str> = golden.texts.iter().map(|text| text.text.as_str()).collect();
    let [found, reference] =
        models.each_ref().map(|model| model.text_side().unwrap().encode_texts(&texts).unwrap());
    assert_near(&found, &reference);
}

#[test]
fn every_kernel_and_thread_count_gives_the_same_bits() {
    let frame = capture::read(&root().join("examples/images/cat.jpg")).unwrap();
    let embedding = |kernel: &str, threads| {
        let kernel = Some(kernel.to_owned());
        let options = encoder::Options { threads: Some(threads), kernel, ..int8() };
        let model = Model::open_with(None, &options).unwrap();
        model.image_side().unwrap().encode_image(&frame).unwrap()
    };
    let first = embedding("scalar", 1);
    for kernel in edgeclip::gemm::available_kernels() {
        for threads in [1, 3] {
            assert_eq!(embedding(kernel.name(), threads), first, "{}, {threads}", kernel.name());
        }
    }
}

#[test]
fn a_prompt_at_its_own_length_equals_the_padded_one() {
    let bundle = Bundle::built_in().unwrap();
    let context_length = bundle.words().unwrap().tokenizer.context_length;
    let encoder = TextEncoder::load(
        &bundle.text().unwrap().bytes,
        context_length,
        bundle.manifest().embedding_dim,
        &Compute::start(&float()).unwrap(),
    )
    .unwrap();
    let encode = |padding: Padding, text: &str| -> (TokenIds, Embedding) {
        let options = Options { context_length, padding, cleaning: Cleaning::Clip };
        let tokenizer = Tokenizer::from_json(&bundle.tokenizer().unwrap().bytes, options).unwrap();
        let tokens = tokenizer.encode(text).unwrap();
        let embedding = encoder.encode(std::slice::from_ref(&tokens)).unwrap().remove(0);
        (tokens, embedding)
    };
    for text in ["cat", "a photo of a cup of coffee", "three red circles on a blue background"] {
        let (short, own) = encode(Padding::None, text);
        let (long, padded) = encode(Padding::To { id: 0, to: context_length }, text);
        assert!(short.ids().len() < context_length && long.ids().len() == context_length);
        assert!(own.cosine(&padded) >= 0.99999, "{text}: {}", own.cosine(&padded));
    }
}

#[test]
fn many_texts_keep_their_order() {
    let text_side = Model::open_with(None, &float()).unwrap().text_side().unwrap();
    let texts: Vec<String> = (0..100).map(|n| "cat ".repeat(1 + n % 7) + &n.to_string()).collect();
    let together = text_side.encode_texts(&texts).unwrap();
    for (text, embedding) in texts.iter().zip(&together).step_by(13) {
        let alone = text_side.encode_texts(std::slice::from_ref(text)).unwrap().remove(0);
        assert!(alone.cosine(embedding) > 0.99999, "{text}");
    }
}
