"""A folder in Hugging Face's ONNX layout, and a bundle of edgeclip, from a PyTorch checkpoint; or from a published shape with random weights.

    python models/export.py CHECKPOINT OUT --edgeclip target/release/edgeclip --bundle BUNDLE
    python models/export.py --random FAMILY OUT [--narrow] [--joint] [--variants fp16,q4]

CHECKPOINT is what `save_pretrained` of transformers wrote (CLIP, SigLIP, Chinese CLIP, DINOv2; with tokenizer and
preprocessor_config.json), or a folder of OpenCLIP (open_clip_config.json and weights). OUT gets the configuration files,
tokenizer.json and onnx/vision_model.onnx and onnx/text_model.onnx, or onnx/model.onnx with both towers (--joint), with
Optimum's names of inputs and outputs. Random weights are for speed, memory and exactness, never for answers.
Needs models/requirements.txt.
"""

import argparse
import json
import logging
import shutil
import subprocess
import warnings
from pathlib import Path

import onnx
import torch
from tokenizers import Tokenizer
from transformers import AutoTokenizer

import vocabularies
from checkpoints import Graph, Model, load, open_clip_config, randomised
from families import FAMILIES, Family, merged
from variants import VARIANTS, write_variant

EXPORTERS = ("torchscript", "dynamo", "optimum")
OPSETS = {"torchscript": 14, "dynamo": 18, "optimum": 14}
THREADS = 2
# protobuf allows a message 2 GB; tensors of a larger model go into a file beside it.
INLINE_MAX = 1_900_000_000
# Files of a checkpoint that OUT gets as they are.
CONFIGS = ("config.json", "preprocessor_config.json", "open_clip_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def to_graph(graph: Graph, file: Path, exporter: str) -> None:
    """Writes a tower by torch's older exporter, or by the one of dynamo."""
    example, names = tuple(graph.inputs.values()), {"input_names": list(graph.inputs), "output_names": list(graph.outputs), "opset_version": OPSETS[exporter]}
    if exporter == "torchscript":
        torch.onnx.export(graph.module, example, str(file), dynamic_axes=graph.free, dynamo=False, **names)
        return
    shapes = tuple({axis: torch.export.Dim.DYNAMIC for axis in graph.free[name]} for name in graph.inputs)
    torch.onnx.export(graph.module, example, file, dynamic_shapes=shapes, dynamo=True, external_data=False, verbose=False, **names)
    model = onnx.load(file)
    for node in [*model.graph.node, *(node for function in model.functions for node in function.node)]:
        del node.metadata_props[:]  # where in Python each node comes from
    onnx.save(model, file)


def by_optimum(model: Model, out: Path, joint: bool) -> None:
    """Optimum's own exporter: both towers in one file, or each by the configuration that Optimum has for it, as transformers.js' conversion does."""
    from optimum.exporters.onnx import export_models
    from optimum.exporters.onnx import model_configs as configs
    from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection, SiglipTextModel, SiglipVisionModel

    source, kind = model.source, model.source.config.model_type
    if kind == "dinov2":
        towers = {"model": (source, configs.Dinov2OnnxConfig(source.config, task="feature-extraction"))}
    elif joint:
        config = {"clip": configs.CLIPOnnxConfig, "siglip": configs.SiglipOnnxConfig}[kind]
        towers = {"model": (source, config(source.config, task="feature-extraction"))}
    elif kind == "clip":
        vision, text = CLIPVisionModelWithProjection(source.config.vision_config), CLIPTextModelWithProjection(source.config.text_config)
        vision.vision_model, vision.visual_projection = source.vision_model, source.visual_projection
        text.text_model, text.text_projection = source.text_model, source.text_projection
        towers = {"vision_model": (vision, only(configs.ViTOnnxConfig, "image_embeds")(vision.config)), "text_model": (text, only(configs.CLIPTextOnnxConfig, "text_embeds")(text.config))}
    else:
        vision, text = SiglipVisionModel(source.config.vision_config), SiglipTextModel(source.config.text_config)
        vision.vision_model, text.text_model = source.vision_model, source.text_model
        outputs = ("last_hidden_state", "pooler_output")
        towers = {"vision_model": (vision, only(configs.ViTOnnxConfig, *outputs)(vision.config)), "text_model": (text, only(configs.SiglipTextOnnxConfig, *outputs)(text.config))}
    export_models({name: (tower.eval(), config) for name, (tower, config) in towers.items()}, out, opset=OPSETS["optimum"])


def only(config: type, *outputs: str) -> type:
    """Optimum's configuration with these outputs."""
    return type(config.__name__, (config,), {"outputs": property(lambda _: {name: {0: "batch_size"} for name in outputs})})


def write_graphs(model: Model, out: Path, exporter: str, joint: bool) -> None:
    folder = out / "onnx"
    folder.mkdir(parents=True, exist_ok=True)
    if exporter == "optimum":
        by_optimum(model, folder, joint)
        return
    alone = model.vision if model.text is None else model.joint
    graphs = {"model": alone} if joint or model.text is None else {"vision_model": model.vision, "text_model": model.text}
    for name, graph in graphs.items():
        to_graph(graph, folder / f"{name}.onnx", exporter)


def outside(file: Path) -> None:
    """Moves a graph's tensors to FILE_data, as Optimum does with a large one."""
    model = onnx.load(file)
    onnx.save(model, file, save_as_external_data=True, location=f"{file.name}_data", size_threshold=0)


def copy_configs(checkpoint: Path, out: Path) -> None:
    """A checkpoint's own configuration, and its tokenizer in the fast form where it has only the slow one."""
    out.mkdir(parents=True, exist_ok=True)
    for name in CONFIGS:
        if (checkpoint / name).exists():
            shutil.copy(checkpoint / name, out / name)
    if (out / "tokenizer.json").exists():
        return
    if (checkpoint / "spiece.model").exists():
        vocabularies.siglip_from_sentencepiece(checkpoint / "spiece.model", out / "tokenizer.json")
    elif (checkpoint / "tokenizer_config.json").exists() or (checkpoint / "open_clip_config.json").exists():
        AutoTokenizer.from_pretrained(checkpoint).save_pretrained(out)


def write_scores(out: Path, scores: dict[str, float]) -> None:
    """The trained scale (already the exponential) and bias at the top of the folder's configuration: graphs of single towers lack them, and the library's own keys say but what training began with."""
    for name in ("config.json", "open_clip_config.json"):
        if scores and (out / name).exists():
            config = json.loads((out / name).read_text())
            vocabularies.write_json(out / name, {**config, **scores})


def shrunk(preprocessor: dict, image_size: int, narrow_size: int) -> dict:
    """A preprocessor for pictures of `image_size` with its sizes made narrower."""
    sizes = {key: {side: pixels * narrow_size // image_size for side, pixels in preprocessor[key].items()} for key in ("size", "crop_size") if key in preprocessor}
    return merged(preprocessor, sizes)


def write_configs(family: Family, out: Path, narrow: bool, tokenizer: Path | None) -> Tokenizer | None:
    """The configuration files as the family's repository has them, and the tokenizer."""
    out.mkdir(parents=True, exist_ok=True)
    size = 224
    if family.kind == "open_clip":
        config = open_clip_config(family, False)
        size, narrow_size = config["vision_cfg"]["image_size"], open_clip_config(family, True)["vision_cfg"]["image_size"]
        if not family.preprocessor:
            file = {"model_cfg": open_clip_config(family, narrow), "preprocess_cfg": family.preprocess_cfg}
            (out / "open_clip_config.json").write_text(json.dumps(file, indent=4) + "\n")
        else:
            vocabularies.write_json(out / "config.json", {"model_type": "clip"})
    elif family.kind == "dinov2":
        narrow_size = 16 * family.narrow["patch_size"]
    else:
        size, narrow_size = family.config["vision_config"]["image_size"], family.narrow["vision_config"]["image_size"]
    if family.preprocessor:
        vocabularies.write_json(out / "preprocessor_config.json", shrunk(family.preprocessor, size, narrow_size if narrow else size))
    if not family.vocabulary:
        return None
    if family.vocabulary == "clip":
        vocabularies.clip(out, family.vocabulary_size, None if narrow else tokenizer, pad=family.pad)
    else:
        getattr(vocabularies, family.vocabulary)(out, family.vocabulary_size)
    return Tokenizer.from_file(str(out / "tokenizer.json"))


def export_random(name: str, out: Path, narrow: bool = False, exporter: str | None = None, joint: bool = False, tokenizer: Path | None = None, seed: int | None = None, apart: bool = True) -> Model:
    """A family's folder with random weights."""
    family = FAMILIES[name]
    model = randomised(family, narrow, write_configs(family, out, narrow, tokenizer), family.seed if seed is None else seed, apart)
    if family.kind != "open_clip":
        model.source.config.architectures = [type(model.source).__name__]
        model.source.config.save_pretrained(out)
    if not joint:
        write_scores(out, model.scores)
    write_graphs(model, out, exporter or family.exporter, joint)
    return model


def export_checkpoint(checkpoint: Path, out: Path, exporter: str = "torchscript", joint: bool = False) -> Model:
    """The folder of a trained model."""
    model = load(checkpoint)
    copy_configs(checkpoint, out)
    if not joint:
        write_scores(out, model.scores)
    write_graphs(model, out, exporter, joint)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, nargs="?", help="folder of a trained model; not with --random")
    parser.add_argument("out", type=Path)
    parser.add_argument("--random", choices=FAMILIES, metavar="FAMILY", help=f"random weights in the shape of one of {', '.join(FAMILIES)}")
    parser.add_argument("--narrow", action="store_true", help="with --random: the same graph, with few layers and channels")
    parser.add_argument("--seed", type=int, help="with --random: of the weights [default: one that tells pictures apart]")
    parser.add_argument("--as-drawn", action="store_true", help="with --random: weights under which pictures need not differ; a fraction of the time, for counts and times")
    parser.add_argument("--tokenizer", type=Path, help="with --random: CLIP's own tokenizer.json, of 49,408 entries [default: a small one, trained here]")
    parser.add_argument("--exporter", choices=EXPORTERS, help="[default: torchscript, or what the family's published graphs are made by]")
    parser.add_argument("--joint", action="store_true", help="both towers in one file")
    parser.add_argument("--external-data", action="store_true", help="tensors in a file beside the graph, as models above 2 GB have them")
    parser.add_argument("--variants", default="", help=f"comma-separated, of {', '.join(VARIANTS)}")
    parser.add_argument("--edgeclip", type=Path, help="edgeclip's program: makes a bundle of OUT")
    parser.add_argument("--bundle", type=Path, help="the bundle [default: OUT/bundle]")
    args = parser.parse_args()
    if bool(args.random) == bool(args.checkpoint):
        parser.error("either CHECKPOINT and OUT, or --random FAMILY and OUT")
    quiet()
    if args.random:
        export_random(args.random, args.out, args.narrow, args.exporter, args.joint, args.tokenizer, args.seed, not args.as_drawn)
    else:
        export_checkpoint(args.checkpoint, args.out, args.exporter or "torchscript", args.joint)
    files = sorted((args.out / "onnx").glob("*.onnx"))
    for file in files:
        for variant in filter(None, args.variants.split(",")):
            write_variant(file, variant)
        if args.external_data:
            outside(file)
    if args.edgeclip:
        subprocess.run([args.edgeclip, "model", "import", args.out, args.bundle or args.out / "bundle"], check=True)


def quiet() -> None:
    """No more than two threads, and no words of the exporters about themselves."""
    torch.set_num_threads(THREADS)
    warnings.simplefilter("ignore")
    for name in ("torch.onnx", "optimum", "transformers", "root"):
        logging.getLogger(name).setLevel(logging.ERROR)


if __name__ == "__main__":
    main()
