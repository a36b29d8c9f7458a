//! The int8 product at the shapes of real towers, kernel by kernel: `cargo bench --bench kernels`.
//!
//! `cargo bench --bench kernels -- dotprod` runs what has the word in its name.

use divan::Bencher;
use divan::counter::ItemsCount;
use edgeclip::gemm::{
    Activation, Epilogue, Kernel, PackedRows, PackedWeights, Workers, available_kernels,
    choose_kernel, product, product_int32,
};

/// Rows, channels and K: the products of ViT-B/32, one of a ViT-8M/16 and of a text tower, and a single row.
const SHAPES: [[usize; 3]; 7] = [
    [50, 2304, 768],
    [50, 768, 768],
    [50, 3072, 768],
    [50, 768, 3072],
    [197, 768, 256],
    [77, 2048, 512],
    [1, 512, 768],
];

fn main() {
    divan::main();
}

/// Every kernel of this CPU at every shape.
fn cases() -> impl Iterator<Item = (&'static str, [usize; 3])> {
    let names = available_kernels().into_iter().map(Kernel::name);
    names.flat_map(|name| SHAPES.map(|shape| (name, shape)))
}

/// Values that differ from place to place, in -1 to 1.
fn values(count: usize) -> Vec<f32> {
    (0..count).map(|at| (at * 7919 % 1000) as f32 / 500.0 - 1.0).collect()
}

/// Packed operands of a case.
fn operands(name: &str, [m, n, k]: [usize; 3]) -> (PackedRows, PackedWeights) {
    let kernel = choose_kernel(Some(name)).expect("one of the available kernels");
    let mut rows = PackedRows::new(kernel);
    rows.quantise(&mut Workers::start(1).expect("threads"), &values(m * k), k);
    (rows, PackedWeights::quantise(kernel.layout(), &values(n * k), k))
}

fn macs([m, n, k]: [usize; 3]) -> ItemsCount {
    ItemsCount::new(m * n * k)
}

#[divan::bench(args = cases())]
fn quantise_rows(bencher: Bencher, (name, [m, _, k]): (&str, [usize; 3])) {
    let (mut rows, _) = operands(name, [m, 1, k]);
    let values = values(m * k);
    let mut workers = Workers::start(1).expect("threads");
    bencher.bench_local(|| rows.quantise(&mut workers, &values, k));
}

#[divan::bench(args = cases(), consts = [1, 2])]
fn sums<const THREADS: usize>(bencher: Bencher, (name, shape): (&str, [usize; 3])) {
    let (rows, weights) = operands(name, shape);
    let mut workers = Workers::start(THREADS).expect("threads");
    let mut out = vec![0; shape[0] * shape[1]];
    let bencher = bencher.counter(macs(shape));
    bencher.bench_local(|| product_int32(&mut workers, &rows, &weights, &mut out));
}

#[divan::bench(args = cases())]
fn with_bias_and_quick_gelu(bencher: Bencher, (name, shape): (&str, [usize; 3])) {
    let (rows, weights) = operands(name, shape);
    let mut workers = Workers::start(1).expect("threads");
    let mut out = vec![0.0; shape[0] * shape[1]];
    let bias = values(shape[1]);
    let epilogue = Epilogue { bias: &bias, activation: Activation::QuickGelu, residual: None };
    let bencher = bencher.counter(macs(shape));
    bencher.bench_local(|| product(&mut workers, &rows, &weights, epilogue, &mut out));
}
