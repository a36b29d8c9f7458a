//! Panels: both operands of a product in the order in which a kernel reads them.
//!
//! A panel of `r` rows (or columns) over K is `[k / group][r][group]`, K padded with zeros to whole
//! chunks; its values are int8, but a kernel may want its rows in another form.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use super::floats::{largest_magnitude, to_int8};
use super::kernels::{CHUNK, Layout, Stored};
use super::{Kernel, LayerNorm, Workers};

/// Largest int8 value in use, and -127 the smallest: two products then fit int16, which the kernels
/// without dot product rely on.
pub const INT8_MAX: i8 = 127;
/// Longest K whose sums can't overflow: `k * 127 * 127 <= 2^31 - 1`.
pub const K_MAX: usize = (i32::MAX / (INT8_MAX as i32 * INT8_MAX as i32)) as usize;

/// Copies a line of K bytes into its place, group by group.
fn interleave(line: &[i8], panel: &mut [i8], at: usize, height: usize, group: usize) {
    fn groups<const G: usize>(line: &[i8], panel: &mut [i8], at: usize, height: usize) {
        let (from, _) = line.as_chunks::<G>();
        let (to, _) = panel.as_chunks_mut::<G>();
        for (from, to) in from.iter().zip(to.chunks_exact_mut(height)) {
            to[at] = *from;
        }
    }
    match group {
        2 => groups::<2>(line, panel, at, height),
        4 => groups::<4>(line, panel, at, height),
        8 => groups::<8>(line, panel, at, height),
        16 => groups::<16>(line, panel, at, height),
        group => unreachable!("groups of {group}"),
    }
}

/// Int8 values in the form in which a kernel wants its rows; `other` holds a form that is not theirs.
fn stored<'a>(line: &'a [i8], other: &'a mut [i8], form: Stored) -> &'a [i8] {
    match form {
        Stored::Int8 => return line,
        Stored::Uint8 => {
            for (value, byte) in line.iter().zip(&mut *other) {
                *byte = value ^ i8::MIN;
            }
        }
        Stored::Int16 => {
            for (value, bytes) in line.iter().zip(other.as_chunks_mut().0) {
                *bytes = i16::from(*value).to_le_bytes().map(u8::cast_signed);
            }
        }
    }
    other
}

/// How many rows of `k` values there are.
fn whole_rows(len: usize, k: usize) -> usize {
    assert!((1..=K_MAX).contains(&k), "k of 1 to {K_MAX}");
    assert!(len.is_multiple_of(k), "whole rows");
    len / k
}

fn padded(k: usize) -> usize {
    k.next_multiple_of(CHUNK)
}

/// A tile's rows: the first one, and how many there are, those of padding included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) first: usize,
    pub(super) height: usize,
}

/// The tiles of `m` rows, as even in height as the kernel allows: 50 rows in tiles of at most 12
/// are five tiles of 10, without one that is nearly empty.
fn tiles(m: usize, layout: Layout) -> impl Iterator<Item = Tile> {
    let steps = m.div_ceil(layout.mr_step);
    let count = steps.div_ceil(layout.mr / layout.mr_step);
    (0..count).map(move |tile| {
        let [first, end] = [tile, tile + 1].map(|tile| tile * steps / count * layout.mr_step);
        Tile { first, height: end - first }
    })
}

/// What a thread quantises a row with; stays with the thread, as large as its longest row.
#[derive(Default)]
struct Line {
    floats: Vec<f32>,
    int8: Vec<i8>,
    stored: Vec<i8>,
}

thread_local! {
    static LINE: RefCell<Line> = RefCell::default();
}

/// The left operand: activations `[m, k]`, quantised row by row. Made once and filled for each
/// product, so that a frame allocates nothing.
pub struct PackedRows {
    kernel: &'static Kernel,
    m: usize,
    k: usize,
    scales: Vec<f32>,
    /// For each tile, its end in `scales` and in `panels`.
    ends: Vec<[usize; 2]>,
    panels: Vec<i8>,
}

