//! Every kernel that this CPU can execute gives exact int32 sums, for every shape.
//!
//! `EDGECLIP_KERNELS`, where it is set, names the kernels that must be there: `i8mm,dotprod,neon,scalar`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use edgeclip::gemm::{
    Activation, AttentionShape, Epilogue, Heads, INT8_MAX, K_MAX, Kernel, LayerNorm, Layout,
    PackedRows, PackedWeights, Place, Workers, attention, available_kernels, choose_kernel,
    product, product_int32,
};
use proptest::prelude::*;

/// Values in -127..=127 that differ from place to place.
fn noise(count: usize, seed: u32) -> Vec<i8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        ((state >> 8) % 255) as i16 - 127
    };
    (0..count).map(next).map(|value| value as i8).collect()
}

/// The definition.
fn sums(rows: &[i8], weights: &[i8], k: usize) -> Vec<i32> {
    let dot = |row: &[i8], channel: &[i8]| {
        row.iter().zip(channel).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
    };
    rows.chunks_exact(k)
        .flat_map(|row| weights.chunks_exact(k).map(move |channel| dot(row, channel)))
        .collect()
}

fn computed(
    kernel: &'static Kernel,
    threads: usize,
    rows: &[i8],
    weights: &[i8],
    k: usize,
) -> Vec<i32> {
    let mut workers = Workers::start(threads).unwrap();
    let mut packed = PackedRows::new(kernel);
    packed.take_int8(&mut workers, rows, k);
    let weights =
        PackedWeights::take_int8(kernel.layout(), weights, k, vec![1.0; weights.len() / k]);
    let mut out = vec![i32::MIN; packed.shape()[0] * weights.shape()[0]];
    product_int32(&mut workers, &packed, &weights, &mut out);
    out
}

fn check(kernel: &'static Kernel, threads: usize, rows: &[i8], weights: &[i8], k: usize) {
    let [m, n] = [rows.len() / k, weights.len() / k];
    let exact = sums(rows, weights, k);
    let found = computed(kernel, threads, rows, weights, k);
    assert!(found == exact, "{} on {m} x {k} times {n}, {threads} threads", kernel.name());
}

#[test]
fn the_expected_kernels_are_here() {
    let names: Vec<&str> = available_kernels().iter().map(|kernel| kernel.name()).collect();
    println!("kernels under test: {}", names.join(", "));
    assert_eq!(names.last(), Some(&"scalar"));
    if let Ok(expected) = std::env::var("EDGECLIP_KERNELS") {
        assert_eq!(names, expected.split(',').collect::<Vec<_>>());
    }
    assert_eq!(choose_kernel(None).unwrap().name(), names[0], "the fastest comes first");
    assert_eq!(choose_kernel(Some("scalar")).unwrap().name(), "scalar");
    let error = choose_kernel(Some("sve9")).err().unwrap().to_string();
    assert_eq!(error, format!("this CPU has no kernel 'sve9'; it has {}", names.join(", ")));
}

#[test]
fn sums_are_exact_at_every_seam() {
    // Around the tiles and panels of all kernels (4 to 12 rows, 4 to 32 columns) and chunks of K.
    let ms = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 17, 23, 24, 25, 50];
    let ns = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65];
    let ks = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65];
    let [rows, weights] = [noise(50 * 65, 1), noise(65 * 65, 2)];
    for kernel in available_kernels() {
        for (m, n) in ms.into_iter().flat_map(|m| ns.map(|n| (m, n))) {
            for k in ks {
                check(kernel, 1, &rows[..m * k], &weights[..n * k], k);
            }
        }
    }
}

#[test]
fn weights_of_one_kernel_become_those_of_another() {
    let (n, k) = (37, 50);
    let values = noise(n * k, 21);
    let scales: Vec<f32> = (0..n).map(|at| at as f32 + 0.5).collect();
    for from in Layout::kernels().filter_map(Layout::of_kernel) {
        let packed = PackedWeights::take_int8(from, &values, k, scales.clone());
        for to in Layout::kernels().filter_map(Layout::of_kernel) {
            let [again, direct] = [
                packed.repacked(to).unwrap(),
                PackedWeights::take_int8(to, &values, k, scales.clone()),
            ];
            assert_eq!(again.panels(), direct.panels());
            assert_eq!(again.starts(), direct.starts());
            assert_eq!(again.scales(), direct.scales());
        }
        let parts = |shape, scales: &[f32], panels: &[i8]| {
            let (starts, panels) = (packed.starts().to_vec(), std::sync::Arc::new(panels.to_vec()));
            PackedWeights::from_parts(from, shape, scales.to_vec(), starts, panels)
        };
        let same = parts([n, k], packed.scales(), packed.panels()).unwrap();
        assert_eq!(same.panels(), packed.panels());
        assert!(parts([n, k], &scales[1..], packed.panels()).is_none());
        assert!(parts([n, k], &scales, &packed.panels()[1..]).is_none());
        assert!(parts([n, 0], &scales, packed.panels()).is_none());
        assert!(parts([usize::MAX, k], &scales, packed.panels()).is_none());
    }
}

