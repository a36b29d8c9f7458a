//! Where in a file something stands, for messages.

/// The line, from 1, of a byte offset in `text`.
pub(crate) fn line_at(text: &str, offset: usize) -> usize {
    1 + text.get(..offset).unwrap_or(text).matches('\n').count()
}
