//! Scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762), in float.
#![expect(clippy::inline_always, reason = "what is not inlined is compiled for narrow vectors")]

use std::cell::RefCell;

use super::Workers;
use super::floats::{LANES, softmax};
use super::kernels::vectorised;

/// Queries that go through the keys together.
const BLOCK: usize = 4;
/// Columns of the inner product that stay in registers; what it reads is padded to them.
const WIDTH: usize = 16;

thread_local! {
    /// A head's operands as the inner product reads them; stays with the thread, as large as its largest layer.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Queries, keys or values of all heads. That of a head and token begins at
/// `head * head_stride + token * token_stride` and goes on for the width of a head; strides count values.
#[derive(Clone, Copy)]
pub struct Heads<'a> {
    /// All values.
    pub values: &'a [f32],
    /// From one head to the next.
    pub head_stride: usize,
    /// From one token to the next.
    pub token_stride: usize,
}

impl<'a> Heads<'a> {
    fn row(&self, head: usize, token: usize, width: usize) -> &'a [f32] {
        &self.values[head * self.head_stride + token * self.token_stride..][..width]
    }
}

/// What an attention computes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    /// Number of heads.
    pub heads: usize,
    /// Values of a head.
    pub head_width: usize,
    /// Number of queries.
    pub queries: usize,
    /// Number of keys and values.
    pub keys: usize,
    /// What products of queries and keys are multiplied with.
    pub scale: f32,
    /// A query sees the keys up to its own place only; there are as many keys as queries.
    pub is_causal: bool,
}

/// `softmax(scale * q k^T) v` for each head, into `out`, `[queries, heads, head_width]`.
///
/// # Panics
/// Where a size is zero, an operand is shorter than the shape says, or a causal attention has
/// other numbers of keys and queries.
pub fn attention(
    workers: &mut Workers,
    shape: AttentionShape,
    [q, k, v]: [Heads; 3],
    out: &mut [f32],
) {
    let AttentionShape { heads, head_width, queries, keys, .. } = shape;
    assert!(heads * head_width * keys > 0, "at least one head, value and key");
    assert!(!shape.is_causal || queries == keys, "a causal attention of a text to itself");
    assert_eq!(out.len(), queries * heads * head_width, "room for the result");
    workers.run_on_columns(out, heads * head_width, head_width, |head, mut out| {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut head = Head::gather(shape, head, [q, k, v], scratch);
            for first in (0..queries).step_by(BLOCK) {
                for (row, line) in head.attend(first).enumerate() {
                    out.row(first + row).copy_from_slice(line);
                }
            }
        });
    });
}

/// One head at work.
struct Head<'a> {
    shape: AttentionShape,
    number: usize,
    q: Heads<'a>,
    /// `[keys / WIDTH, head_width, WIDTH]`
    keys: &'a mut [f32],
    /// `[head_width / WIDTH, keys, WIDTH]`
    values: &'a mut [f32],
    /// Of a block: `[BLOCK, head_width]`, `[BLOCK, keys]`, `[BLOCK, head_width]`. Rows beyond the last
    /// query hold what was there before; nobody reads what comes of them.
    queries: &'a mut [f32],
    weights: &'a mut [f32],
    mixed: &'a mut [f32],
}