#[test]
fn no_rows_and_no_channels_are_fine() {
    for kernel in available_kernels() {
        assert!(computed(kernel, 2, &[], &noise(12, 1), 4).is_empty());
        assert!(computed(kernel, 2, &noise(12, 1), &[], 4).is_empty());
    }
}

#[test]
fn extremes_are_exact_up_to_the_longest_k() {
    for kernel in available_kernels() {
        for (a, b) in [(INT8_MAX, INT8_MAX), (INT8_MAX, -INT8_MAX), (-INT8_MAX, -INT8_MAX)] {
            check(kernel, 1, &vec![a; 13 * 768], &vec![b; 33 * 768], 768);
            check(kernel, 1, &vec![a; 2 * K_MAX], &vec![b; 3 * K_MAX], K_MAX);
        }
    }
}

#[test]
fn threads_change_no_bit() {
    let (m, n, k) = (50, 771, 96);
    let [rows, weights] = [noise(m * k, 3), noise(n * k, 4)];
    for kernel in available_kernels() {
        for threads in [2, 3, 4] {
            check(kernel, threads, &rows, &weights, k);
        }
    }
}

#[test]
fn a_pack_is_filled_anew_each_time() {
    for kernel in available_kernels() {
        let mut rows = PackedRows::new(kernel);
        let mut workers = Workers::start(1).unwrap();
        for (m, n, k) in [(50, 8, 64), (3, 40, 20), (77, 5, 33), (1, 1, 1)] {
            let [left, right] = [noise(m * k, 5), noise(n * k, 6)];
            rows.take_int8(&mut workers, &left, k);
            let weights = PackedWeights::take_int8(kernel.layout(), &right, k, vec![1.0; n]);
            let mut out = vec![0; m * n];
            product_int32(&mut workers, &rows, &weights, &mut out);
            assert_eq!(out, sums(&left, &right, k), "{}", kernel.name());
        }
    }
}

#[test]
fn minus_128_is_refused() {
    for kernel in available_kernels() {
        let pack = || drop(PackedWeights::take_int8(kernel.layout(), &[1, -128], 2, vec![1.0]));
        assert!(catch_unwind(AssertUnwindSafe(pack)).is_err());
        let mut workers = Workers::start(1).unwrap();
        let pack = || PackedRows::new(kernel).take_int8(&mut workers, &[1, -128], 2);
        assert!(catch_unwind(AssertUnwindSafe(pack)).is_err());
    }
}

/// Floats with rows of very different sizes, so that a scale in the wrong place shows.
fn uneven(rows: usize, k: usize, base: f32, seed: u32) -> Vec<f32> {
    let sizes = [0.013, 0.013 * base, 0.013 * base * base, 0.013 * base * base * base];
    let noise = noise(rows * k, seed).into_iter().map(f32::from);
    noise.enumerate().map(|(at, value)| value * sizes[at / k % 4] * 0.37).collect()
}

#[test]
fn products_are_as_near_to_the_float_ones_as_int8_allows() {
    let (m, n, k) = (50, 100, 192);
    let [rows, weights] = [uneven(m, k, 2.0, 7), uneven(n, k, 3.0, 8)];
    let [bias, residual] = [uneven(1, n, 1.0, 9), uneven(m, n, 2.0, 10)];
    let largest = |row: &[f32]| row.iter().fold(0.0, |m: f32, v| m.max(v.abs()));
    for kernel in available_kernels() {
        let mut workers = Workers::start(2).unwrap();
        let mut packed = PackedRows::new(kernel);
        packed.quantise(&mut workers, &rows, k);
        let quantised = PackedWeights::quantise(kernel.layout(), &weights, k);
        let epilogue = |residual| Epilogue { bias: &bias, activation: Activation::None, residual };
        let [mut plain, mut added] = [vec![f32::NAN; m * n], vec![f32::NAN; m * n]];
        product(&mut workers, &packed, &quantised, epilogue(None), &mut plain);
        product(
            &mut workers,
            &packed,
            &quantised,
            epilogue(Some((&residual, Place::AfterActivation))),
            &mut added,
        );
        for at in 0..m * n {
            let (row, channel) = (&rows[at / n * k..][..k], &weights[at % n * k..][..k]);
            let exact = row.iter().zip(channel).map(|(a, b)| a * b).sum::<f32>() + bias[at % n];
            // Each product is off by half a step of either side; signs are random, six deviations are plenty.
            let step = largest(row) * largest(channel) / 127.0;
            assert!(
                (plain[at] - exact).abs() < 6.0 * 0.41 * step * (k as f32).sqrt(),
                "{at}: {}, not {exact}",
                plain[at]
            );
            assert_eq!(added[at].to_bits(), (plain[at] + residual[at]).to_bits());
        }
    }
}

