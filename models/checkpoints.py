"""The towers of a checkpoint, or of a published shape with random weights, ready for an exporter."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import open_clip
import timm
import torch
from timm.models import vision_transformer_hybrid as hybrid
from timm.utils.model import reparameterize_model
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

import random_weights
import vocabularies
from families import CLIP_SCALE, SIGLIP_BIAS, SIGLIP_SCALE, Family, merged

# Pictures and texts from which random weights learn what all have in common, and others that are compared afterwards.
SHOWN, COMPARED = 48, 24
# Pictures at a time, and those whose statistics batch norms take.
BATCH, SETTLED = 8, 16


@dataclass
class Graph:
    """What becomes one ONNX file: a module, an example of each input, its outputs' names (the embedding last), and the dimensions that may vary."""

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    free: dict[str, dict[int, str]]


@dataclass
class Model:
    """Two towers, or one of pictures alone."""

    # As the library has it.
    source: nn.Module
    vision: Graph
    text: Graph | None = None
    joint: Graph | None = None
    # exp of the temperature, and the bias: what makes scores of cosines.
    scores: dict[str, float] = field(default_factory=dict)


class Call(nn.Module):
    """A function of a module as a module, for the exporters; dynamo's wants its arguments by name."""

    def __init__(self, module: nn.Module, call: Callable[..., object]):
        super().__init__()
        self.module, self.call = module, call

    def forward(self, first: Tensor, second: Tensor | None = None, third: Tensor | None = None) -> object:
        return self.call(self.module, *(value for value in (first, second, third) if value is not None))


def graph(module: nn.Module, call: Callable[..., object], inputs: dict[str, Tensor], outputs: tuple[str, ...], length_free: bool = True) -> Graph:
    """Batches may be of any size, and texts of any length where `length_free`."""
    batches = {name: {0: "batch_size"} for name in (*inputs, *outputs)}
    lengths = {name: {0: "batch_size", 1: "sequence_length"} for name, value in inputs.items() if value.ndim == 2 and length_free}
    return Graph(Call(module, call), inputs, outputs, batches | lengths)


def pixels(size: int) -> dict[str, Tensor]:
    return {"pixel_values": random_weights.pictures(2, size)}


