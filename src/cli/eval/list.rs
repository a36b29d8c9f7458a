//! Lists of pictures: CSV files with the columns `path` and `label`, read record by record.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use csv::{Position, ReaderBuilder, StringRecord, Trim};
use edgeclip::disk::open_regular;

/// Largest list that is read, in bytes.
const LIST_BYTES_MAX: u64 = 256 << 20;
/// Longest record of a list, in bytes. A quote that nothing closes takes in all that follows.
const RECORD_BYTES_MAX: usize = 64 << 10;

/// Gives path and label of each record to `each`, whose errors get the file and the line.
///
/// # Errors
/// The file and the line, and the way out.
pub(super) fn read(
    list: &Path,
    mut each: impl FnMut(&str, &str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let name = list.display();
    let file = open_regular(list).with_context(|| name.to_string())?;
    let bytes = file.metadata().with_context(|| name.to_string())?.len();
    if bytes > LIST_BYTES_MAX {
        bail!("{name} has {bytes} bytes, the limit is {LIST_BYTES_MAX}");
    }
    let left = Cell::new(RECORD_BYTES_MAX);
    let mut reader =
        ReaderBuilder::new().trim(Trim::All).from_reader(Rationed { file, left: &left });
    let wrong = |at: &Position, reason| anyhow!("{name}: line {}: {reason}", line_of(list, at));
    let header = reader.headers().map_err(|error| wrong(&Position::new(), csv_reason(&error)))?;
    let column = |wanted: &str| {
        let is_wanted =
            |title: &str| title.trim_start_matches('\u{feff}').eq_ignore_ascii_case(wanted);
        header.iter().position(is_wanted).ok_or_else(|| {
            anyhow!("{name}: line 1: no column \"{wanted}\": the first line must be path,label")
        })
    };
    let (path_at, label_at) = (column("path")?, column("label")?);
    let mut record = StringRecord::new();
    loop {
        left.set(RECORD_BYTES_MAX);
        let at = reader.position().clone();
        if !reader.read_record(&mut record).map_err(|error| wrong(&at, csv_reason(&error)))? {
            return Ok(());
        }
        let field = |column: usize, title: &str| match record.get(column) {
            Some("") | None => Err(wrong(&at, format!("the {title} is empty"))),
            Some(text) => Ok(text),
        };
        each(field(path_at, "path")?, field(label_at, "label")?)
            .map_err(|error| wrong(&at, error.to_string()))?;
    }
}

/// A file that gives no more than is left.
struct Rationed<'a> {
    file: File,
    left: &'a Cell<usize>,
}

impl Read for Rationed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.left.get());
        if most == 0 {
            return Err(io::Error::other(format!(
                "longer than {RECORD_BYTES_MAX} bytes, or a quote that is never closed"
            )));
        }
        let count = self.file.read(&mut buffer[..most])?;
        self.left.set(self.left.get() - count);
        Ok(count)
    }
}

/// The line, from 1, where a record begins. The reader's own count stands before empty lines that it skips.
fn line_of(list: &Path, at: &Position) -> u64 {
    let Ok(file) = open_regular(list) else { return at.line() };
    let mut bytes = BufReader::new(file).bytes().map_while(Result::ok);
    let is_end = |byte: &u8| *byte == b'\n';
    let before = bytes.by_ref().take(at.byte() as usize).filter(is_end).count();
    let empty = bytes.take_while(u8::is_ascii_whitespace).filter(is_end).count();
    1 + (before + empty) as u64
}

/// What is wrong with a list, and the way out.
fn csv_reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            let mend = if len > expected_len {
                "put a path with a comma in quotes"
            } else {
                "one is missing, or a quote never ends"
            };
            format!("{len} fields, the first line has {expected_len}: {mend}")
        }
        csv::ErrorKind::Utf8 { .. } => "not UTF-8 text: save the file as UTF-8".to_owned(),
        _ => error.to_string(),
    }
}
