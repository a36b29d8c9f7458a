"""Families of published models: their shapes, their pictures, their vocabularies, and narrow versions of them for tests.

Figures are those of the configuration files that each entry names in `source`, read in October 2025 or from the packages
that models/requirements.txt pins.
"""

from copy import deepcopy
from dataclasses import dataclass, field

CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
RESCALE = 0.00392156862745098
BILINEAR, BICUBIC = 2, 3
# exp of the learned temperature: OpenAI's is cut off at 100 (Radford et al. 2021, section 2.5); SigLIP's, with its bias, as
# google/siglip-base-patch16-224 has them.
CLIP_SCALE, SIGLIP_SCALE, SIGLIP_BIAS = 100.0, 117.33, -12.93


@dataclass(frozen=True)
class Family:
    """One published model. `narrow` holds what its small version has in the place of values of `config`."""

    # A model type of transformers, or "open_clip".
    kind: str
    source: str
    config: dict
    narrow: dict
    # preprocessor_config.json; None where the folder has open_clip_config.json instead.
    preprocessor: dict | None
    vocabulary: str | None = "clip"
    vocabulary_size: int = 576
    exporter: str = "torchscript"
    # Of open_clip_config.json's preprocess_cfg.
    preprocess_cfg: dict = field(default_factory=dict)
    # Towers' arguments to timm that open_clip's file leaves to timm, of the narrow version.
    narrow_trunk: dict = field(default_factory=dict)
    # Tokens that a text always has, padding included; None where any number will do.
    text_length: int | None = None
    # The id that fills a text up to `text_length`.
    pad: str = "<|endoftext|>"
    # Of random weights: the first whose embeddings differ enough.
    seed: int = 1


def merged(config: dict, other: dict) -> dict:
    """`config` with the values of `other`, dictionaries within dictionaries alike."""
    made = deepcopy(config)
    for key, value in other.items():
        made[key] = merged(made[key], value) if isinstance(value, dict) and isinstance(made.get(key), dict) else value
    return made


def clip_config(width: int, layers: int, patch: int, text_width: int, text_layers: int, dim: int, act: str = "quick_gelu", size: int = 224) -> dict:
    """transformers' CLIPConfig. The end's id of 2 is OpenAI's own slip, which transformers takes for "the largest id"."""
    shared = {"hidden_act": act, "projection_dim": dim}
    return {
        "projection_dim": dim,
        "text_config": {
            **shared, "hidden_size": text_width, "intermediate_size": 4 * text_width, "num_hidden_layers": text_layers, "num_attention_heads": text_width // 64,
            "vocab_size": 49408, "max_position_embeddings": 77, "bos_token_id": 0, "eos_token_id": 2,
        },
        "vision_config": {
            **shared, "hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers, "num_attention_heads": width // 64, "image_size": size, "patch_size": patch,
        },
    }  # fmt: skip


def narrow_towers(size: int, patch: int, layers: int = 1, vocabulary: int = 576, dim: int | None = 24) -> dict:
    """Values of a configuration file of transformers with two towers."""
    shared = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": layers, "num_attention_heads": 2} | ({"projection_dim": dim} if dim else {})
    top = {"projection_dim": dim} if dim else {}
    return {**top, "text_config": {**shared, "vocab_size": vocabulary}, "vision_config": {**shared, "image_size": size, "patch_size": patch}}


def clip_preprocessor(size: int) -> dict:
    return {
        "crop_size": {"height": size, "width": size}, "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True,
        "image_mean": CLIP_MEAN, "image_processor_type": "CLIPImageProcessor", "image_std": CLIP_STD, "resample": BICUBIC, "rescale_factor": RESCALE, "size": {"shortest_edge": size},
    }  # fmt: skip


def siglip_preprocessor(size: int) -> dict:
    return {
        "do_convert_rgb": None, "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": [0.5] * 3, "image_processor_type": "SiglipImageProcessor",
        "image_std": [0.5] * 3, "processor_class": "SiglipProcessor", "resample": BICUBIC, "rescale_factor": RESCALE, "size": {"height": size, "width": size},
    }  # fmt: skip


def mobileclip_preprocessor(size: int) -> dict:
    return {
        "crop_size": {"height": size, "width": size}, "do_center_crop": True, "do_convert_rgb": True, "do_normalize": False, "do_rescale": True, "do_resize": True,
        "image_mean": [0, 0, 0], "image_processor_type": "CLIPImageProcessor", "image_std": [1, 1, 1], "resample": BILINEAR, "rescale_factor": RESCALE,
        "size": {"shortest_edge": size},
    }  # fmt: skip