def token_ids(length: int, vocabulary: int, masks: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Two texts of `length` tokens; the largest id, which some towers look for, ends them."""
    ids = torch.arange(2 * length).reshape(2, length) % (vocabulary - 1)
    ids[:, -1] = vocabulary - 1
    return {"input_ids": ids} | {name: torch.full_like(ids, name == "attention_mask") for name in masks}


def hidden_and_pooled(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    out = module(x)
    return out.last_hidden_state, out.pooler_output


def from_transformers(model: nn.Module) -> Model:
    """A CLIPModel, SiglipModel, ChineseCLIPModel or Dinov2Model."""
    config, kind = model.config, model.config.model_type
    if kind == "dinov2":
        # What its preprocessor cuts out, of patches of 14: positions are resized from image_size to it.
        return Model(model, fixed_positions(model, 16 * config.patch_size))
    size, vocabulary = config.vision_config.image_size, config.text_config.vocab_size
    scores = trained_scores(model)
    if kind == "siglip":
        outputs, ids = ("last_hidden_state", "pooler_output"), token_ids(config.text_config.max_position_embeddings, vocabulary)
        vision = graph(model.vision_model, hidden_and_pooled, pixels(size), outputs)
        text = graph(model.text_model, hidden_and_pooled, ids, outputs, length_free=False)
        return Model(model, vision, text, joint(model, ids | pixels(size)), scores)
    masks = ("attention_mask", "token_type_ids") if kind == "chinese_clip" else ()
    vision = graph(model, lambda model, x: model.get_image_features(x), pixels(size), ("image_embeds",))
    text = graph(model, text_features, token_ids(8, vocabulary, masks), ("text_embeds",))
    return Model(model, vision, text, joint(model, token_ids(8, vocabulary) | pixels(size) | token_ids(8, vocabulary, ("attention_mask",))), scores)


def text_features(model: nn.Module, *ids: Tensor) -> Tensor:
    inputs = dict(zip(("input_ids", "attention_mask", "token_type_ids"), ids))
    if model.config.model_type == "chinese_clip":  # as its forward pools: its get_text_features takes a pooler that it hasn't
        return model.text_projection(model.text_model(**inputs).last_hidden_state[:, 0])
    return model.get_text_features(**inputs)


def joint(model: nn.Module, inputs: dict[str, Tensor]) -> Graph:
    """Both towers and their products, in the order of Optimum's names."""
    outputs = ("logits_per_image", "logits_per_text", "text_embeds", "image_embeds")

    def call(model: nn.Module, *values: Tensor) -> tuple[Tensor, ...]:
        out = model(**dict(zip(inputs, values)))
        return tuple(getattr(out, name) for name in outputs)

    made = graph(model, call, inputs, outputs, length_free="attention_mask" in inputs)
    for name in ("input_ids", "attention_mask", "text_embeds", "logits_per_text"):
        made.free.get(name, {})[0] = "text_batch_size"
    return made


def fixed_positions(model: nn.Module, size: int) -> Graph:
    """DINOv2 with its positions resized once, for pictures of `size`, and not in every run."""
    embeddings, patches = model.embeddings, (size // model.config.patch_size) ** 2
    resize = embeddings.interpolate_pos_encoding
    with torch.no_grad():
        positions = resize(torch.zeros(1, patches + 1, model.config.hidden_size), size, size)

    def call(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        embeddings.interpolate_pos_encoding = lambda *_: positions
        try:
            return hidden_and_pooled(model, x)
        finally:
            embeddings.interpolate_pos_encoding = resize

    return graph(model, call, pixels(size), ("last_hidden_state", "pooler_output"))


def from_open_clip(model: nn.Module, vocabulary: int, context: int) -> Model:
    """An OpenCLIP model, whose texts are always `context` tokens. Branches that are there for training are folded into the plain convolutions of inference."""
    if hasattr(model.visual, "trunk"):
        model.visual.trunk = reparameterize_model(model.visual.trunk)
    if hasattr(getattr(model, "text", None), "projection_layer"):
        from mobileclip.modules.common.mobileone import reparameterize_model as reparameterize_text

        model.text = reparameterize_text(model.text)
    size = model.visual.image_size
    vision = graph(model.visual, lambda visual, x: visual(x), pixels(size if isinstance(size, int) else size[0]), ("image_embeds",))
    text = graph(model, lambda model, ids: model.encode_text(ids), token_ids(context, vocabulary), ("text_embeds",), length_free=False)
    return Model(model, vision, text, scores=trained_scores(model))


def trained_scores(model: nn.Module) -> dict[str, float]:
    """exp of the temperature, and the bias of models whose scores are sigmoids."""
    scores = {"logit_scale": model.logit_scale.exp().item()}
    bias = getattr(model, "logit_bias", None)
    return scores if bias is None else {**scores, "logit_bias": bias.item()}


def load(folder: Path) -> Model:
    """The model of a checkpoint's folder, of transformers or of OpenCLIP."""
    config = folder / "open_clip_config.json"
    if config.exists():
        text = json.loads(config.read_text())["model_cfg"]["text_cfg"]
        return from_open_clip(open_clip.create_model(f"local-dir:{folder}").eval(), text.get("vocab_size", 49408), text.get("context_length", 77))
    return from_transformers(AutoModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval())


def open_clip_config(family: Family, narrow: bool) -> dict:
    """As open_clip's own file of this model has it, or narrow."""
    published = open_clip.get_model_config(family.config["open_clip"])
    return merged(published, {key: value for key, value in family.narrow.items() if key != "text"}) if narrow else published


def build(family: Family, narrow: bool) -> nn.Module:
    """The family's model as its library makes it, with the published temperature and bias."""
    if family.kind == "open_clip":
        model = build_open_clip(family, narrow)
    else:
        config = merged(family.config, family.narrow) if narrow else family.config
        model = AutoModel.from_config(AutoConfig.for_model(family.kind, **config), attn_implementation="eager")
    with torch.no_grad():
        if hasattr(model, "logit_scale"):
            model.logit_scale.fill_(math.log(SIGLIP_SCALE if family.kind == "siglip" else CLIP_SCALE))
        if getattr(model, "logit_bias", None) is not None:
            model.logit_bias.fill_(SIGLIP_BIAS)
    return model.eval()


def build_open_clip(family: Family, narrow: bool) -> nn.Module:
    config = open_clip_config(family, narrow)
    model = (open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP)(**config)
    if narrow and family.narrow_trunk:
        vision, options = config["vision_cfg"], dict(family.narrow_trunk)
        name, head = vision["timm_model_name"], {"num_classes": config["embed_dim"], "global_pool": vision["timm_pool"]}
        if "stem" in options:  # vit_base_mci_224, whose stem timm's factory makes of one width only
            stem = hybrid.ConvStem(channels=options.pop("stem"), stride=(4, 2, 2), kernel_size=(4, 2, 2), padding=0, act_layer=nn.GELU)
            model.visual.trunk = hybrid._create_vision_transformer_hybrid(name, stem, embed_args={"proj": False}, no_embed_class=True, **head, **options)
        else:
            model.visual.trunk = timm.create_model(name, **head, **options)
    if text := family.config.get("text"):
        from mobileclip.text_encoder import TextTransformer

        model.text = TextTransformer(merged(text, family.narrow["text"]) if narrow else text, config["embed_dim"])
    return model


def tokenised(tokenizer: Tokenizer, family: Family, texts: list[str]) -> list[dict[str, Tensor]]:
    """Each text as the inputs of a text tower, [1, tokens]."""
    made = []
    for encoding in tokenizer.encode_batch(texts):
        ids = encoding.ids + [tokenizer.token_to_id(family.pad)] * ((family.text_length or 0) - len(encoding.ids))
        ids = torch.tensor([ids])
        made.append({"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)})
    return made


@torch.no_grad()
def embeddings(graph: Graph, inputs: list[dict[str, Tensor]]) -> Tensor:
    """[n, d], of the tower's last output."""
    rows = [graph.module(*(item[name] for name in graph.inputs)) for item in inputs]
    return torch.cat([row if isinstance(row, Tensor) else row[-1] for row in rows])


def batches(count: int, seed: int, family: Family, model: Model) -> list[dict[str, Tensor]]:
    size = model.vision.inputs["pixel_values"].shape[-1]
    return [{"pixel_values": batch} for batch in pictures(family, count, size, seed).split(BATCH)]


def pictures(family: Family, count: int, size: int, seed: int) -> Tensor:
    """Pictures as the family's towers see them: MobileCLIP's are given values from 0 to 1."""
    noise = random_weights.pictures(count, size, seed)
    plain = family.preprocess_cfg.get("mean") == [0.0] * 3 or (family.preprocessor or {}).get("do_normalize") is False
    return (0.45 + 0.27 * noise).clamp(0, 1) if plain else noise


def last_layers(model: nn.Module, kind: str, side: str) -> list[tuple[Tensor | None, Tensor | None]]:
    """The products [d, width] and biases whose sum is a tower's embedding."""
    if kind == "siglip" and side == "vision":
        head = model.vision_model.head
        return [(layer.weight, layer.bias) for layer in (head.attention.out_proj, head.mlp.fc2)]
    if kind == "dinov2":
        return [(None, model.layernorm.bias)]
    if kind == "siglip":
        layer = model.text_model.head
    elif kind != "open_clip":
        layer = model.visual_projection if side == "vision" else model.text_projection
    elif side == "text":
        tower = getattr(model, "text", model)
        return [(getattr(tower, "text_projection", getattr(tower, "projection_layer", None)).T, None)]
    elif hasattr(model.visual, "proj"):
        return [(model.visual.proj.T, None)]
    else:
        layer = model.visual.attnpool.c_proj if hasattr(model.visual, "attnpool") else model.visual.trunk.get_classifier()
    return [(layer.weight, layer.bias)]


def randomised(family: Family, narrow: bool, tokenizer: Tokenizer | None, seed: int = random_weights.SEED, apart: bool = True) -> Model:
    """The family with seeded random weights. Fails where two pictures, or two texts, come out alike, unless they need not be `apart`."""
    source = build(family, narrow)
    random_weights.randomise(source, seed)
    if family.kind == "open_clip":
        config = open_clip_config(family, narrow)
        of_convolutions = [source.visual, source.text] if "text" in family.config else [source.visual]
        if not narrow:
            for tower in of_convolutions:
                random_weights.calm(tower)
        random_weights.settle(source.visual, lambda: source.visual(pictures(family, SETTLED, config["vision_cfg"]["image_size"], random_weights.SEED)))
        if "text" in family.config:
            items = tokenised(tokenizer, family, vocabularies.phrases(SETTLED))
            random_weights.settle(source.text, lambda: source.text(torch.cat([item["input_ids"] for item in items])))
        model = from_open_clip(source, config["text_cfg"]["vocab_size"], family.text_length)
    else:
        model = from_transformers(source)
    if not apart:
        return model
    sides = {"vision": (model.vision, batches(SHOWN, random_weights.SEED, family, model), batches(COMPARED, random_weights.SEED + 1, family, model))}
    if model.text:
        items = tokenised(tokenizer, family, vocabularies.phrases(SHOWN + COMPARED, chinese=family.vocabulary == "chinese_clip"))
        sides["text"] = model.text, items[:SHOWN], items[SHOWN:]
    for side, (tower, shown, compared) in sides.items():
        # A true size is spread as little as will do for those that are compared; others are for models/support.py.
        shown = shown if narrow else compared
        rows = random_weights.spread(lambda: embeddings(tower, shown), last_layers(source, family.kind, side), wholly=narrow)  # noqa: B023
        alike = random_weights.alike(embeddings(tower, compared) if narrow else rows)
        print(f"{side}: largest cosine between two of {COMPARED}: {alike:.3f}", flush=True)
        if not alike < random_weights.ALIKE_MAX:
            raise SystemExit(f"{side}: weights of seed {seed} don't tell inputs apart: take another --seed")
    return model
