//! What became int8, and what did not and why.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::cnn::Conv;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::nn::{RmsNorm, Softmax};

use super::product::ONE_ROW;
use crate::encoder::ops::{Attention, Norm, Product, Weights};

/// What lowering made of a tower.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Products in int8, convolutions among them.
    pub products: usize,
    /// Of these, convolutions.
    pub convolutions: usize,
    /// Depthwise convolutions, computed in float.
    pub depthwise: usize,
    /// Attentions in one piece, computed in float.
    pub attentions: usize,
    /// Layer norms, on their own or within a product.
    pub norms: usize,
    /// Activations within a product or a depthwise convolution.
    pub activations: usize,
    /// Residuals within a product or a depthwise convolution.
    pub residuals: usize,
    /// Products whose weights had four bits, and were quantised again.
    #[serde(default)]
    pub four_bit: usize,
    /// Int8 weights, in bytes.
    pub weight_bytes: usize,
    /// Products of one row, which stay in float.
    #[serde(default)]
    pub one_row: usize,
    /// What could have become one of these and did not.
    pub left: Vec<LeftInFloat>,
}

/// A node that stays in tract's own float operators.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeftInFloat {
    /// The node's name in the graph.
    pub name: String,
    /// What it computes.
    pub operator: String,
    /// Why it stays.
    pub reason: String,
}

impl Report {
    pub(super) fn of(model: &TypedModel, refusals: &BTreeMap<String, String>) -> TractResult<Self> {
        let mut report = Self::default();
        for node in model.eval_order()?.into_iter().map(|node| model.node(node)) {
            if let Some(product) = node.op_as::<Product>() {
                report.count(product);
            }
            report.attentions += usize::from(node.op_is::<Attention>());
            report.norms += usize::from(node.op_is::<Norm>());
            let could_be = node.op_is::<EinSum>()
                || node.op_is::<Conv>()
                || node.op_is::<Softmax>()
                || node.op_is::<RmsNorm>();
            if could_be {
                let reason = refusals.get(&node.name).cloned();
                if reason.as_deref() == Some(ONE_ROW) {
                    report.one_row += 1;
                    continue;
                }
                report.left.push(LeftInFloat {
                    name: node.name.clone(),
                    operator: node.op.name().into_owned(),
                    reason: reason.unwrap_or_else(|| "it has a form that no rule knows".into()),
                });
            }
        }
        Ok(report)
    }

    fn count(&mut self, product: &Product) {
        if let Weights::Depthwise { .. } = *product.weights {
            self.depthwise += 1;
        } else {
            self.products += 1;
            self.convolutions += usize::from(product.patches.is_some());
            self.weight_bytes += product.weights.shape().iter().product::<usize>();
        }
        self.norms += usize::from(product.norm.is_some());
        self.activations += usize::from(product.activation != crate::gemm::Activation::None);
        self.residuals += usize::from(product.residual.is_some());
    }
}
