//! Each rule on a graph of its own: where it fires, and where it must not.

use std::sync::{Arc, Mutex};

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{AxesMapping, AxisOp};
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::math::{add, max, min, mul, sub};
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer, RmsNorm, Softmax, SoftmaxKind, sigmoid};

use super::*;
use crate::gemm::{Workers, choose_kernel};

const ROWS: usize = 6;
const K: usize = 16;
const N: usize = 16;

/// A graph in the making, its outlets for inputs of `[1, ROWS, K]`.
struct Graph {
    model: TypedModel,
    count: usize,
}

impl Graph {
    fn new() -> Self {
        Self { model: TypedModel::default(), count: 0 }
    }

    fn input(&mut self) -> OutletId {
        let count = self.model.inputs.len();
        self.model.add_source(format!("x{count}"), f32::fact([1, ROWS, K])).unwrap()
    }

    fn constant(&mut self, shape: &[usize], step: usize) -> OutletId {
        self.count += 1;
        let values = noise(shape.iter().product(), step);
        let tensor = Tensor::from_shape(shape, &values).unwrap();
        self.model.add_const(format!("c{}", self.count), tensor).unwrap()
    }

    fn number(&mut self, value: f32) -> OutletId {
        self.count += 1;
        let tensor = Tensor::from_shape(&[1, 1, 1], &[value]).unwrap();
        self.model.add_const(format!("c{}", self.count), tensor).unwrap()
    }

    fn wire(&mut self, op: impl Into<Box<dyn TypedOp>>, inputs: &[OutletId]) -> OutletId {
        self.count += 1;
        self.model.wire_node(format!("n{}", self.count), op, inputs).unwrap()[0]
    }

    fn einsum(&mut self, axes: &str, inputs: &[OutletId]) -> OutletId {
        let axes: AxesMapping = axes.parse().unwrap();
        self.wire(EinSum::new(axes, f32::datum_type()), inputs)
    }

    /// A linear layer without bias.
    fn linear(&mut self, x: OutletId, step: usize) -> OutletId {
        let weights = self.constant(&[K, N], step);
        self.einsum("amk,kn->amn", &[x, weights])
    }

    /// Less the mean along the last axis, as tract writes it.
    fn centred(&mut self, x: OutletId) -> OutletId {
        let sum = self.wire(Reduce { axes: tvec![2], reducer: Reducer::Sum }, &[x]);
        let part = self.number(1.0 / K as f32);
        let mean = self.wire(mul(), &[sum, part]);
        self.wire(sub(), &[x, mean])
    }

    fn normed(&mut self, x: OutletId) -> OutletId {
        let eps = Arc::new(tensor0(1e-5_f32));
        self.wire(RmsNorm { axis: 2, eps }, &[x])
    }

    /// Lowers the graph that ends here; it must compute what it did. What became what.
    fn lowered(mut self, outputs: &[OutletId]) -> (Report, TypedModel) {
        self.model.select_output_outlets(outputs).unwrap();
        let inputs: TVec<TValue> = (0..self.model.inputs.len())
            .map(|at| Tensor::from_shape(&[1, ROWS, K], &noise(ROWS * K, 31 + at)).unwrap().into())
            .collect();
        let run = |model: TypedModel| {
            let outputs = model.into_runnable().unwrap().run(inputs.clone()).unwrap();
            let values = |output: &TValue| {
                let cast = output.cast_to::<f32>().unwrap();
                cast.try_as_plain_ram().unwrap().as_slice::<f32>().unwrap().to_vec()
            };
            outputs
                .iter()
                .map(|output| (output.shape().to_vec(), values(output)))
                .collect::<Vec<_>>()
        };
        let kernel = choose_kernel(None).unwrap();
        let workers = Arc::new(Mutex::new(Workers::start(1).unwrap()));
        let engine = Engine::new(kernel, workers);
        let wanted = run(self.model.clone());
        let (model, report) = lower(self.model, &engine, kernel.layout()).unwrap();
        for ((shape, found), (of, wanted)) in run(model.clone()).iter().zip(&wanted) {
            assert_eq!(shape, of);
            let finite = wanted.iter().filter(|value| value.is_finite());
            let size = finite.fold(0.0, |size: f32, value| size.max(value.abs()));
            for (found, wanted) in found.iter().zip(wanted).filter(|(_, wanted)| wanted.is_finite())
            {
                assert!((found - wanted).abs() <= 0.03 * size, "{found}, not {wanted}");
            }
        }
        (report, model)
    }
}

