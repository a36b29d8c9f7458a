"""Batched augmentation in torch: what a printer and a camera do to a picture."""


import torch
from torch import Tensor
from torch.nn import functional as F

from data import TREATMENTS, Batch, Treatment

MEAN = torch.tensor((0.48145466, 0.4578275, 0.40821073)).view(1, 3, 1, 1)
STD = torch.tensor((0.26862954, 0.26130258, 0.27577711)).view(1, 3, 1, 1)


def uniform(x: Tensor, low: float, high: float) -> Tensor:
    """One number for each picture of the batch."""
    return torch.empty(len(x), 1, 1, 1, device=x.device).uniform_(low, high)


def sometimes(x: Tensor, chance: float | Tensor) -> Tensor:
    """True for some pictures of the batch."""
    return torch.rand(len(x), 1, 1, 1, device=x.device) < chance


def grounds(x: Tensor, side: int) -> Tensor:
    """Something behind a card or a cut-out drawing, [n, 3, side, side]: white, plain, shaded, or a blurred photograph."""
    n, on = len(x), x.device
    patches = torch.rand(n, 3, 2, 2, device=on)
    plain = torch.rand(n, 3, 1, 1, device=on)
    patches = torch.where(sometimes(x, 0.5), plain, torch.lerp(plain, patches, uniform(x, 0.1, 0.8)))
    patches = torch.where(sometimes(x, 0.3), 1.0, patches)
    smooth = F.interpolate(patches, size=(side, side), mode="bilinear", align_corners=True)
    blurred = F.interpolate(F.adaptive_avg_pool2d(x[:, :3].roll(1, 0), 6), size=(side, side), mode="bilinear", align_corners=False)
    return torch.where(sometimes(x, 0.2), blurred, smooth)


def view(n: int, how: Treatment, may_flip: Tensor, card: Tensor) -> Tensor:
    """Where each output point [-1, 1]^2 lies on the picture: [n, 3, 3], for (x, y, 1) up to a divisor.

    Cards and cut-outs are placed whole, turned and tilted; the rest is cut to a window.
    """
    on = may_flip.device

    def spread(low: float, high: float) -> Tensor:
        return torch.empty(n, device=on).uniform_(low, high)

    stretch = spread(-0.12, 0.12).exp()
    least = how.card_least if not how.cut_out else 0.5
    scale = torch.where(card, spread(how.card_least, 0.95), spread(least, 1.0))
    whole = card | torch.tensor(how.cut_out, device=on)
    zoom = torch.where(whole, 1 / scale, (1 - torch.rand(n, device=on) * how.crop).sqrt())
    sx, sy = zoom * stretch, zoom / stretch
    sx, sy = (torch.where(whole, s, s.clamp(max=1.0)) for s in (sx, sy))
    # A window moves within the picture, a card within the frame and a little beyond.
    shift_x, shift_y = (spread(-1, 1) * torch.where(whole, (s - 1).clamp(min=0) + 0.05, 1 - s) for s in (sx, sy))
    turn = torch.randn(n, device=on) * torch.where(card, 0.16, torch.where(whole, 0.1, 0.05))
    mirror = torch.where(may_flip & (torch.rand(n, device=on) < 0.5), -1.0, 1.0)
    tilt = torch.randn(2, n, device=on) * torch.where(card, 0.12, 0.05)
    cos, sin = turn.cos(), turn.sin()
    rows = [
        torch.stack([mirror * sx * cos, -mirror * sx * sin, mirror * shift_x], 1),
        torch.stack([sy * sin, sy * cos, shift_y], 1),
        torch.stack([*tilt.clamp(-0.25, 0.25), torch.ones(n, device=on)], 1),
    ]
    return torch.stack(rows, 1)


def redraw(x: Tensor, may_recolour: Tensor) -> Tensor:
    """Cut-out drawings [n, 4, h, w] by other hands: some with a black outline, some in flat or other colours, some as line art."""
    colour, alpha = x[:, :3], x[:, 3:]
    # Hue: a turn around the grey axis, by Rodrigues' formula.
    angle = torch.randn(len(x), 1, 1, 1, device=x.device) * 0.5
    cross = torch.stack([colour[:, 2] - colour[:, 1], colour[:, 0] - colour[:, 2], colour[:, 1] - colour[:, 0]], 1) / 3**0.5
    turned = colour * angle.cos() + cross * angle.sin() + colour.mean(1, keepdim=True) * (1 - angle.cos())
    colour = torch.where(sometimes(x, 0.4) & may_recolour.view(-1, 1, 1, 1), turned.clamp(0, 1), colour)
    levels = torch.randint(2, 6, (len(x), 1, 1, 1), device=x.device)
    colour = torch.where(sometimes(x, 0.3), (colour * levels).round() / levels, colour)
    # Edges of colour and of the silhouette, a pixel or two wide.
    flat = torch.cat([colour * alpha, alpha], 1)
    wide = F.max_pool2d(flat, 3, 1, 1) + F.max_pool2d(-flat, 3, 1, 1)
    edge = ((wide.amax(1, keepdim=True) - uniform(x, 0.15, 0.5)) * 6).clamp(0, 1)
    line_art = torch.where(sometimes(x, 0.15) & may_recolour.view(-1, 1, 1, 1), 1.0, colour)
    outlined = line_art * (1 - edge) + edge * uniform(x, 0.0, 0.15)
    return torch.where(sometimes(x, 0.5), torch.cat([outlined, torch.maximum(alpha, edge)], 1), torch.cat([colour, alpha], 1))


