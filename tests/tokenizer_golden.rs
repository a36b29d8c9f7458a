//! Token ids against CLIP's own `SimpleTokenizer` (`tests/golden/tokenizer.py`).

use std::io::Read;
use std::path::Path;

use edgeclip::tokenizer::{Cleaning, Options, Padding, Tokenizer, TokenizerError};
use flate2::read::GzDecoder;
use serde::Deserialize;

/// CLIP's begin and end tokens.
const BEGIN: i64 = 49406;
const END: i64 = 49407;

#[derive(Deserialize)]
struct Golden {
    texts: Vec<Text>,
    /// Where edgeclip or tokenizer.json differs from `SimpleTokenizer`, and why: ids of the text as read.
    differs: Vec<Differs>,
    /// Texts that spell special tokens, as plain text.
    special: Vec<Text>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<i64>,
}

#[derive(Deserialize)]
struct Differs {
    text: String,
    why: String,
    reads_as_ids: Vec<i64>,
}

fn data(file: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file)).unwrap()
}

fn golden() -> Golden {
    serde_json::from_slice(&data("clip-tokens.json")).unwrap()
}

fn tokenizer(context_length: usize, padding: Padding) -> Tokenizer {
    let mut json = Vec::new();
    GzDecoder::new(&*data("clip-tokenizer.json.gz")).read_to_end(&mut json).unwrap();
    Tokenizer::from_json(&json, Options { context_length, padding, cleaning: Cleaning::Clip })
        .unwrap()
}

#[test]
fn ids_equal_the_reference() {
    let golden = golden();
    assert!(golden.texts.len() > 200, "only {} texts", golden.texts.len());
    let tokenizer = tokenizer(1000, Padding::None);
    let mut wrong = Vec::new();
    for Text { text, ids } in golden.texts.iter().chain(&golden.special) {
        let found = tokenizer.encode(text).unwrap();
        if found.ids() != ids {
            wrong.push(format!("{text:?}: {:?}, not {ids:?}", found.ids()));
        }
    }
    for Differs { text, why, reads_as_ids } in &golden.differs {
        let found = tokenizer.encode(text).unwrap();
        if found.ids() != reads_as_ids {
            wrong.push(format!("{text:?} ({why}): {:?}, not {reads_as_ids:?}", found.ids()));
        }
    }
    assert!(wrong.is_empty(), "{} texts differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn special_tokens_stand_at_the_ends_only() {
    let tokenizer = tokenizer(77, Padding::None);
    for text in ["<|endoftext|>", "a <|startoftext|> b", "<|ENDOFTEXT|>"] {
        let tokens = tokenizer.encode(text).unwrap();
        let (first, rest) = tokens.ids().split_first().unwrap();
        let (last, inner) = rest.split_last().unwrap();
        assert_eq!((*first, *last), (BEGIN, END), "{text}");
        assert!(!inner.contains(&BEGIN) && !inner.contains(&END), "{text}: {inner:?}");
    }
}

#[test]
fn a_text_over_the_context_length_is_refused() {
    let tokenizer = tokenizer(77, Padding::None);
    let words = |count: usize| vec!["cat"; count].join(" ");
    assert_eq!(tokenizer.encode(&words(75)).unwrap().ids().len(), 77);
    match tokenizer.encode(&words(76)) {
        Err(TokenizerError::TooLong { text, tokens: 78, limit: 77 }) => assert_eq!(text, words(76)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn padding_fills_up_to_its_length() {
    let tokenizer = tokenizer(77, Padding::To { id: 0, to: 6 });
    assert_eq!(tokenizer.encode("cat").unwrap().ids(), [BEGIN, 2368, END, 0, 0, 0]);
    assert_eq!(tokenizer.encode("cat cat cat cat cat").unwrap().ids().len(), 7);
}

#[test]
fn a_damaged_vocabulary_is_refused() {
    let options = Options { context_length: 77, padding: Padding::None, cleaning: Cleaning::Clip };
    for json in [&b""[..], b"{}", b"{\"model\": 3}", b"\xff\xfe"] {
        let refused = Tokenizer::from_json(json, options).err().expect("damaged");
        assert!(matches!(refused, TokenizerError::Vocabulary(_)), "{refused}");
    }
}