impl PackedRows {
    /// Without rows.
    #[must_use]
    pub fn new(kernel: &'static Kernel) -> Self {
        Self { kernel, m: 0, k: 0, scales: vec![], ends: vec![], panels: vec![] }
    }

    /// Takes over the rows of `values`, `[m, k]`. A row's scale is its largest magnitude / 127, its
    /// int8 values are `round(value * (127 / largest magnitude))`, ties to even. A row that holds
    /// something not finite gets a scale of NaN, which its products show.
    ///
    /// # Panics
    /// Where `values` are no whole rows, or `k` is zero or above [`K_MAX`].
    pub fn quantise(&mut self, workers: &mut Workers, values: &[f32], k: usize) {
        self.fill(workers, whole_rows(values.len(), k), k, |row, Line { int8, .. }| {
            let row = &values[row * k..][..k];
            to_int8(row, largest_magnitude(row), &mut int8[..k])
        });
    }

    /// As [`quantise`](Self::quantise), each row normed first: the rows are those of `norm`'s result,
    /// which is never written out whole.
    ///
    /// # Panics
    /// Where `values` are no whole rows of the norm's width, or that is zero or above [`K_MAX`].
    pub fn quantise_normed(&mut self, workers: &mut Workers, values: &[f32], norm: &LayerNorm) {
        let k = norm.width();
        self.quantise_lines(workers, whole_rows(values.len(), k), k, |row, line| {
            norm.apply(&values[row * k..][..k], line);
        });
    }

    /// As [`quantise`](Self::quantise), with `m` rows that `write` puts, one at a time, into a line of
    /// `k` values, which holds what was there before.
    ///
    /// # Panics
    /// Where `k` is zero or above [`K_MAX`].
    pub fn quantise_lines(
        &mut self,
        workers: &mut Workers,
        m: usize,
        k: usize,
        write: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        self.fill(workers, m, whole_rows(k, k) * k, |row, Line { floats, int8, .. }| {
            floats.resize(k, 0.0);
            write(row, floats);
            to_int8(floats, largest_magnitude(floats), &mut int8[..k])
        });
    }

    /// Takes over rows that are int8 already, `[m, k]`, with a scale of 1.
    ///
    /// # Panics
    /// Where the values are no whole rows, one of them is -128, or `k` is zero or above [`K_MAX`].
    pub fn take_int8(&mut self, workers: &mut Workers, values: &[i8], k: usize) {
        assert!(values.iter().all(|value| *value >= -INT8_MAX), "symmetric int8");
        self.fill(workers, whole_rows(values.len(), k), k, |row, Line { int8, .. }| {
            int8[..k].copy_from_slice(&values[row * k..][..k]);
            1.0
        });
    }

    /// Packs `m` rows that `write` puts, one at a time, into the first `k` of a line's int8 values,
    /// returning their scale.
    fn fill(
        &mut self,
        workers: &mut Workers,
        m: usize,
        k: usize,
        write: impl Fn(usize, &mut Line) -> f32 + Sync,
    ) {
        let layout = self.kernel.layout();
        let (bytes, group) = (layout.rows.bytes() * padded(k), layout.rows.bytes() * layout.group);
        (self.m, self.k) = (m, k);
        self.scales.resize(m, 0.0);
        self.panels.resize(m.next_multiple_of(layout.mr_step) * bytes, 0);
        self.ends.clear();
        let ends = tiles(m, layout).map(|tile| tile.first + tile.height);
        self.ends.extend(ends.map(|end| [end.min(m), end * bytes]));
        let ends = &self.ends;
        workers.run_on_parts((&mut self.scales, &mut self.panels), ends, |tile, scales, panel| {
            let first = if tile == 0 { 0 } else { ends[tile - 1][0] };
            let height = panel.len() / bytes;
            LINE.with_borrow_mut(|line| {
                line.int8.clear();
                line.int8.resize(padded(k), 0);
                line.stored.resize(bytes, 0);
                // Rows of padding keep what was there: nobody reads their sums.
                for (at, scale) in scales.iter_mut().enumerate() {
                    *scale = write(first + at, line);
                    let line = stored(&line.int8, &mut line.stored, layout.rows);
                    interleave(line, panel, at, height, group);
                }
            });
        });
    }