def show(x: Tensor, how: Treatment, may_flip: Tensor, side: int) -> Tensor:
    """[n, 3 or 4, h, w] in 0..1 -> [n, 3, side, side]: windows, cut-outs on a ground, cards on a table."""
    n = len(x)
    card = torch.rand(n, device=x.device) < how.card
    axis = (torch.arange(side, device=x.device) * 2 + 1) / side - 1
    points = torch.stack([*torch.meshgrid(axis, axis, indexing="xy"), torch.ones(side, side, device=x.device)], -1).view(-1, 3)
    at = points @ view(n, how, may_flip, card).transpose(1, 2)
    at = (at[..., :2] / at[..., 2:]).view(n, side, side, 2)
    seen = F.grid_sample(x, at, mode="bilinear", padding_mode="zeros" if how.cut_out else "reflection", align_corners=False)
    if not (how.cut_out or how.card):
        return seen
    card = card.view(-1, 1, 1, 1)
    far = at.abs().amax(-1).unsqueeze(1)
    ground = grounds(x, side)
    margin = 1 + uniform(x, 0.0, 0.3)
    paper = torch.where(sometimes(x, 0.2), uniform(x, 0.02, 0.2), uniform(x, 0.85, 1.0))
    behind = torch.where(card & (far < margin), paper, ground)
    opaque = seen[:, 3:] if how.cut_out else ((far < 1) | ~card).to(seen.dtype)
    picture = seen[:, :3] * opaque + behind * (1 - opaque)
    # Light falls across a card.
    slope = torch.randn(n, 2, 1, 1, device=x.device) * 0.18
    light = 1 + (slope * points[:, :2].T.reshape(1, 2, side, side)).sum(1, keepdim=True)
    return torch.where(card, picture * light * uniform(x, 0.55, 1.1), picture)


def recolour(x: Tensor, strength: float) -> Tensor:
    """Brightness, contrast, saturation, colour temperature and gamma of some pictures, mild enough to keep colour names true."""
    untouched = x
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (1 + strength * uniform(x, -0.4, 0.4))
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * (1 + strength * uniform(x, -0.4, 0.3)) + mean
    x = x * (1 + torch.randn(len(x), 3, 1, 1, device=x.device) * 0.06 * strength) * (1 + uniform(x, -0.35, 0.25) * max(strength, 0.6))
    return torch.where(sometimes(x, 0.35), x.clamp(1e-4, 1).pow((strength * uniform(x, -0.25, 0.25)).exp()), untouched)


def degrade(x: Tensor) -> Tensor:
    """Lost detail and sensor noise on some of the pictures."""
    h, w = x.shape[2:]
    coarse = F.interpolate(F.interpolate(x, scale_factor=0.5, mode="area"), size=(h, w), mode="bilinear", align_corners=False)
    x = torch.where(sometimes(x, 0.1), torch.lerp(x, coarse, uniform(x, 0.3, 0.9)), x)
    return x + torch.randn_like(x) * uniform(x, 0.0, 0.06) * sometimes(x, 0.2)


def normalise(pixels: Tensor) -> Tensor:
    """u8 [n, h, w, 3] -> f32 [n, 3, h, w] with CLIP's mean and deviation."""
    return (pixels.permute(0, 3, 1, 2).float() / 255 - MEAN.to(pixels.device)) / STD.to(pixels.device)


def augment(batch: Batch, side: int, device: str) -> Tensor:
    """The batch's pictures as a camera might see them, f32 [n, 3, side, side], normalised, in the batch's order."""
    parts, start = [], 0
    for name, pixels in batch.pictures.items():
        how, x = TREATMENTS[name], torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() / 255
        may_flip, may_recolour = (torch.from_numpy(may[start : start + len(pixels)]).to(device) for may in (batch.may_flip, batch.may_recolour))
        x = redraw(x, may_recolour) if how.cut_out else x
        parts.append(recolour(show(x, how, may_flip, side), how.colour))
        start += len(pixels)
    x = degrade(torch.cat(parts))
    return (x.clamp(0, 1) - MEAN.to(x.device)) / STD.to(x.device)