CHINESE_PREPROCESSOR = {
    "do_center_crop": False, "do_normalize": True, "do_resize": True, "feature_extractor_type": "ChineseCLIPFeatureExtractor", "image_mean": CLIP_MEAN,
    "image_std": CLIP_STD, "resample": BICUBIC, "size": {"height": 224, "width": 224},
}  # fmt: skip
DINOV2_PREPROCESSOR = {
    "crop_size": {"height": 224, "width": 224}, "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True,
    "image_mean": IMAGENET_MEAN, "image_processor_type": "BitImageProcessor", "image_std": IMAGENET_STD, "resample": BICUBIC, "rescale_factor": RESCALE,
    "size": {"shortest_edge": 256},
}  # fmt: skip
# open_clip's pretrained.py: _pcfg (LAION, OpenAI) and _mccfg (MobileCLIP).
CLIP_CFG = {"mean": CLIP_MEAN, "std": CLIP_STD, "interpolation": "bicubic", "resize_mode": "shortest"}
MOBILECLIP_CFG = {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "interpolation": "bilinear", "resize_mode": "shortest"}
SIGLIP_TEXT = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12, "max_position_embeddings": 64}
SIGLIP_VISION = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12, "image_size": 224, "patch_size": 16}
NARROW_TEXT = {"width": 32, "heads": 2, "layers": 2, "mlp_ratio": 2.0, "vocab_size": 576}


def clip(source: str, config: dict, narrow: dict, exporter: str = "optimum", seed: int = 1) -> Family:
    return Family("clip", source, config, narrow, clip_preprocessor(config["vision_config"]["image_size"]), exporter=exporter, seed=seed)


# The text tower of MobileCLIP-S0 (Vasu et al. 2024), as visaion4mobileclip 0.1.1's configs/mobileclip_s0.json has it.
MCT = {
    "model_name": "mct", "context_length": 77, "vocab_size": 49408, "dim": 512, "ffn_multiplier_per_layer": 4.0, "n_heads_per_layer": 8, "n_transformer_layers": 4,
    "norm_layer": "layer_norm_fp32", "causal_masking": False,
}  # fmt: skip
MCT_NARROW = {"vocab_size": 576, "dim": 32, "n_heads_per_layer": 2, "n_transformer_layers": 1}


def mobileclip(name: str, published: str, stages: tuple[int, ...], exporter: str, xenova: bool, text: dict | None = None, seed: int = 1) -> Family:
    """A hybrid tower of timm's FastViT. `xenova`: as the conversions for transformers.js lay the folder out. `text`: a text tower of convolutions
    and attention in the place of open_clip's."""
    source = f"open_clip 3.3.0, model_configs/{name}.json, and timm 1.0.31's {published}"
    narrow = {"embed_dim": 24, "vision_cfg": {"image_size": 64}, "text_cfg": NARROW_TEXT}
    trunk = {"layers": stages, "embed_dims": (8, 16, 32, 32)}
    preprocessor, cfg = (mobileclip_preprocessor(256), {}) if xenova else (None, MOBILECLIP_CFG)
    config = {"open_clip": name} | ({"text": text} if text else {})
    narrow |= {"text": MCT_NARROW} if text else {}
    return Family("open_clip", source, config, narrow, preprocessor, exporter=exporter, preprocess_cfg=cfg, narrow_trunk=trunk, text_length=77, pad="!", seed=seed)