/// Values in -1 to 1.
fn noise(count: usize, step: usize) -> Vec<f32> {
    (0..count).map(|at| ((at + 3) * (2 * step + 7919) % 1009) as f32 / 504.5 - 1.0).collect()
}

#[test]
fn a_product_takes_bias_gain_activation_and_residual() {
    let mut graph = Graph::new();
    let x = graph.input();
    let mut y = graph.linear(x, 1);
    let bias = graph.constant(&[1, 1, N], 2);
    y = graph.wire(add(), &[y, bias]);
    let gain = graph.constant(&[1, 1, N], 3);
    y = graph.wire(mul(), &[gain, y]);
    let factor = graph.number(1.702);
    let scaled = graph.wire(mul(), &[y, factor]);
    let gate = graph.wire(sigmoid(), &[scaled]);
    y = graph.wire(mul(), &[y, gate]);
    y = graph.wire(add(), &[x, y]);
    let (report, model) = graph.lowered(&[y]);
    assert_eq!((report.products, report.activations, report.residuals), (1, 1, 1));
    assert_eq!(model.nodes().len(), 2, "{model}");
}

#[test]
fn a_product_of_two_inputs_stays_and_says_why() {
    let mut graph = Graph::new();
    let (a, b) = (graph.input(), graph.input());
    let y = graph.einsum("amk,ank->amn", &[a, b]);
    let (report, _) = graph.lowered(&[y]);
    assert_eq!(report.products, 0);
    assert_eq!(report.left[0].reason, "neither operand is constant");
}

#[test]
fn weights_that_differ_from_row_to_row_stay() {
    let mut graph = Graph::new();
    let x = graph.input();
    let weights = graph.constant(&[ROWS, K, N], 4);
    let y = graph.einsum("amk,mkn->amn", &[x, weights]);
    let (report, _) = graph.lowered(&[y]);
    assert_eq!(report.products, 0);
    assert!(report.left[0].reason.starts_with("its axes are"), "{}", report.left[0].reason);
}

#[test]
fn weights_that_are_not_finite_stay() {
    let mut graph = Graph::new();
    let x = graph.input();
    let mut values = noise(K * N, 8);
    values[7] = f32::INFINITY;
    let weights = Tensor::from_shape(&[K, N], &values).unwrap();
    let weights = graph.model.add_const("weights", weights).unwrap();
    let y = graph.einsum("amk,kn->amn", &[x, weights]);
    let (report, _) = graph.lowered(&[y]);
    assert_eq!(report.left[0].reason, "its weights are not finite");
}

#[test]
fn axes_in_any_order_are_products() {
    for axes in ["amk,nk->amn", "mak,kn->nma", "kma,kn->mn", "amk,kn->nm"] {
        let mut graph = Graph::new();
        let x = graph.input();
        let shape = if axes.contains("nk") { [N, K] } else { [K, N] };
        let weights = graph.constant(&shape, 5);
        let x = match &axes[..3] {
            "mak" => graph.wire(AxisOp::Move(0, 1), &[x]),
            "kma" => graph.wire(AxisOp::Move(0, 2), &[x]),
            _ => x,
        };
        let x = if axes.starts_with("kma") { graph.wire(AxisOp::Move(1, 0), &[x]) } else { x };
        let y = graph.einsum(axes, &[x, weights]);
        let (report, _) = graph.lowered(&[y]);
        assert_eq!(report.products, 1, "{axes}: {:?}", report.left);
    }
}

