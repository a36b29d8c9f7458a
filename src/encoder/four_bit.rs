//! Weights of four bits, as ONNX Runtime's `MatMulNBits` has them: blocks of a column with one scale each.

use tract_onnx::pb::{NodeProto, TensorProto, tensor_proto::DataType};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{bail, ensure};

use super::quantised::floats;

/// What the values of a block stand around, where there are no zero points.
const MIDDLE: f32 = 8.0;

/// The weights of a `MatMulNBits` node as floats, `[k, n]`: `(value - zero) * scale`.
///
/// The packed weights are `[n, blocks, bytes]`, the lower half of a byte first; scales are `[n, blocks]`, zero points
/// two in a byte, each column's beginning with a byte of its own (ONNX Runtime, `ContribOperators.md`).
///
/// # Errors
/// Other forms of the operator: more bits, reordered groups, a bias.
pub(super) fn weights(
    node: &NodeProto,
    constant: impl Fn(usize) -> Option<TensorProto>,
    name: &str,
) -> TractResult<TensorProto> {
    let attribute = |name: &str| node.attribute.iter().find(|of| of.name == name).map(|of| of.i);
    let size = |name: &str| attribute(name).and_then(|size| usize::try_from(size).ok());
    let bits = attribute("bits").unwrap_or(4);
    ensure!(bits == 4, "{name}: weights of {bits} bits in blocks are not known, 4 are");
    let rest = node.input.iter().skip(4).all(String::is_empty);
    ensure!(rest, "{name}: MatMulNBits with groups out of order or a bias is not known");
    let (Some(k), Some(n), Some(block)) = (size("K"), size("N"), size("block_size")) else {
        bail!("{name}: MatMulNBits without K, N or block_size");
    };
    let (Some(packed), Some(scales)) = (constant(1), constant(2)) else {
        bail!("{name}: the weights of MatMulNBits are not constant");
    };
    let scales = floats(&scales)?;
    let packed = packed_bytes(&packed)?;
    ensure!(
        k > 0 && n > 0 && block >= 2 && block % 2 == 0,
        "{name}: {k} x {n} in blocks of {block}"
    );
    let blocks = k.div_ceil(block);
    let bytes = blocks.checked_mul(block / 2).and_then(|bytes| bytes.checked_mul(n));
    let fits = Some(packed.len()) == bytes && scales.len() == n * blocks;
    ensure!(fits, "{name}: {} bytes and {} scales for {k} x {n}", packed.len(), scales.len());
    let zeros = match constant(3) {
        Some(zeros) => zero_points(&zeros, n, blocks, name)?,
        None => vec![MIDDLE; n * blocks],
    };
    let mut values = vec![0.0; k * n];
    for (column, bytes) in packed.chunks_exact(blocks * block / 2).enumerate() {
        for row in 0..k {
            let byte = bytes[row / 2];
            let value = f32::from(if row % 2 == 0 { byte & 15 } else { byte >> 4 });
            let at = column * blocks + row / block;
            values[row * n + column] = (value - zeros[at]) * scales[at];
        }
    }
    let raw_data = values.into_iter().flat_map(f32::to_le_bytes).collect();
    let dims = [k, n].into_iter().map(i64::try_from).collect::<Result<_, _>>()?;
    let data_type = DataType::Float as i32;
    Ok(TensorProto { name: name.into(), dims, data_type, raw_data, ..TensorProto::default() })
}

/// The zero point of each block, `[n, blocks]`.
fn zero_points(zeros: &TensorProto, n: usize, blocks: usize, name: &str) -> TractResult<Vec<f32>> {
    if zeros.data_type != DataType::Uint8 as i32 {
        let zeros = floats(zeros)?;
        ensure!(zeros.len() == n * blocks, "{name}: {} zero points", zeros.len());
        return Ok(zeros);
    }
    let (bytes, of_column) = (packed_bytes(zeros)?, blocks.div_ceil(2));
    ensure!(bytes.len() == n * of_column, "{name}: {} bytes of zero points", bytes.len());
    let column = |bytes: &[u8]| -> Vec<f32> {
        let halves = bytes.iter().flat_map(|byte| [byte & 15, byte >> 4]);
        halves.take(blocks).map(f32::from).collect()
    };
    Ok(bytes.chunks_exact(of_column).flat_map(column).collect())
}

fn packed_bytes(constant: &TensorProto) -> TractResult<Vec<u8>> {
    ensure!(constant.data_type == DataType::Uint8 as i32, "{}: no bytes", constant.name);
    if constant.raw_data.is_empty() {
        return Ok(constant.int32_data.iter().map(|value| *value as u8).collect());
    }
    Ok(constant.raw_data.clone())
}
