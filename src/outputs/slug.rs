//! Names from outside, made safe for file names, topics and identifiers.

use crate::digest::sha256;

/// Longest readable part, in bytes.
const PLAIN_BYTES_MAX: usize = 40;

/// Digits of the digest that tell apart names that look the same once they are safe.
const DIGEST_DIGITS: usize = 8;

/// Lower-case ASCII letters, digits and `_`; never empty. Different names may come to the same.
pub(super) fn plain(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let plain: String = name.chars().take(PLAIN_BYTES_MAX).map(safe).collect();
    if plain.is_empty() { "_".to_owned() } else { plain }
}

/// As [`plain`], and different for different names.
pub(super) fn unique(name: &str) -> String {
    let plain = plain(name);
    if plain == name {
        plain
    } else {
        format!("{plain}_{}", &sha256(name.as_bytes())[..DIGEST_DIGITS])
    }
}

#[cfg(test)]
mod tests {
    use super::{PLAIN_BYTES_MAX, plain, unique};

    #[test]
    fn nothing_but_letters_digits_and_underscores() {
        assert_eq!(plain("cat"), "cat");
        assert_eq!(plain("../A Cat/#+\0\n"), "___a_cat_____");
        assert_eq!(plain("Zürich"), "z_rich");
        assert_eq!(plain(""), "_");
        assert_eq!(plain(&"x".repeat(1000)).len(), PLAIN_BYTES_MAX);
    }

    #[test]
    fn different_names_stay_different() {
        let names = ["cat", "Cat", "c at", "c_at", "c/at", "", "_", "猫", "犬"];
        let mut slugs: Vec<_> = names.into_iter().map(unique).collect();
        assert_eq!(slugs[0], "cat");
        slugs.sort();
        slugs.dedup();
        assert_eq!(slugs.len(), names.len());
    }
}
