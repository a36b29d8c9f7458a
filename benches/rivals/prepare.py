"""Writes what run.py measures into a work folder: a seeded picture, ONNX Runtime's quantised graphs, and ExecuTorch's programs.

    python prepare.py BUNDLE WORK

BUNDLE is a folder that models/export.py --random made. Files that are there already stay as they are.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.optimizer import optimize_model
from PIL import Image

from variants import EXECUTORCH, FUSED, FUSED_FLOAT, IMAGE_SIZE, PICTURE, PIXELS, PLAIN, Quantised

MODELS = Path(__file__).parents[2] / "models"
SEED = 1
MEAN, DEVIATION = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def write_picture(picture: Path, pixels: Path) -> None:
    """Soft random blots, as a PNG of the model's own size (so nothing is resized) and as the normalised [1, 3, size, size] floats of it."""
    blots = np.random.default_rng(SEED).integers(0, 256, (14, 14, 3), dtype=np.uint8)
    image = Image.fromarray(blots).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)
    image.save(picture)
    values = (np.asarray(image) / 255 - MEAN) / DEVIATION
    values.transpose(2, 0, 1).astype("<f4").tofile(pixels)


def fuse(graph: Path, fused: Path) -> None:
    """ONNX Runtime's offline optimizer for CLIP: LayerNorm with its residual, and QuickGELU, become one operator each."""
    optimize_model(str(graph), model_type="clip", opt_level=0).save_model_to_file(str(fused))


def quantise(graph: Path, quantised: Path, variant: Quantised) -> None:
    """Dynamic int8, by ONNX Runtime's own tool."""
    quantize_dynamic(
        graph, quantised, op_types_to_quantize=variant.operators, per_channel=variant.per_channel, weight_type=QuantType[variant.weights],
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )  # fmt: skip


def write_executorch(family: str, pixels: Path, program: Path, *, int8: bool) -> None:
    """The torch model for XNNPACK. int8: dynamic activations, weights per channel. Eager attention leaves it fewer operators than SDPA."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
    from executorch.exir import to_edge_transform_and_lower
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    sys.path.insert(0, str(MODELS))
    from families import FAMILIES
    from random_weights import randomise
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    class Tower(torch.nn.Module):
        def __init__(self, tower: torch.nn.Module):
            super().__init__()
            self.tower = tower

        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            return self.tower(pixel_values=pixel_values).image_embeds

    example = (torch.from_numpy(np.fromfile(pixels, "<f4").reshape(1, 3, IMAGE_SIZE, IMAGE_SIZE)),)
    vision = Tower(CLIPVisionModelWithProjection(CLIPVisionConfig(**FAMILIES[family].config["vision_config"])).eval())
    vision.tower.set_attn_implementation("eager")
    randomise(vision)
    exported = torch.export.export(vision, example)
    if int8:
        quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True))
        prepared = prepare_pt2e(exported.module(), quantizer)
        prepared(*example)
        exported = torch.export.export(convert_pt2e(prepared), example)
    edge = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    program.write_bytes(edge.to_executorch().buffer)


def make(file: Path, write: Callable[..., None], *arguments: object, **options: object) -> None:
    """Calls `write`, unless `file` is there. A failure is told, and the rest goes on: run.py lists what is missing."""
    if file.exists():
        return
    print(f"making {file.name}", flush=True)
    try:
        write(*arguments, **options)
    except Exception as error:
        print(f"{file.name}: {type(error).__name__}: {error}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--family", default="clip-vit-b-32", help="of models/families.py, as the bundle was made with [default: %(default)s]")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    graph, pixels, fused = args.bundle / "vision.onnx", args.work / PIXELS, args.work / FUSED_FLOAT
    make(pixels, write_picture, args.work / PICTURE, pixels)
    make(fused, fuse, graph, fused)
    for variant in PLAIN + FUSED:
        file = args.work / variant.file
        make(file, quantise, fused if variant.fused else graph, file, variant)
    for precision, name in EXECUTORCH.items():
        file = args.work / name
        make(file, write_executorch, args.family, pixels, file, int8=precision == "int8")


if __name__ == "__main__":
    main()