    /// Rows and K.
    #[must_use]
    pub fn shape(&self) -> [usize; 2] {
        [self.m, self.k]
    }

    /// What each row's int8 values are to be multiplied with, `[m]`.
    #[must_use]
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    pub(super) fn kernel(&self) -> &'static Kernel {
        self.kernel
    }

    /// The tiles and their panels, from the first row on.
    pub(super) fn tiles(&self) -> impl Iterator<Item = (Tile, &[i8])> {
        let bytes = self.kernel.layout().rows.bytes() * padded(self.k);
        tiles(self.m, self.kernel.layout())
            .map(move |tile| (tile, &self.panels[tile.first * bytes..][..tile.height * bytes]))
    }
}

/// Bytes of weights, wherever they are: in memory of their own, or in a mapped file.
pub type Panels = Arc<dyn AsRef<[i8]> + Send + Sync>;

/// The right operand: weights `[n, k]`, quantised and packed once.
#[derive(Clone)]
pub struct PackedWeights {
    layout: Layout,
    n: usize,
    k: usize,
    scales: Vec<f32>,
    starts: Vec<i32>,
    panels: Panels,
}

impl PackedWeights {
    /// Quantises `values`, `[n, k]`, each output channel as [`PackedRows::quantise`] does a row.
    ///
    /// # Panics
    /// Where `values` are no whole rows, one of them is not finite, or `k` is zero or above [`K_MAX`].
    #[must_use]
    pub fn quantise(layout: Layout, values: &[f32], k: usize) -> Self {
        let mut line = vec![0; whole_rows(values.len(), k) * k];
        let channels = values.chunks_exact(k).zip(line.chunks_exact_mut(k));
        let scales =
            channels.map(|(channel, line)| to_int8(channel, largest_magnitude(channel), line));
        let scales: Vec<f32> = scales.collect();
        Self::take_int8(layout, &line, k, scales)
    }

    /// Packs weights that are int8 already, `[n, k]`, with a scale for each of the `n` channels.
    ///
    /// # Panics
    /// Where the values are not `n` rows, one of them is -128, a scale is not finite, or `k` is zero or
    /// above [`K_MAX`].
    #[must_use]
    pub fn take_int8(layout: Layout, values: &[i8], k: usize, scales: Vec<f32>) -> Self {
        assert!(values.iter().all(|value| *value >= -INT8_MAX), "symmetric int8");
        assert!(scales.iter().all(|scale| scale.is_finite()), "finite weights");
        let n = whole_rows(values.len(), k);
        assert_eq!(scales.len(), n, "a scale for each channel");
        let columns = n.next_multiple_of(layout.nr);
        let mut starts = vec![0; columns];
        let mut panels = vec![0; columns * padded(k)];
        let mut line = vec![0; padded(k)];
        for (column, channel) in values.chunks_exact(k).enumerate() {
            line[..k].copy_from_slice(channel);
            let panel =
                &mut panels[column / layout.nr * layout.nr * padded(k)..][..layout.nr * padded(k)];
            interleave(&line, panel, column % layout.nr, layout.nr, layout.group);
            if layout.rows == Stored::Uint8 {
                let sum: i32 = channel.iter().map(|value| i32::from(*value)).sum();
                // The longest K goes over the end here, and comes back with its products.
                starts[column] = sum.wrapping_mul(-128);
            }
        }
        Self { layout, n, k, scales, starts, panels: Arc::new(panels) }
    }

