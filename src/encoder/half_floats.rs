//! Graphs of half floats, read as the graphs of floats that they stand for: the values are the same, and no sum
//! between them overflows or is rounded.

use tract_onnx::data_resolver::MmapDataResolver;
use tract_onnx::pb::type_proto::Value as TypeValue;
use tract_onnx::pb::{GraphProto, TensorProto, tensor_proto::DataType};
use tract_onnx::prelude::*;
use tract_onnx::tensor::load_tensor;

const HALF: i32 = DataType::Float16 as i32;
const SINGLE: i32 = DataType::Float as i32;

/// Makes constants, casts, inputs and outputs of half floats single, in the graph and its branches.
pub(super) fn to_single(graph: &mut GraphProto) -> TractResult<()> {
    graph.initializer.iter_mut().try_for_each(constant)?;
    for node in &mut graph.node {
        for attribute in &mut node.attribute {
            if node.op_type == "Cast" && attribute.name == "to" && attribute.i == i64::from(HALF) {
                attribute.i = i64::from(SINGLE);
            }
            attribute.t.as_mut().map_or(Ok(()), constant)?;
            attribute.g.as_mut().map_or(Ok(()), to_single)?;
        }
    }
    for value in graph.input.iter_mut().chain(&mut graph.output) {
        let of = value.r#type.as_mut().and_then(|of| of.value.as_mut());
        if let Some(TypeValue::TensorType(tensor)) = of
            && tensor.elem_type == HALF
        {
            tensor.elem_type = SINGLE;
        }
    }
    Ok(())
}

fn constant(constant: &mut TensorProto) -> TractResult<()> {
    if constant.data_type != HALF {
        return Ok(());
    }
    let tensor = load_tensor(&MmapDataResolver, constant, None)?.cast_to::<f32>()?.into_owned();
    *constant = TensorProto {
        name: std::mem::take(&mut constant.name),
        dims: std::mem::take(&mut constant.dims),
        data_type: SINGLE,
        raw_data: tensor.try_as_plain_ram()?.as_bytes().to_vec(),
        ..TensorProto::default()
    };
    Ok(())
}