#[test]
fn a_constant_by_row_is_no_bias() {
    let mut graph = Graph::new();
    let x = graph.input();
    // As many channels as rows: only the place of the axis tells.
    let weights = graph.constant(&[K, ROWS], 1);
    let y = graph.einsum("amk,kn->amn", &[x, weights]);
    let by_row = graph.constant(&[1, ROWS, 1], 2);
    let y = graph.wire(add(), &[y, by_row]);
    let (report, model) = graph.lowered(&[y]);
    assert_eq!(report.products, 1);
    assert!(model.nodes().iter().any(|node| node.op.name() == "Add"), "{model}");
}

#[test]
fn a_result_that_others_read_keeps_its_value() {
    let mut graph = Graph::new();
    let x = graph.input();
    let y = graph.linear(x, 1);
    let zero = graph.number(0.0);
    let positive = graph.wire(max(), &[y, zero]);
    let (report, _) = graph.lowered(&[y, positive]);
    assert_eq!((report.products, report.activations), (1, 0));
}

#[test]
fn functions_that_only_look_like_an_activation_stay() {
    // SiLU, ReLUs that are bounded at 6 and at 20, and one that is bounded below at 1.
    for kind in 0..4 {
        let mut graph = Graph::new();
        let x = graph.input();
        let mut y = graph.linear(x, 1);
        y = match kind {
            0 => {
                let gate = graph.wire(sigmoid(), &[y]);
                graph.wire(mul(), &[y, gate])
            }
            1 | 2 => {
                let bound = if kind == 1 { 6.0 } else { 20.0 };
                let (zero, bound) = (graph.number(0.0), graph.number(bound));
                let positive = graph.wire(max(), &[y, zero]);
                graph.wire(min(), &[positive, bound])
            }
            _ => {
                let one = graph.number(1.0);
                graph.wire(max(), &[y, one])
            }
        };
        let (report, _) = graph.lowered(&[y]);
        // The bounded ReLU is one and a bound.
        assert_eq!(report.activations, usize::from(kind == 1 || kind == 2), "{kind}");
    }
}

#[test]
fn a_sum_with_a_broadcast_is_no_residual() {
    let mut graph = Graph::new();
    let x = graph.input();
    let y = graph.linear(x, 1);
    let first = graph.wire(Reduce { axes: tvec![1], reducer: Reducer::Sum }, &[x]);
    let y = graph.wire(add(), &[y, first]);
    let (report, _) = graph.lowered(&[y]);
    assert_eq!((report.products, report.residuals), (1, 0));
}

#[test]
fn a_residual_goes_before_an_activation_that_comes_after() {
    let mut graph = Graph::new();
    let x = graph.input();
    let y = graph.linear(x, 1);
    let y = graph.wire(add(), &[y, x]);
    let zero = graph.number(0.0);
    let y = graph.wire(max(), &[y, zero]);
    let (report, model) = graph.lowered(&[y]);
    assert_eq!((report.activations, report.residuals), (1, 1));
    assert_eq!(model.nodes().len(), 2, "{model}");
}

#[test]
fn products_of_the_same_rows_become_one() {
    let mut graph = Graph::new();
    let (x, other) = (graph.input(), graph.input());
    let ys = [graph.linear(x, 1), graph.linear(x, 2), graph.linear(other, 3)];
    let (report, _) = graph.lowered(&ys);
    assert_eq!(report.products, 2);
}

#[test]
fn a_layer_norm_goes_into_the_product_that_reads_it() {
    let mut graph = Graph::new();
    let x = graph.input();
    let mut y = graph.centred(x);
    y = graph.normed(y);
    let gain = graph.constant(&[1, 1, K], 6);
    y = graph.wire(mul(), &[y, gain]);
    let bias = graph.constant(&[1, 1, K], 7);
    y = graph.wire(add(), &[y, bias]);
    y = graph.linear(y, 1);
    let (report, model) = graph.lowered(&[y]);
    assert_eq!((report.products, report.norms), (1, 1));
    assert_eq!(model.nodes().len(), 2, "{model}");
}

