"""Batched augmentation in torch: what a camera does to a picture."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

MEAN = torch.tensor((0.48145466, 0.4578275, 0.40821073)).view(1, 3, 1, 1)
STD = torch.tensor((0.26862954, 0.26130258, 0.27577711)).view(1, 3, 1, 1)


def uniform(x: Tensor, low: float, high: float) -> Tensor:
    """One number for each picture of the batch."""
    return torch.empty(len(x), 1, 1, 1, device=x.device).uniform_(low, high)


def sometimes(x: Tensor, chance: float) -> Tensor:
    """True for some pictures of the batch."""
    return torch.rand(len(x), 1, 1, 1, device=x.device) < chance


def warp(x: Tensor, may_flip: Tensor, may_crop: Tensor, smallest: float) -> Tensor:
    """Random window of at least `smallest` of the area (nearly all of it where nothing may be cut off), turned, tilted, mirrored."""
    n, on = len(x), {"device": x.device}
    zoom = (1 - torch.rand(n, **on) * torch.where(may_crop, 1 - smallest, 0.15)).sqrt()
    stretch = torch.empty(n, **on).uniform_(math.log(0.8), math.log(1.25)).exp().sqrt()
    sx, sy = (zoom * stretch).clamp(max=1.0), (zoom / stretch).clamp(max=1.0)
    flip = torch.where(may_flip & (torch.rand(n, **on) < 0.5), -1.0, 1.0)
    turn = torch.randn(n, **on) * torch.where(may_crop, 0.1, 0.05)
    shift_x, shift_y = ((torch.rand(n, **on) * 2 - 1) * (1 - s) for s in (sx, sy))
    cos, sin = turn.cos(), turn.sin()
    affine = torch.stack([torch.stack([sx * cos * flip, -sy * sin, shift_x], 1), torch.stack([sx * sin * flip, sy * cos, shift_y], 1)], 1)
    grid = F.affine_grid(affine, list(x.shape), align_corners=False)
    tilt = (torch.randn(n, 1, 1, 2, **on) * 0.06 * grid).sum(-1, keepdim=True) + 1
    return F.grid_sample(x, grid / tilt.clamp(min=0.7), mode="bilinear", padding_mode="reflection", align_corners=False)


def recolour(x: Tensor, may_grey: Tensor) -> Tensor:
    """Brightness, contrast, saturation, colour temperature and gamma of some pictures, mild enough to keep colour names true."""
    untouched = x
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * torch.where(sometimes(x, 0.04) & may_grey.view(-1, 1, 1, 1), 0.0, uniform(x, 0.6, 1.4))
    x = (x - x.mean((1, 2, 3), keepdim=True)) * uniform(x, 0.6, 1.3) + x.mean((1, 2, 3), keepdim=True)
    x = x * (1 + torch.randn(len(x), 3, 1, 1, device=x.device) * 0.06) * uniform(x, 0.65, 1.3)
    return torch.where(sometimes(x, 0.4), x.clamp(1e-4, 1).pow(uniform(x, -0.25, 0.25).exp()), untouched)


def degrade(x: Tensor) -> Tensor:
    """Lost detail and sensor noise on some of the pictures."""
    h, w = x.shape[2:]
    coarse = F.interpolate(F.interpolate(x, scale_factor=0.5, mode="area"), size=(h, w), mode="bilinear", align_corners=False)
    x = torch.where(sometimes(x, 0.12), torch.lerp(x, coarse, uniform(x, 0.3, 1.0)), x)
    return x + torch.randn_like(x) * uniform(x, 0.0, 0.05) * sometimes(x, 0.25)


def normalise(pixels: Tensor) -> Tensor:
    """u8 [n, h, w, 3] -> f32 [n, 3, h, w] with CLIP's mean and deviation."""
    return (pixels.permute(0, 3, 1, 2).float() / 255 - MEAN.to(pixels.device)) / STD.to(pixels.device)


def augment(pixels: Tensor, may_flip: Tensor, may_crop: Tensor, may_grey: Tensor, strength: float) -> Tensor:
    """u8 [n, h, w, 3] -> f32 [n, 3, h, w], normalised; strength 0..1 sets how small a window may be."""
    x = warp(pixels.permute(0, 3, 1, 2).float() / 255, may_flip, may_crop, 1.0 - 0.42 * strength)
    x = degrade(recolour(x, may_grey))
    return (x.clamp(0, 1) - MEAN.to(x.device)) / STD.to(x.device)
