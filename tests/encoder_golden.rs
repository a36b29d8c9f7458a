//! Embeddings of the built-in model against ONNX Runtime's (`tests/golden/embeddings.py`).
#![cfg(feature = "mini")]

use std::path::Path;

use edgeclip::bundle::Bundle;
use edgeclip::capture;
use edgeclip::embedding::Embedding;
use edgeclip::encoder::{self, Compute, Precision, TextEncoder};
use edgeclip::pipeline::Model;
use edgeclip::tokenizer::{Options, Padding, TokenIds, Tokenizer};
use serde::Deserialize;

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

#[test]
fn a_prompt_at_its_own_length_equals_the_padded_one() {
    let bundle = Bundle::built_in().unwrap();
    let context_length = bundle.manifest().tokenizer.context_length;
    let encoder = TextEncoder::load(
        &bundle.text().unwrap().bytes,
        context_length,
        bundle.manifest().embedding_dim,
        &Compute::start(&float()).unwrap(),
    )
    .unwrap();
    let encode = |padding: Padding, text: &str| -> (TokenIds, Embedding) {
        let options = Options { context_length, padding };
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
