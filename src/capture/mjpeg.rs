//! Motion JPEG: one JPEG after the other in a stream (ITU-T T.81, B.1). What lies between two JPEGs is
//! skipped. A JPEG that is cut off is handed out as far as it goes, so that it is seen to fail.

/// Largest JPEG of a stream, in bytes; a longer one is handed out cut off.
pub(super) const JPEG_BYTES_MAX: usize = 16 << 20;

const START_OF_IMAGE: u8 = 0xd8;
const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;

/// Cuts a stream into JPEGs. Keeps its buffer.
#[derive(Default)]
pub(super) struct Splitter {
    /// The stream's bytes that were not handed out yet; the JPEG begins at `start`, and `at` is read next.
    bytes: Vec<u8>,
    start: usize,
    at: usize,
    state: State,
    /// Whether the JPEG's header, with its size, was seen.
    has_header: bool,
}

#[derive(Clone, Copy, Default)]
enum State {
    /// Between two JPEGs.
    #[default]
    Between,
    /// At a marker.
    Marker,
    /// In compressed data.
    Scan,
}

/// How far a look at the bytes came.
enum Found {
    /// The JPEG ends here.
    End(usize),
    /// The JPEG is broken, and the next one begins here or later.
    Broken(usize),
    /// The bytes end first.
    More,
}

impl Splitter {
    /// Puts what comes next in the stream behind what is there.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.at -= self.start;
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes the next JPEG over `jpeg`; `false` where the stream must go on first.
    pub(super) fn next(&mut self, jpeg: &mut Vec<u8>) -> bool {
        let end = match self.look() {
            Found::End(end) | Found::Broken(end) => end,
            Found::More if self.at - self.start > JPEG_BYTES_MAX => self.bytes.len(),
            Found::More => return false,
        };
        self.hand_out(end, jpeg);
        true
    }

    /// The stream has ended: writes the JPEG that it stopped in over `jpeg`, if it did.
    pub(super) fn finish(&mut self, jpeg: &mut Vec<u8>) -> bool {
        let in_jpeg = !matches!(self.state, State::Between);
        if in_jpeg {
            self.hand_out(self.bytes.len(), jpeg);
        }
        in_jpeg
    }

    fn hand_out(&mut self, end: usize, jpeg: &mut Vec<u8>) {
        jpeg.clear();
        jpeg.extend_from_slice(&self.bytes[self.start..end.min(self.start + JPEG_BYTES_MAX)]);
        (self.start, self.at) = (end, end);
        self.state = State::Between;
    }

    fn look(&mut self) -> Found {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or(&[]);
            match self.state {
                State::Between => {
                    let Some(found) = start_of_image(rest) else {
                        // The last two bytes may be the beginning of a start.
                        self.at += rest.len().saturating_sub(2);
                        self.start = self.at;
                        return Found::More;
                    };
                    self.start = self.at + found;
                    self.at = self.start + 2;
                    self.state = State::Marker;
                    self.has_header = false;
                }
                State::Scan => {
                    let Some(found) = end_of_scan(rest) else {
                        self.at += rest.len().saturating_sub(1);
                        return Found::More;
                    };
                    self.at += found;
                    self.state = State::Marker;
                }
                State::Marker => match *rest {
                    [0xff, 0xff, ..] => self.at += 1,
                    [0xff, END_OF_IMAGE, ..] => return Found::End(self.at + 2),
                    [0xff, START_OF_IMAGE, ..] => return Found::Broken(self.at),
                    [0xff, 0x01 | 0xd0..=0xd7, ..] => self.at += 2,
                    [0xff, marker, high, low, ..] if marker != 0 => {
                        let length = usize::from(u16::from_be_bytes([high, low]));
                        let is_header = is_header(marker);
                        if length < 2 || (is_header && self.has_header) {
                            return self.broken();
                        }
                        self.has_header |= is_header;
                        self.at += 2 + length;
                        if marker == START_OF_SCAN {
                            self.state = State::Scan;
                        }
                    }
                    [] | [0xff] | [0xff, 1..=0xff, ..] => return Found::More,
                    _ => return self.broken(),
                },
            }
        }
    }

    /// What should be a marker is none, or stands in the wrong place: bytes are damaged or missing. A JPEG that began in what was
    /// taken for a segment is found again.
    fn broken(&self) -> Found {
        let behind = self.start + 2;
        // A beginning may lie across the place.
        let Some(bytes) = self.bytes.get(behind..self.at + 2) else { return Found::More };
        Found::Broken(start_of_image(bytes).map_or(self.at, |at| behind + at))
    }
}