impl<'a> Head<'a> {
    /// Copies a head's keys, turned, and values to where the inner product finds them in order.
    fn gather(
        shape: AttentionShape,
        number: usize,
        [q, k, v]: [Heads<'a>; 3],
        scratch: &'a mut Vec<f32>,
    ) -> Self {
        let [wide_keys, wide_head] =
            [shape.keys, shape.head_width].map(|n| n.next_multiple_of(WIDTH));
        let sizes = [
            shape.head_width * wide_keys,
            shape.keys * wide_head,
            BLOCK * shape.head_width,
            BLOCK * wide_keys,
        ];
        scratch.clear();
        scratch.resize(sizes.iter().sum::<usize>() + BLOCK * wide_head, 0.0);
        let (keys, rest) = scratch.split_at_mut(sizes[0]);
        let (values, rest) = rest.split_at_mut(sizes[1]);
        let (queries, rest) = rest.split_at_mut(sizes[2]);
        let (weights, mixed) = rest.split_at_mut(sizes[3]);
        let key_panels = keys.chunks_exact_mut(shape.head_width * WIDTH);
        for (first, panel) in (0..shape.keys).step_by(WIDTH).zip(key_panels) {
            for token in first..(first + WIDTH).min(shape.keys) {
                let row = k.row(number, token, shape.head_width);
                for (line, value) in panel.as_chunks_mut::<WIDTH>().0.iter_mut().zip(row) {
                    line[token - first] = *value;
                }
            }
        }
        for token in 0..shape.keys {
            let row = v.row(number, token, shape.head_width);
            let panels = values.chunks_exact_mut(shape.keys * WIDTH);
            for (from, panel) in row.chunks(WIDTH).zip(panels) {
                panel[token * WIDTH..][..from.len()].copy_from_slice(from);
            }
        }
        Self { shape, number, q, keys, values, queries, weights, mixed }
    }

    /// The results of up to [`BLOCK`] queries from `first` on.
    fn attend(&mut self, first: usize) -> impl Iterator<Item = &[f32]> {
        let AttentionShape { head_width, keys, .. } = self.shape;
        let [wide_keys, wide_head] = [keys, head_width].map(|n| n.next_multiple_of(WIDTH));
        let rows = BLOCK.min(self.shape.queries - first);
        for (row, to) in self.queries.chunks_exact_mut(head_width).take(rows).enumerate() {
            let from = self.q.row(self.number, first + row, head_width);
            to.iter_mut().zip(from).for_each(|(to, from)| *to = from * self.shape.scale);
        }
        let key_panels = (&*self.keys, head_width);
        multiply(self.queries, head_width, key_panels, head_width, keys, self.weights);
        for (row, weights) in self.weights.chunks_exact_mut(wide_keys).take(rows).enumerate() {
            let seen = if self.shape.is_causal { first + row + 1 } else { keys };
            // Whole vectors: what is minus infinity adds nothing that a sum of 1 or more could show.
            let (whole, rest) = weights.split_at_mut(seen.next_multiple_of(LANES));
            whole[seen..].fill(f32::NEG_INFINITY);
            softmax(whole);
            whole[seen..].fill(0.0);
            rest.fill(0.0);
        }
        let seen = if self.shape.is_causal { first + rows } else { keys };
        let value_panels = (&*self.values, keys);
        multiply(self.weights, wide_keys, value_panels, seen, head_width, self.mixed);
        self.mixed.chunks_exact(wide_head).take(rows).map(move |row| &row[..head_width])
    }
}

/// Adds the products of a value of each row with the first W of a line.
#[inline(always)]
fn add_line<const W: usize>(
    sums: &mut [[f32; W]; BLOCK],
    values: [f32; BLOCK],
    line: &[f32; WIDTH],
) {
    for (value, sums) in values.iter().zip(sums) {
        for (sum, other) in sums.iter_mut().zip(line) {
            *sum = value.mul_add(*other, *sum);
        }
    }
}

/// The first W columns of [`multiply`] for one panel, `[k, WIDTH]`.
#[inline(always)]
fn panel_product<const W: usize>(rows: [&[f32]; BLOCK], panel: &[f32]) -> [[f32; W]; BLOCK] {
    let mut sums = [[0.0_f32; W]; BLOCK];
    let (quads, rest) = panel.as_chunks::<{ 4 * WIDTH }>();
    let [r0, r1, r2, r3] = rows.map(|row| row.as_chunks::<4>().0);
    for ((((r0, r1), r2), r3), lines) in r0.iter().zip(r1).zip(r2).zip(r3).zip(quads) {
        for (at, line) in lines.as_chunks().0.iter().enumerate() {
            add_line(&mut sums, [r0[at], r1[at], r2[at], r3[at]], line);
        }
    }
    for (at, line) in rest.as_chunks().0.iter().enumerate() {
        add_line(&mut sums, rows.map(|row| row[row.len() / 4 * 4 + at]), line);
    }
    sums
}

/// Writes a panel's columns to their places.
#[inline(always)]
fn put<const W: usize>(sums: [[f32; W]; BLOCK], n: usize, out: &mut [f32]) {
    for (row, sums) in sums.iter().enumerate() {
        out[row * n..][..W].copy_from_slice(sums);
    }
}

vectorised! {
    /// `a * b` for `a` `[BLOCK, k]` (a row every `a_stride` values) and the first k of panels of some
    /// height, `[n / WIDTH, height, WIDTH]`, into `out`, `[BLOCK, n]`, of which `columns` are wanted. Sums go
    /// along k in order.
    fn multiply(
        a: &[f32],
        a_stride: usize,
        panels: (&[f32], usize),
        k: usize,
        columns: usize,
        out: &mut [f32],
    ) {
        let (n, (panels, height)) = (out.len() / BLOCK, panels);
        let rows: [&[f32]; BLOCK] = std::array::from_fn(|row| &a[row * a_stride..][..k]);
        for (column, panel) in (0..columns).step_by(WIDTH).zip(panels.chunks_exact(height * WIDTH)) {
            let (panel, out) = (&panel[..k * WIDTH], &mut out[column..]);
            match columns - column {
                ..=4 => put(panel_product::<4>(rows, panel), n, out),
                5..=8 => put(panel_product::<8>(rows, panel), n, out),
                _ => put(panel_product::<WIDTH>(rows, panel), n, out),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize, step: usize) -> Vec<f32> {
        (0..count).map(|at| (at * step % 257) as f32 / 64.0 - 2.0).collect()
    }

    /// The definition, in f64.
    fn exact(shape: AttentionShape, [q, k, v]: [Heads; 3]) -> Vec<f64> {
        let AttentionShape { heads, head_width, queries, keys, .. } = shape;
        let mut out = vec![0.0; queries * heads * head_width];
        for (head, query) in
            (0..heads).flat_map(|head| (0..queries).map(move |query| (head, query)))
        {
            let seen = if shape.is_causal { query + 1 } else { keys };
            let dot = |key| {
                let pairs = q.row(head, query, head_width).iter().zip(k.row(head, key, head_width));
                pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
                    * f64::from(shape.scale)
            };
            let weights: Vec<f64> = (0..seen).map(|key| dot(key).exp()).collect();
            let total: f64 = weights.iter().sum();
            for at in 0..head_width {
                let mixed = weights.iter().enumerate();
                let mixed = mixed.map(|(key, weight)| {
                    weight / total * f64::from(v.row(head, key, head_width)[at])
                });
                out[(query * heads + head) * head_width + at] = mixed.sum();
            }
        }
        out
    }

    #[test]
    fn attention_is_softmax_of_products_times_values() {
        for (heads, head_width, queries, keys, is_causal) in [
            (12, 64, 50, 50, false),
            (8, 64, 77, 77, true),
            (4, 64, 17, 17, true),
            (3, 20, 1, 9, false),
            (1, 16, 5, 1, false),
            (2, 33, 3, 3, true),
        ] {
            let shape =
                AttentionShape { heads, head_width, queries, keys, scale: 0.125, is_causal };
            let width = heads * head_width;
            let [q, k, v] =
                [values(queries * width, 31), values(keys * width, 57), values(keys * width, 91)];
            // Queries token by token, keys and values head by head.
            let operands = [
                Heads { values: &q, head_stride: head_width, token_stride: width },
                Heads { values: &k, head_stride: keys * head_width, token_stride: head_width },
                Heads { values: &v, head_stride: keys * head_width, token_stride: head_width },
            ];
            for threads in [1, 3] {
                let mut out = vec![0.0; queries * width];
                attention(&mut Workers::start(threads).unwrap(), shape, operands, &mut out);
                for (out, exact) in out.iter().zip(exact(shape, operands)) {
                    assert!(
                        (f64::from(*out) - exact).abs() < 2e-5,
                        "{shape:?}: {out}, not {exact}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_a_causal_query_sees_later_blocks_do_not_touch() {
        let shape = AttentionShape {
            heads: 1,
            head_width: 8,
            queries: 12,
            keys: 12,
            scale: 1.0,
            is_causal: true,
        };
        let sound = values(12 * 8, 7);
        let mut broken = sound.clone();
        broken[11 * 8..].fill(f32::NAN);
        let [mut left, mut right] = [vec![0.0; 96], vec![0.0; 96]];
        for (values, out) in [(&sound, &mut left), (&broken, &mut right)] {
            let tokens = Heads { values, head_stride: 0, token_stride: 8 };
            attention(&mut Workers::start(1).unwrap(), shape, [tokens; 3], out);
        }
        assert_eq!(left[..8 * 8], right[..8 * 8]);
        assert!(right[11 * 8..].iter().all(|value| value.is_nan()));
    }
}