/// FNV-1a over the bits.
fn digest(digest: u64, values: &[f32]) -> u64 {
    let bytes = values.iter().flat_map(|value| value.to_bits().to_le_bytes());
    bytes.fold(digest, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Of what the test below computes, on the first CPU that it ran on.
const DIGEST: u64 = 0x65d2_bb12_be27_5987;

#[test]
fn floats_are_the_same_bits_everywhere() {
    let (m, n, k) = (23, 40, 50);
    let [rows, weights, bias] = [uneven(m, k, 2.0, 1), uneven(n, k, 3.0, 2), uneven(1, n, 1.0, 3)];
    let norm = LayerNorm::new(uneven(1, k, 1.0, 4), uneven(1, k, 1.0, 5), 1e-5);
    for kernel in available_kernels() {
        let mut workers = Workers::start(2).unwrap();
        let weights = PackedWeights::quantise(kernel.layout(), &weights, k);
        let mut packed = PackedRows::new(kernel);
        let mut out = vec![0.0; m * n];
        let mut found = 0xcbf2_9ce4_8422_2325;
        for activation in [
            Activation::None,
            Activation::Relu,
            Activation::QuickGelu,
            Activation::Gelu,
            Activation::GeluTanh,
        ] {
            packed.quantise_normed(&mut workers, &rows, &norm);
            product(
                &mut workers,
                &packed,
                &weights,
                Epilogue {
                    bias: &bias,
                    activation,
                    residual: Some((&rows[..m * n], Place::AfterActivation)),
                },
                &mut out,
            );
            found = digest(digest(found, packed.scales()), &out);
        }
        let shape = AttentionShape {
            heads: 2,
            head_width: 20,
            queries: m,
            keys: m,
            scale: 0.2,
            is_causal: true,
        };
        let tokens = Heads { values: &out, head_stride: 20, token_stride: n };
        let mut mixed = vec![0.0; m * n];
        attention(&mut workers, shape, [tokens; 3], &mut mixed);
        assert_eq!(digest(found, &mixed), DIGEST, "{}", kernel.name());
    }
}

#[test]
fn rows_normed_on_their_way_are_those_of_the_norm() {
    let (m, k) = (7, 40);
    let values: Vec<f32> = noise(m * k, 11).into_iter().map(f32::from).collect();
    let [gain, bias] =
        [12, 13].map(|seed| noise(k, seed).into_iter().map(|v| f32::from(v) / 90.0).collect());
    let norm = LayerNorm::new(gain, bias, 1e-5);
    let mut normed = vec![0.0; m * k];
    for (row, out) in values.chunks_exact(k).zip(normed.chunks_exact_mut(k)) {
        norm.apply(row, out);
    }
    for kernel in available_kernels() {
        let weights = PackedWeights::take_int8(kernel.layout(), &noise(9 * k, 14), k, vec![1.0; 9]);
        let [mut at_once, mut apart] = [PackedRows::new(kernel), PackedRows::new(kernel)];
        let mut workers = Workers::start(1).unwrap();
        at_once.quantise_normed(&mut workers, &values, &norm);
        apart.quantise(&mut workers, &normed, k);
        assert_eq!(at_once.scales(), apart.scales());
        let [mut left, mut right] = [vec![0; m * 9], vec![1; m * 9]];
        product_int32(&mut workers, &at_once, &weights, &mut left);
        product_int32(&mut workers, &apart, &weights, &mut right);
        assert_eq!(left, right, "{}", kernel.name());
    }
}

#[test]
fn a_row_that_is_not_finite_shows_and_the_others_stand() {
    for kernel in available_kernels() {
        let mut rows = PackedRows::new(kernel);
        let mut workers = Workers::start(1).unwrap();
        rows.quantise(&mut workers, &[1.0, 2.0, f32::NAN, 1.0, 0.0, 0.0], 2);
        let weights = PackedWeights::quantise(kernel.layout(), &[0.5, 0.5], 2);
        let epilogue = Epilogue { bias: &[3.0], activation: Activation::None, residual: None };
        let mut out = [0.0; 3];
        product(&mut workers, &rows, &weights, epilogue, &mut out);
        assert!((out[0] - 4.5).abs() < 0.02 && out[1].is_nan() && (out[2] - 3.0).abs() < 1e-6);
    }
}

proptest! {
    #[test]
    fn sums_are_exact_for_any_shape(m in 1_usize..60, n in 1_usize..100, k in 1_usize..300, threads in 1_usize..4, seed: u32) {
        let [rows, weights] = [noise(m * k, seed), noise(n * k, !seed)];
        for kernel in available_kernels() {
            check(kernel, threads, &rows, &weights, k);
        }
    }
}
