//! Tensors that are but another look at the memory of one before: slices, split and moved axes.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::AxisOp;
use tract_onnx::tract_core::ops::array::Slice;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::math::Mul;

use super::uniform;

/// A tensor as a look at `source`: an element is `scale` times the one at `start` plus, for each axis,
/// its place times the axis' step.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) source: OutletId,
    pub(super) start: TDim,
    /// Size and step of each axis.
    pub(super) axes: TVec<(TDim, TDim)>,
    pub(super) scale: f32,
}

impl View {
    /// The outlet as a look at the earliest tensor that has its values.
    pub(super) fn of(model: &TypedModel, outlet: OutletId) -> TractResult<Self> {
        let node = model.node(outlet.node);
        if let Some(op) = node.op_as::<AxisOp>() {
            if let Some(view) = Self::of(model, node.inputs[0])?.through(op) {
                return Ok(view);
            }
        } else if let Some(Slice { axis, start, .. }) = node.op_as::<Slice>() {
            let mut view = Self::of(model, node.inputs[0])?;
            let (size, step) = &mut view.axes[*axis];
            *size = model.outlet_fact(outlet)?.shape[*axis].clone();
            view.start += start.clone() * &*step;
            return Ok(view);
        } else if node.op_as::<TypedBinOp>().is_some_and(|op| op.0.is::<Mul>()) {
            for (x, factor) in [(0, 1), (1, 0)] {
                let same_shape =
                    model.outlet_fact(node.inputs[x])?.shape == model.outlet_fact(outlet)?.shape;
                if let (true, Some(factor)) = (same_shape, uniform(model, node.inputs[factor])?) {
                    let mut view = Self::of(model, node.inputs[x])?;
                    view.scale *= factor;
                    return Ok(view);
                }
            }
        }
        let mut step = 1.to_dim();
        let mut axes: TVec<(TDim, TDim)> = tvec![];
        for size in model.outlet_fact(outlet)?.shape.iter().rev() {
            axes.push((size.clone(), step.clone()));
            step *= size;
        }
        axes.reverse();
        Ok(Self { source: outlet, start: 0.to_dim(), axes, scale: 1.0 })
    }

    /// The look after an axis op; none where it needs another order in memory.
    fn through(mut self, op: &AxisOp) -> Option<Self> {
        match op {
            AxisOp::Add(axis) => self.axes.insert(*axis, (1.to_dim(), 0.to_dim())),
            AxisOp::Rm(axis) => drop(self.axes.remove(*axis)),
            AxisOp::Move(from, to) => {
                let axis = self.axes.remove(*from);
                self.axes.insert(*to, axis);
            }
            AxisOp::Reshape(at, from, to) => {
                let old: TVec<_> = self.axes.drain(*at..at + from.len()).collect();
                // Axes can be split and merged where they lie in memory as if they were one.
                let is_run = old.windows(2).all(|pair| pair[0].1 == pair[1].1.clone() * &pair[1].0);
                let (true, Some((_, step))) = (is_run, old.last()) else { return None };
                let mut step = step.clone();
                for size in to.iter().rev() {
                    self.axes.insert(*at, (size.clone(), step.clone()));
                    step *= size;
                }
            }
        }
        Some(self)
    }
}
