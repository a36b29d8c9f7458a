"""Seeded random weights under which a tower of any family tells pictures (and texts) apart, as a trained one does."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

SEED = 1
# Weights this much wider than what keeps activations as they are: with less, the residual path drowns
# what a picture adds to it, and all pictures have one embedding.
GAIN = 1.8
# What a branch is worth beside its residual, where a tower scales it (the last norm of a residual block does): training begins with 1e-5 (timm's FastViT).
LAYER_SCALE = 0.3
# The same in convolutions of true depth, where dozens of branches follow each other: of 0.3, 0.2 and 0.15 the first at which
# MobileCLIP-S2 is within models/support.py's limit in int8.
DEEP_LAYER_SCALE = 0.15
# Deviations of the embeddings of words, and of positions and pooling tokens, which all inputs share.
TOKEN, POSITION = 0.5, 0.1
# Directions that are damped in the last layers at a time, and how often.
SHARED, ROUNDS = 6, 4
# Largest cosine between two different pictures, or texts: what is aimed at, and what is allowed.
ALIKE_WANTED, ALIKE_MAX = 0.85, 0.9
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


def pictures(count: int, size: int, seed: int = SEED) -> Tensor:
    """[count, 3, size, size], about normalised: noise of four sizes of blotches, brightnesses, contrasts and tints."""
    noise = torch.Generator().manual_seed(seed)
    sides = [round(2 * (size / 4) ** (step / 3)) for step in range(4)]
    grown = [interpolate(torch.randn(1, 3, sides[index % 4], sides[index % 4], generator=noise), size, mode="bicubic") for index in range(count)]
    return torch.cat(grown) + 0.7 * torch.randn(count, 3, 1, 1, generator=noise)


@torch.no_grad()
def randomise(tower: nn.Module, seed: int = SEED) -> None:
    """Normal weights by their fan-in; gains, biases and layer scales near what trained ones are."""
    noise = torch.Generator().manual_seed(seed)
    norms = {id(parameter) for module in tower.modules() if isinstance(module, NORMS) for parameter in module.parameters(recurse=False)}
    tables = {id(module.weight) for module in tower.modules() if isinstance(module, nn.Embedding)}
    for name, parameter in tower.named_parameters():
        values = torch.randn(parameter.shape, generator=noise)
        narrow = parameter.squeeze().ndim < 2
        if name.endswith(("logit_scale", "logit_bias")):
            continue
        if narrow and is_branch(name):
            parameter.copy_(LAYER_SCALE * (1 + 0.2 * values))
        elif not name.endswith("bias") and id(parameter) in norms:
            parameter.copy_(1 + 0.2 * values)
        elif any(word in name for word in ("pos", "type", "cls_token", "class_emb")):
            parameter.copy_(POSITION * values)
        elif id(parameter) in tables or "probe" in name:
            parameter.copy_(TOKEN * values)
        elif narrow:
            parameter.copy_(0.1 * values)
        else:
            parameter.copy_(GAIN * parameter[0].numel() ** -0.5 * values)


def is_branch(name: str) -> bool:
    """Whether a parameter of this name says what a branch is worth."""
    return any(word in name for word in ("gamma", "layer_scale", "lambda")) or "layer" in name and name.endswith(".bn3.weight")


@torch.no_grad()
def calm(tower: nn.Module) -> None:
    """A tower of true depth with batch norms such that rounding does not grow as much on its way through: without GAIN in
    the convolutions, and the attention between them, since the norms keep a picture from drowning; and with quieter branches."""
    if not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in tower.modules()):
        return
    for name, parameter in tower.named_parameters():
        if parameter.squeeze().ndim < 2 and is_branch(name):
            parameter *= DEEP_LAYER_SCALE / LAYER_SCALE
    for name, module in tower.named_modules():
        if isinstance(module, nn.Conv2d) or isinstance(module, nn.Linear) and "token_mixer" in name:
            module.weight /= GAIN


@torch.no_grad()
def settle(tower: nn.Module, run: Callable[[], object]) -> None:
    """Batch norms take the statistics of what `run` puts through, so that deep convolutions neither vanish nor explode."""
    norms = [module for module in tower.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    if norms:
        run()
    for norm in norms:
        norm.eval()
        norm.momentum = 0.1


@torch.no_grad()
def spread(embed: Callable[[], Tensor], layers: list[tuple[Tensor | None, Tensor | None]], wholly: bool = False) -> Tensor:
    """Damps in a tower's last layers what all of the embeddings [n, d] share: in random towers that is most of one, and would hide how little two differ.

    `layers` are the weights [d, width] and biases [d] whose sum the embedding is; a weight of None takes the mean off the bias alone.
    Damps `wholly`, or no more than brings the largest cosine to ALIKE_WANTED: a product's rounding does not shrink with what is damped,
    so that embeddings driven apart show many times as much noise. Gives the embeddings as they are then.
    """
    for _ in range(ROUNDS):
        rows = embed()
        if alike(rows) < ALIKE_WANTED:
            return rows
        # The few directions that hold most of it, the mean among them, become as strong as the next.
        _, strengths, directions = torch.linalg.svd(normalize(rows), full_matrices=False)
        taken = directions[:SHARED] * (1 - strengths[SHARED] / strengths[:SHARED]).sqrt()[:, None]
        moved = rows.mean(0).expand_as(rows) if layers[0][0] is None else rows @ taken.T @ taken
        strength = 1.0 if wholly else enough(rows, moved)
        for weight, bias in layers:
            if weight is None:
                bias -= strength * rows.mean(0)
                continue
            for values in (weight, bias):
                if values is not None:
                    values -= strength * (taken.T @ (taken @ values))
    return embed()


def enough(rows: Tensor, moved: Tensor) -> float:
    """How much of `moved` to take off `rows` for a largest cosine just below ALIKE_WANTED: 1, where all of it is too little."""
    low, high = 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (low, middle) if alike(rows - middle * moved) < ALIKE_WANTED else (middle, high)
    return high


def alike(embeddings: Tensor) -> float:
    """The largest cosine between two rows."""
    rows = normalize(embeddings)
    return float((rows @ rows.T - 2 * torch.eye(len(rows))).max())
