//! An ONNX graph, read and typed for one input of known sizes.

use std::io::Cursor;
use std::panic::{self, AssertUnwindSafe};

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::DimLike;
use tract_onnx::tract_hir::infer::Factoid;

use super::quantised::{self, Dequantised};
use super::{EncoderError, half_floats};

/// One size of an input: fixed, or free under a name.
#[derive(Clone, Copy)]
pub(super) enum Size {
    Fixed(usize),
    Free(&'static str),
}

/// Reads a graph of floats, or one that stands for such a graph, for inputs of this type and shape; and how
/// many of its parts were quantised.
pub(super) fn read(
    name: &'static str,
    onnx: &[u8],
    datum: DatumType,
    shape: &[Size],
) -> Result<(TypedModel, Dequantised), EncoderError> {
    let load = |error: TractError| EncoderError::Load { tower: name, reason: reason(&error) };
    let misfit = |reason| EncoderError::Shape { tower: name, reason };
    let mut proto =
        tract_onnx::onnx().proto_model_for_read(&mut Cursor::new(onnx)).map_err(load)?;
    let graph = proto.graph.as_mut().ok_or_else(|| misfit("it has no graph".into()))?;
    // What an exporter notes of inner shapes bears its own names for free sizes; they are derived anew.
    graph.value_info.clear();
    let dequantised = quantised::to_float(graph).map_err(load)?;
    half_floats::to_single(graph).map_err(load)?;
    let mut model = tract_onnx::onnx().model_for_proto_model(&proto).map_err(load)?;
    drop(proto);
    check_counts(model.inputs.len(), model.outputs.len()).map_err(misfit)?;
    check_input(model.input_fact(0).map_err(load)?, datum, shape).map_err(misfit)?;

    let dims: TVec<TDim> = shape
        .iter()
        .map(|size| match size {
            Size::Fixed(size) => size.to_dim(),
            Size::Free(symbol) => model.sym(symbol).to_dim(),
        })
        .collect();
    model.set_input_fact(0, InferenceFact::dt_shape(datum, dims)).map_err(load)?;
    // The declared output may bear the exporter's names for free sizes; ours are derived anew.
    model.set_output_fact(0, InferenceFact::default()).map_err(load)?;
    Ok((model.into_typed().map_err(load)?, dequantised))
}

/// A typed graph has one input of this type and shape, and one output.
pub(super) fn check(model: &TypedModel, datum: DatumType, shape: &[Size]) -> Result<(), String> {
    check_counts(model.inputs.len(), model.outputs.len())?;
    let fact = model.input_fact(0).map_err(|error| reason(&error))?;
    if fact.datum_type != datum {
        return Err(format!("its input is {:?}, {datum:?} is meant", fact.datum_type));
    }
    check_dims(fact.shape.dims(), shape)
}

fn check_counts(inputs: usize, outputs: usize) -> Result<(), String> {
    if (inputs, outputs) == (1, 1) {
        return Ok(());
    }
    Err(format!("it has {inputs} inputs and {outputs} outputs, one each is meant"))
}

/// The graph's declared input agrees with what it will be given.
fn check_input(declared: &InferenceFact, datum: DatumType, shape: &[Size]) -> Result<(), String> {
    if declared.datum_type.concretize().is_some_and(|declared| declared != datum) {
        return Err(format!("its input is {:?}, {datum:?} is meant", declared.datum_type));
    }
    declared.shape.concretize().map_or(Ok(()), |dims| check_dims(&dims, shape))
}

fn check_dims(dims: &[TDim], shape: &[Size]) -> Result<(), String> {
    let fits = dims.len() == shape.len()
        && dims.iter().zip(shape).all(|(dim, size)| match (dim.to_usize(), size) {
            (Ok(declared), Size::Fixed(given)) => declared == *given,
            (Ok(_), Size::Free(_)) => false,
            (Err(_), _) => true,
        });
    if fits {
        return Ok(());
    }
    let wanted = shape.iter().map(|size| match size {
        Size::Fixed(size) => size.to_string(),
        Size::Free(name) => (*name).to_owned(),
    });
    let [declared, wanted] = [
        dims.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        wanted.collect::<Vec<_>>().join(", "),
    ];
    Err(format!("its input is [{declared}], [{wanted}] is meant"))
}

/// What libraries that read models do; a panic of theirs on a model that no one foresaw is an error like any other.
pub(super) fn guarded<T>(read: impl FnOnce() -> T) -> Result<T, String> {
    // What was being made is dropped with the panic.
    panic::catch_unwind(AssertUnwindSafe(read)).map_err(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words");
        format!("it is of a kind that was not foreseen: {words}")
    })
}

/// tract's chain of causes on one line; it may quote whole tensors, so it ends somewhere.
pub(super) fn reason(error: &TractError) -> String {
    const CHARS_MAX: usize = 300;
    let text = format!("{error:#}").replace('\n', " ");
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
