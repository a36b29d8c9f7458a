//! Convolutions: a product of patches and weights, or, depthwise, a sum for each channel by itself.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat};

use super::axes::reorder;
use super::product::are_finite;
use super::{Change, Lowering, constant};
use crate::encoder::ops::{Patches, Product, Weights};
use crate::gemm::K_MAX;

/// Pictures of so few channels are read as they are; others with the channels last, which makes patches of
/// few, long runs.
const CHANNELS_FEW: usize = 4;

/// A convolution of one group becomes a product; one of as many groups as channels stays in float, as an op
/// that takes in what follows like a product.
pub(super) fn lower(
    ctx: &Lowering,
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &Conv,
) -> Change {
    let spec = &op.pool_spec;
    let [kernel, bias] = [constant(model, node.inputs[1])?, constant(model, node.inputs[2])?];
    let (Some(kernel), Some(bias), None) = (kernel, bias, op.q_params) else {
        return ctx.refuse(node, "its weights are not constant floats");
    };
    let fact = model.outlet_fact(node.inputs[0])?;
    let (Some(shape), KernelFormat::OIHW, 2) =
        (fact.shape.as_concrete(), op.kernel_fmt, spec.kernel_shape.len())
    else {
        return ctx.refuse(node, format!("it convolves {}", fact.format_dt_shape()));
    };
    let input = spec.data_format.shape(shape)?;
    let [count, channels] = [input.n().copied().unwrap_or(1), *input.c()];
    let size = input.hw_dims();
    let padding = spec.computed_padding(size);
    let both = |values: &[usize]| [values[0], values[1]];
    let patches = Patches {
        channels,
        size: both(size),
        window: both(&spec.kernel_shape),
        stride: [spec.stride(0), spec.stride(1)],
        dilation: [spec.dilation(0), spec.dilation(1)],
        pad: [padding[0].pad_before, padding[1].pad_before],
        grid: [padding[0].convoluted, padding[1].convoluted],
        channels_last: spec.data_format.c_is_last() || channels > CHANNELS_FEW || op.group > 1,
    };
    let is_depthwise = op.group == channels && kernel.shape()[..2] == [channels, 1] && channels > 1;
    if op.group != 1 && !is_depthwise {
        return ctx.refuse(node, format!("a convolution of {} groups", op.group));
    }
    let k = patches.width();
    if k == 0 || k > K_MAX || kernel.len() == 0 {
        return ctx.refuse(node, format!("it sums over {k} values, the limit is {K_MAX}"));
    }

    let mut patch = TypedModelPatch::default();
    let mut wire = patch.tap_model(model, node.inputs[0])?;
    let with_n = usize::from(spec.data_format.has_n());
    let to_last: Vec<usize> = (0..with_n).chain([with_n + 1, with_n + 2, with_n]).collect();
    if patches.channels_last && !spec.data_format.c_is_last() {
        wire = reorder(&mut patch, &format!("{name}.rows"), wire, &to_last)?;
    }
    let order: &[usize] = match (is_depthwise, patches.channels_last) {
        (true, _) => &[2, 3, 0, 1],
        (false, true) => &[0, 2, 3, 1],
        (false, false) => &[0, 1, 2, 3],
    };
    let values: Vec<f32> =
        kernel.to_plain_array_view::<f32>()?.permuted_axes(order).iter().copied().collect();
    let n = kernel.shape()[0];
    if !are_finite(&values) {
        return ctx.refuse(node, "its weights are not finite");
    }
    let [height, width] = patches.grid;
    let sizes = [count, height, width, n];
    let shape: TVec<TDim> = sizes[1 - with_n..].iter().map(ToDim::to_dim).collect();
    let weights = if is_depthwise {
        Weights::Depthwise { values, channels }
    } else {
        Weights::Float { values, k }
    };
    let product = Product {
        patches: Some(patches),
        bias: by_channel(&bias, n)?.into(),
        ..ctx.product(weights, shape.into())
    };
    wire = patch.wire_node(name, product, &[wire])?[0];
    if !spec.data_format.c_is_last() {
        let to_first: Vec<usize> = (0..with_n).chain([with_n + 2, with_n, with_n + 1]).collect();
        wire = reorder(&mut patch, &format!("{name}.result"), wire, &to_first)?;
    }
    patch.shunt_outside(model, node.id.into(), wire)?;
    Ok(Some(patch))
}

/// One value for each of `n` channels; a single one is for all.
fn by_channel(values: &Tensor, n: usize) -> TractResult<Vec<f32>> {
    let plain = values.try_as_plain_ram()?;
    match plain.as_slice::<f32>()? {
        [one] => Ok(vec![*one; n]),
        all => Ok(all.to_vec()),
    }
}