#[test]
fn a_norm_without_its_mean_is_no_layer_norm() {
    let mut graph = Graph::new();
    let x = graph.input();
    let y = graph.normed(x);
    let y = graph.linear(y, 1);
    let (report, _) = graph.lowered(&[y]);
    assert_eq!((report.products, report.norms), (1, 0));
    assert_eq!(report.left[0].operator, "RmsNorm");
}

/// Attention of one head, with what is done to its logits and its weights.
fn attention(
    logits: impl Fn(&mut Graph, OutletId) -> OutletId,
    weights: impl Fn(&mut Graph, OutletId) -> OutletId,
) -> Report {
    let mut graph = Graph::new();
    let input = graph.input();
    let [q, k, v] = [1, 2, 3].map(|step| graph.linear(input, step));
    // So small that int8 does not change which key wins.
    let factor = graph.number(0.02);
    let q = graph.wire(mul(), &[q, factor]);
    let product = graph.einsum("amk,ank->amn", &[q, k]);
    let product = logits(&mut graph, product);
    let axes = tvec![2];
    let softmax = Softmax { axes, quant_output_dt: None, kind: SoftmaxKind::Softmax };
    let attention = graph.wire(softmax, &[product]);
    let attention = weights(&mut graph, attention);
    let mixed = graph.einsum("amk,akn->amn", &[attention, v]);
    graph.lowered(&[mixed]).0
}

fn mask(hidden: impl Fn(usize, usize) -> bool) -> impl Fn(&mut Graph, OutletId) -> OutletId {
    move |graph, logits| {
        let at = |at: usize| if hidden(at / ROWS, at % ROWS) { -10000.0 } else { 0.0 };
        let values: Vec<f32> = (0..ROWS * ROWS).map(at).collect();
        let tensor = Tensor::from_shape(&[1, ROWS, ROWS], &values).unwrap();
        let mask = graph.model.add_const("mask", tensor).unwrap();
        graph.wire(add(), &[logits, mask])
    }
}

#[test]
fn attention_is_one_op_plain_scaled_or_causal() {
    let as_it_is = |_: &mut Graph, outlet| outlet;
    let scaled = |graph: &mut Graph, logits| {
        let factor = graph.number(0.3);
        graph.wire(mul(), &[logits, factor])
    };
    for report in [
        attention(as_it_is, as_it_is),
        attention(scaled, as_it_is),
        attention(mask(|query, key| key > query), as_it_is),
        attention(mask(|_, _| false), as_it_is),
    ] {
        assert_eq!(
            (report.attentions, report.products, report.left.len()),
            (1, 1, 0),
            "{report:?}"
        );
    }
}

#[test]
fn attention_with_something_else_within_stays_and_says_why() {
    let as_it_is = |_: &mut Graph, outlet| outlet;
    let doubled = |graph: &mut Graph, weights| {
        let factor = graph.number(2.0);
        graph.wire(mul(), &[weights, factor])
    };
    let bent = |graph: &mut Graph, logits| graph.wire(sigmoid(), &[logits]);
    // Turned round, what was hidden is all that is seen.
    let turned = |graph: &mut Graph, logits| {
        let causal = mask(|query, key| key > query);
        let masked = causal(graph, logits);
        let factor = graph.number(-1.0);
        graph.wire(mul(), &[masked, factor])
    };
    for (report, reason) in [
        (attention(mask(|query, key| key > query + 1), as_it_is), "its mask is neither"),
        (attention(mask(|query, key| key < query), as_it_is), "its mask is neither"),
        (attention(bent, as_it_is), "its logits come from Sigmoid"),
        (attention(turned, as_it_is), "its mask is neither"),
        (attention(as_it_is, doubled), "its weights go elsewhere"),
    ] {
        assert_eq!(report.attentions, 0);
        assert!(
            report.left.iter().any(|left| left.reason.starts_with(reason)),
            "{:?}",
            report.left
        );
    }
}