    /// Weights that were packed before: what [`scales`](Self::scales), [`starts`](Self::starts) and
    /// [`panels`](Self::panels) gave. None where the sizes don't fit.
    #[must_use]
    pub fn from_parts(
        layout: Layout,
        [n, k]: [usize; 2],
        scales: Vec<f32>,
        starts: Vec<i32>,
        panels: Panels,
    ) -> Option<Self> {
        let columns = n.checked_next_multiple_of(layout.nr)?;
        let fits = (1..=K_MAX).contains(&k)
            && scales.len() == n
            && scales.iter().all(|scale| scale.is_finite())
            && starts.len() == columns
            && Some((*panels).as_ref().len()) == columns.checked_mul(padded(k));
        fits.then_some(Self { layout, n, k, scales, starts, panels })
    }

    /// The same weights for another kernel; none where a value is -128, which no packing gives.
    #[must_use]
    pub fn repacked(&self, layout: Layout) -> Option<Self> {
        let Layout { nr, group, .. } = self.layout;
        let panels = self.panels();
        let value = |column: usize, at: usize| {
            let panel = &panels[column / nr * nr * padded(self.k)..];
            panel[(at / group * nr + column % nr) * group + at % group]
        };
        let columns = (0..self.n).flat_map(|column| (0..self.k).map(move |at| (column, at)));
        let values: Vec<i8> = columns.map(|(column, at)| value(column, at)).collect();
        let symmetric = values.iter().all(|value| *value >= -INT8_MAX);
        symmetric.then(|| Self::take_int8(layout, &values, self.k, self.scales.clone()))
    }

    /// Output channels and K.
    #[must_use]
    pub fn shape(&self) -> [usize; 2] {
        [self.n, self.k]
    }

    /// What each channel's int8 values are to be multiplied with, `[n]`.
    #[must_use]
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// What each column's sums begin with, `[n]` and padding.
    #[must_use]
    pub fn starts(&self) -> &[i32] {
        &self.starts
    }

    /// The int8 values in the kernel's order.
    #[must_use]
    pub fn panels(&self) -> &[i8] {
        (*self.panels).as_ref()
    }

    /// The order of the values.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The starts and bytes of the panels that hold some columns, the first of which begins a panel.
    pub(super) fn block(&self, columns: Range<usize>) -> (&[i32], &[i8]) {
        let end = columns.end.next_multiple_of(self.layout.nr);
        let columns = columns.start.min(end)..end;
        let bytes = columns.start * padded(self.k)..columns.end * padded(self.k);
        (&self.starts[columns], &self.panels()[bytes])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(mr: usize, mr_step: usize) -> Layout {
        Layout { mr, mr_step, nr: 8, group: 4, rows: Stored::Int8 }
    }

    #[test]
    fn tiles_are_even_and_cover_every_row_once() {
        for (mr, step) in [(4, 1), (12, 1), (12, 2)] {
            for m in 0..200 {
                let tiles: Vec<Tile> = tiles(m, layout(mr, step)).collect();
                let mut next = 0;
                for tile in &tiles {
                    assert_eq!(tile.first, next);
                    assert!(tile.height % step == 0 && (1..=mr).contains(&tile.height));
                    next += tile.height;
                }
                assert_eq!(next, m.next_multiple_of(step), "{m} rows");
                let heights = tiles.iter().map(|tile| tile.height);
                let spread = heights.clone().max().unwrap_or(0) - heights.min().unwrap_or(0);
                assert!(spread <= step, "{m} rows: {tiles:?}");
            }
        }
        assert_eq!(tiles(50, layout(12, 1)).map(|tile| tile.height).collect::<Vec<_>>(), [10; 5]);
    }

    #[test]
    fn a_panel_is_read_group_by_group() {
        let mut panel = [0; 32];
        let line: Vec<i8> = (1..=16).collect();
        interleave(&line, &mut panel, 1, 2, 4);
        assert_eq!(panel[..16], [0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 5, 6, 7, 8]);
        assert_eq!(panel[20..24], [9, 10, 11, 12]);
    }
}
