//! Digests as text: SHA-256, the identity of files, models and label sets; and git's, by which a hub knows
//! small files.

use std::io::{self, Read};

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// What is read of a file at once.
const CHUNK: usize = 1 << 16;

/// The digest of `bytes` in 64 lower-case hexadecimal digits, as `sha256sum` prints it.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The same of what can be read.
pub(crate) fn sha256_of(from: impl Read) -> io::Result<String> {
    let mut growing = Growing::default();
    growing.read(from)?;
    Ok(growing.finish())
}

/// The digest of a file in git, 40 lower-case hexadecimal digits, as `git hash-object` prints it.
pub(crate) fn git_blob(bytes: u64, from: impl Read) -> io::Result<String> {
    let mut digest = Sha1::new_with_prefix(format!("blob {bytes}\0"));
    for_each_chunk(from, |chunk| digest.update(chunk))?;
    Ok(hex(&digest.finalize()))
}

/// A SHA-256 of what comes in pieces.
#[derive(Default)]
pub(crate) struct Growing(Sha256);

impl Growing {
    /// Takes one piece.
    pub(crate) fn add(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// Takes all that can be read.
    pub(crate) fn read(&mut self, from: impl Read) -> io::Result<()> {
        for_each_chunk(from, |chunk| self.0.update(chunk))
    }

    /// The digest, as [`sha256`].
    pub(crate) fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

fn for_each_chunk(mut from: impl Read, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => take(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4, example "abc".
    #[test]
    fn digest_of_abc() {
        let wanted = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), wanted);
        assert_eq!(sha256_of(&b"abc"[..]).unwrap(), wanted);
        let mut growing = Growing::default();
        growing.add(b"a");
        growing.read(&b"bc"[..]).unwrap();
        assert_eq!(growing.finish(), wanted);
    }

    /// The example of Pro Git, chapter 10.2: `echo 'test content' | git hash-object --stdin`.
    #[test]
    fn digest_of_a_file_in_git() {
        let wanted = "d670460b4b4aece5915caf5c68d12f560a9fe3e4";
        assert_eq!(git_blob(13, &b"test content\n"[..]).unwrap(), wanted);
    }
}
