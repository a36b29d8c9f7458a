//! The oracle: the plainest way to say what a tile is.

use super::layouts::SCALAR as LAYOUT;
use super::{Kernel, Operands};

pub(super) static KERNEL: Kernel = Kernel { name: "scalar", layout: LAYOUT, tiles };

fn tiles(operands: Operands) {
    let (nr, group) = (LAYOUT.nr, LAYOUT.group);
    let Operands { height, rows, starts, columns, sums, stride, .. } = operands;
    let panels = columns.chunks_exact(columns.len() / starts.len() * nr);
    for (tile, (start, columns)) in starts.chunks_exact(nr).zip(panels).enumerate() {
        let sums = &mut sums[tile * nr..];
        for line in sums.chunks_mut(stride).take(height) {
            line[..nr].copy_from_slice(start);
        }
        for (rows, columns) in
            rows.chunks_exact(height * group).zip(columns.chunks_exact(nr * group))
        {
            for (row, line) in rows.chunks_exact(group).zip(sums.chunks_mut(stride)) {
                for (column, sum) in columns.chunks_exact(group).zip(line) {
                    let products =
                        row.iter().zip(column).map(|(a, b)| i32::from(*a) * i32::from(*b));
                    *sum += products.sum::<i32>();
                }
            }
        }
    }
}
