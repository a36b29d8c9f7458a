//! SHA-256 as text: the identity of files, models and label sets.

use sha2::{Digest, Sha256};

/// The digest of `bytes` in 64 lower-case hexadecimal digits, as `sha256sum` prints it.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    /// FIPS 180-4, example "abc".
    #[test]
    fn digest_of_abc() {
        let wanted = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(super::sha256(b"abc"), wanted);
    }
}