def mobileclip_b(name: str, xenova: bool) -> Family:
    """The same with a vision transformer behind a convolutional stem; its text tower looks back only."""
    source = f"open_clip 3.3.0, model_configs/{name}.json, and timm 1.0.31's vit_base_mci_224"
    narrow = {"embed_dim": 24, "vision_cfg": {"image_size": 32}, "text_cfg": NARROW_TEXT}
    trunk = {"stem": (8, 8, 32), "embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 32}
    preprocessor, cfg = (mobileclip_preprocessor(224), {}) if xenova else (None, MOBILECLIP_CFG)
    return Family("open_clip", source, {"open_clip": name}, narrow, preprocessor, preprocess_cfg=cfg, narrow_trunk=trunk, text_length=77, pad="!")


OPENAI = "openai/{}, config.json and preprocessor_config.json; Radford et al. 2021, table 19"
TINYCLIP = "github.com/microsoft/Cream, TinyCLIP/src/open_clip/model_configs/TinyCLIP-{}.json; layout of wkcn/TinyCLIP-{}"

FAMILIES = {
    "clip-vit-b-32": clip(OPENAI.format("clip-vit-base-patch32"), clip_config(768, 12, 32, 512, 12, 512), narrow_towers(32, 8)),
    "clip-vit-b-16": clip(OPENAI.format("clip-vit-base-patch16"), clip_config(768, 12, 16, 512, 12, 512), narrow_towers(32, 8), "dynamo"),
    "clip-vit-l-14": clip(OPENAI.format("clip-vit-large-patch14"), clip_config(1024, 24, 14, 768, 12, 768), narrow_towers(28, 7), "torchscript"),
    "clip-vit-l-14-336": clip(OPENAI.format("clip-vit-large-patch14-336"), clip_config(1024, 24, 14, 768, 12, 768, size=336), narrow_towers(42, 7), "torchscript"),
    "clip-rn50": Family(
        "open_clip", "open_clip 3.3.0, model_configs/RN50-quickgelu.json, pretrained.py's _pcfg", {"open_clip": "RN50-quickgelu"},
        {"embed_dim": 24, "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 4}, "text_cfg": NARROW_TEXT}, None,
        preprocess_cfg=CLIP_CFG, text_length=77, pad="!", seed=2,
    ),
    "openclip-vit-b-32": Family(
        "open_clip", "open_clip 3.3.0, model_configs/ViT-B-32.json, pretrained.py's _pcfg", {"open_clip": "ViT-B-32"},
        {"embed_dim": 24, "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8}, "text_cfg": NARROW_TEXT}, None,
        exporter="dynamo", preprocess_cfg=CLIP_CFG, text_length=77, pad="!",
    ),
    "tinyclip-8m-16": clip(TINYCLIP.format("ViT-8M-16-Text-3M", "ViT-8M-16-Text-3M-YFCC15M"), clip_config(256, 10, 16, 256, 3, 512, "gelu"), narrow_towers(32, 8)),
    "tinyclip-39m-16": clip(TINYCLIP.format("ViT-39M-16-Text-19M", "ViT-39M-16-Text-19M-YFCC15M"), clip_config(512, 12, 16, 512, 6, 512, "gelu"), narrow_towers(32, 8), "torchscript"),
    "tinyclip-61m-32": clip(TINYCLIP.format("ViT-61M-32-Text-29M", "ViT-61M-32-Text-29M-LAION400M"), clip_config(640, 12, 32, 512, 9, 512, "gelu"), narrow_towers(32, 8), "dynamo", seed=2),
    "mobileclip-s0": mobileclip("MobileCLIP2-S0", "fastvit_mci0", (1, 1, 1, 1), "torchscript", xenova=True, text=MCT, seed=3),
    "mobileclip-s1": mobileclip("MobileCLIP-S1", "fastvit_mci1", (1, 1, 1, 1), "torchscript", xenova=True),
    "mobileclip-s2": mobileclip("MobileCLIP-S2", "fastvit_mci2", (1, 1, 1, 1), "dynamo", xenova=True),
    "mobileclip-b": mobileclip_b("MobileCLIP-B", xenova=True),
    "mobileclip2-s0": mobileclip("MobileCLIP2-S0", "fastvit_mci0", (1, 1, 1, 1), "torchscript", xenova=False),
    "mobileclip2-s2": mobileclip("MobileCLIP2-S2", "fastvit_mci2", (1, 1, 1, 1), "dynamo", xenova=False),
    "mobileclip2-b": mobileclip_b("MobileCLIP2-B", xenova=False),
    "siglip-base-16-224": Family(
        "siglip", "google/siglip-base-patch16-224, config.json; Zhai et al. 2023", {"text_config": {**SIGLIP_TEXT, "vocab_size": 32000}, "vision_config": SIGLIP_VISION},
        narrow_towers(32, 8, vocabulary=300, dim=None), siglip_preprocessor(224), "siglip", 300, "optimum", text_length=64, pad="</s>",
    ),
    "siglip2-base-16-224": Family(
        "siglip", "google/siglip2-base-patch16-224, config.json; Tschannen et al. 2025", {"text_config": {**SIGLIP_TEXT, "vocab_size": 256000}, "vision_config": SIGLIP_VISION},
        narrow_towers(32, 8, vocabulary=420, dim=None), siglip_preprocessor(224), "gemma", 420, "dynamo", text_length=64, pad="<pad>",
    ),
    "chinese-clip-base-16": Family(
        "chinese_clip", "OFA-Sys/chinese-clip-vit-base-patch16, config.json and preprocessor_config.json; Yang et al. 2022",
        {
            "projection_dim": 512, "text_config": {"vocab_size": 21128, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
                                                   "hidden_act": "gelu", "max_position_embeddings": 512, "type_vocab_size": 2, "layer_norm_eps": 1e-12},
            "vision_config": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12, "image_size": 224, "patch_size": 16, "projection_dim": 512},
        },
        narrow_towers(32, 8, 2, 300) | {"text_config": {**narrow_towers(32, 8, 2, 300)["text_config"], "max_position_embeddings": 52}},
        CHINESE_PREPROCESSOR, "chinese_clip", 300, pad="[PAD]",
    ),
    "dinov2-small": Family(
        "dinov2", "facebook/dinov2-small, config.json and preprocessor_config.json; Oquab et al. 2023",
        {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "mlp_ratio": 4, "image_size": 518, "patch_size": 14, "hidden_act": "gelu"},
        {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "mlp_ratio": 2, "image_size": 63, "patch_size": 7},
        DINOV2_PREPROCESSOR, None,
    ),
}  # fmt: skip