/// Whether a marker begins the header of a JPEG, of which each has one.
fn is_header(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc)
}

/// Where a JPEG begins: its first marker and the beginning of the second.
fn start_of_image(bytes: &[u8]) -> Option<usize> {
    bytes.windows(3).position(|three| three == [0xff, START_OF_IMAGE, 0xff])
}

/// Where compressed data end: at the first marker that is not a restart.
pub(super) fn end_of_scan(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|two| two[0] == 0xff && !matches!(two[1], 0 | 0xd0..=0xd7 | 0xff))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    /// A JPEG as far as its markers go; the comment holds what looks like markers, as a small picture in
    /// EXIF does.
    fn jpeg(filling: u8) -> Vec<u8> {
        let mut jpeg = vec![0xff, 0xd8, 0xff, 0xfe, 0, 8, 0xff, 0xd9, 0xff, 0xd9, 0, 0];
        jpeg.extend([0xff, 0xc0, 0, 4, 1, 2, 0xff, 0xda, 0, 4, 1, 2]);
        jpeg.extend([filling, 0xff, 0, filling, 0xff, 0xd0, filling]);
        jpeg.extend([0xff, 0xff, 0xd9]);
        jpeg
    }

    /// All that comes out of a stream that arrives in pieces of `piece` bytes.
    fn split(stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let (mut splitter, mut found, mut jpeg) = (Splitter::default(), vec![], vec![]);
        for bytes in stream.chunks(piece) {
            splitter.extend(bytes);
            while splitter.next(&mut jpeg) {
                found.push(jpeg.clone());
            }
        }
        if splitter.finish(&mut jpeg) {
            found.push(jpeg);
        }
        found
    }

    fn check(stream: &[u8], expected: &[&[u8]]) {
        for piece in [1, 2, 3, 7, 64, 1 << 16] {
            assert_eq!(split(stream, piece), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn jpegs_are_found_whatever_lies_between_them() {
        let (a, b) = (jpeg(1), jpeg(2));
        check(&[&a[..], &b].concat(), &[&a, &b]);
        check(
            &[b"--part\r\n\xff\xd8 \xff", &a[..], b"\xff\r\n", &b, b"\xff\xd8"].concat(),
            &[&a, &b],
        );
        check(b"nothing at all", &[]);
    }

    #[test]
    fn a_jpeg_that_is_cut_off_costs_no_other() {
        let (a, b) = (jpeg(1), jpeg(2));
        // In its scan, and in the middle of a segment.
        for end in [26, 8, 22] {
            check(&[&a[..end], &b].concat(), &[&a[..end], &b]);
        }
        check(&a[..26], &[&a[..26]]);
    }

    #[test]
    fn a_wrong_length_costs_no_other() {
        let (mut a, b) = (jpeg(1), jpeg(2));
        a[5] = 35;
        let found = split(&[&a[..], &b].concat(), 64);
        assert_eq!(found.last(), Some(&b));
        a[5] = 1;
        let found = split(&[&a[..], &b].concat(), 64);
        assert_eq!(found.last(), Some(&b));
    }

    proptest! {
        /// Whatever comes, the pieces that it comes in don't matter, and a whole JPEG at its end is found.
        #[test]
        fn pieces_do_not_matter(
            bytes in vec(select(&[0xff, 0xff, 0xd8, 0xd9, 0xda, 0xc0, 0xc4, 0xd0, 0, 0, 2, 4, 9][..]), 0..200),
            piece in 1..50_usize,
        ) {
            let last = jpeg(3);
            let stream = [&bytes[..], &vec![0; 70_000], &last].concat();
            let found = split(&stream, 1 << 20);
            prop_assert_eq!(found.last(), Some(&last));
            prop_assert_eq!(split(&stream, piece), found);
        }
    }

    #[test]
    fn an_endless_jpeg_is_handed_out_cut_off() {
        let mut stream = jpeg(1);
        stream.truncate(24);
        stream.resize(JPEG_BYTES_MAX + 100_000, 7);
        let b = jpeg(2);
        stream.extend(&b);
        let found = split(&stream, 1 << 16);
        assert_eq!(found[0].len(), JPEG_BYTES_MAX);
        assert_eq!(found.last(), Some(&b));
    }
}
