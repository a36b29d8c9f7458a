"""Trains edgeclip-mini and exports it: `python models/edgeclip-mini/train.py --data DIR --work WORK`.

DIR holds train.zip and val.zip of tiny-imagenet, one folder per wnid; WORK has what fetch.sh brings and
takes caches and checkpoints. The same command goes on from the last checkpoint. Runs on a GPU when there is one.
"""

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

import captions
import data
from augment import augment, normalise
from captions import END, PhotoClass
from curves import draw_curves
from data import DRAWN_SHARES, SHARES, Batch, Pairs
from export import export
from optimizer import optimizers
from towers import Clip, Shape, contrastive_loss
from words import LETTER_FACTS

BATCH = 256
MATRIX_RATE, RATE, WARM_UP, WEIGHT_DECAY = 0.02, 2.0e-3, 100, 0.02
SPELLING = 2.0  # weight of the letters in the loss


@dataclass(frozen=True)
class Part:
    """A cosine of the learning rate: how many batches, from which part of the peak, and what they hold.

    phases: until which part of the batches, side of the pictures, shares of the drawn sources.
    """

    steps: int
    peak: float
    phases: tuple[tuple[float, int, dict[str, float]], ...]


# The run begins with photographs alone, seen small: what they teach carries over to the rest, at half the cost.
# It ends with more drawings, at full size, when photographs have little more to teach.
PARTS = (
    Part(8500, 1.0, ((0.2, 48, {}), (0.6, 48, SHARES), (1.0, 64, SHARES))),
    Part(5500, 0.6, ((1.0, 64, DRAWN_SHARES),)),
)
STEPS = sum(part.steps for part in PARTS)
LOG_EVERY, CHECKPOINT_EVERY = 50, 250
SMOKE_STEPS, SMOKE_EVERY = 250, 40
MAX_LOG_SCALE = math.log(100.0)  # CLIP's own limit


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.zip and val.zip")
    parser.add_argument("--work", type=Path, default=Path.home() / ".cache/edgeclip-mini", help="drawings, caches and checkpoints")
    parser.add_argument("--out", type=Path, default=captions.HERE, help="where the bundle goes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help=f"{SMOKE_STEPS} batches on one picture in {SMOKE_EVERY}, to see that everything runs")
    args = parser.parse_args()
    args.steps = SMOKE_STEPS if args.smoke else STEPS
    args.every = SMOKE_EVERY if args.smoke else 1
    args.checkpoint_every = LOG_EVERY if args.smoke else CHECKPOINT_EVERY
    return args


def scheduled(step: int) -> tuple[float, int, dict[str, float]]:
    """At a step: the learning rate as a part of the peak (warm-up, then half a cosine in each part), side of the pictures, shares."""
    start = 0
    for part in PARTS:
        if step < start + part.steps:
            break
        start += part.steps
    done, warm = step - start, min(WARM_UP, part.steps // 10)
    rate = (done + 1) / warm if done < warm else 0.5 * (1 + math.cos(math.pi * (done - warm) / (part.steps - warm)))
    _, side, shares = next(phase for phase in part.phases if done < phase[0] * part.steps)
    return part.peak * rate, side, shares


@torch.no_grad()
def follow(average: Clip, model: Clip, step: int) -> None:
    """Moves the exponential average of the weights (batch statistics included) towards the model."""
    keep = min(0.998, (1 + step) / (10 + step))
    for mean, value in zip(average.state_dict().values(), model.state_dict().values()):
        if mean.dtype.is_floating_point:
            mean.lerp_(value, 1 - keep)
        else:
            mean.copy_(value)


@torch.no_grad()
def top1(model: Clip, tokenizer: Tokenizer, classes: list[PhotoClass], pixels: np.ndarray, labels: np.ndarray, side: int, device: str) -> float:
    """Zero-shot accuracy over the first name of each class, one template, at the side of picture that the phase trains."""
    model.eval()
    lines = [captions.fill(captions.PLAIN, c.names[0]) for c in classes]
    ids = torch.from_numpy(captions.token_ids(tokenizer, lines, len(model.text.positions))).to(device)
    text = F.normalize(model.text(ids), dim=-1)
    right = 0
    for start in range(0, len(pixels), 500):
        x = normalise(torch.from_numpy(np.array(pixels[start : start + 500])).to(device))
        x = x if side == x.shape[2] else F.interpolate(x, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
        right += int(((model.image(x) @ text.T).argmax(1).cpu().numpy() == labels[start : start + 500]).sum())
    return right / len(pixels)


class Training:
    """A model on its way: weights, their average, the optimisers and the draws, saved and resumed together."""

    def __init__(self, shape: Shape, end_id: int, pairs: Pairs, file: Path, device: str):
        self.shape, self.pairs, self.file, self.device = shape, pairs, file, device
        self.model, self.average = (Clip(shape, end_id, LETTER_FACTS).to(device) for _ in range(2))
        self.average.load_state_dict(self.model.state_dict())
        self.model.image = self.model.image.to(memory_format=torch.channels_last)
        self.optimizers = optimizers(self.model, MATRIX_RATE, RATE, WEIGHT_DECAY)
        self.peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]
        self.step, self.seconds = 0, 0.0
        if file.exists():
            self.resume()

    def resume(self) -> None:
        saved = torch.load(self.file, map_location=self.device, weights_only=False)
        if saved["shape"] != asdict(self.shape):
            raise SystemExit(f"{self.file} is of another shape of model; move it away to start anew")
        for name in ("model", "average"):
            getattr(self, name).load_state_dict(saved[name])
        for optimizer, state in zip(self.optimizers, saved["optimizers"]):
            optimizer.load_state_dict(state)
        self.step, self.seconds = saved["step"], saved["seconds"]
        self.pairs.rng.setstate(saved["draws"])
        self.pairs.order = saved["order"]
        torch.set_rng_state(saved["noise"].cpu())
        print(f"goes on from step {self.step}", flush=True)

    def save(self) -> None:
        """Writes the checkpoint whole or not at all."""
        state = {name: getattr(self, name).state_dict() for name in ("model", "average")}
        state |= {"optimizers": [o.state_dict() for o in self.optimizers], "shape": asdict(self.shape)}
        state |= {"step": self.step, "seconds": self.seconds}
        state |= {"draws": self.pairs.rng.getstate(), "order": self.pairs.order, "noise": torch.get_rng_state()}
        part = self.file.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.file)

    def advance(self, tokenizer: Tokenizer, rate: float, side: int, shares: dict[str, float]) -> float:
        """One step; the loss."""
        for optimizer, peaks in zip(self.optimizers, self.peaks):
            for group, peak in zip(optimizer.param_groups, peaks):
                group["lr"] = peak * rate
        batch = self.pairs.batch(BATCH, shares)
        ids = torch.from_numpy(captions.token_ids(tokenizer, batch.captions, self.shape.context_length)).to(self.device)
        loss = train_step(self.model, self.optimizers, augment(batch, side, self.device), ids, batch)
        follow(self.average, self.model, self.step)
        self.step += 1
        return loss


def train_step(model: Clip, optimizers: list[torch.optim.Optimizer], images: Tensor, ids: Tensor, batch: Batch) -> float:
    """One step of the symmetric contrastive loss; the towers in bfloat16, the loss in float."""
    model.train()
    by_length = ids.ne(0).sum(1).argsort()  # the shorter half of the captions needs no more padding than its own
    halves = [ids[rows][:, : 1 + int(ids[rows].ne(0).sum(1).max())] for rows in by_length.chunk(2)]
    with torch.autocast(images.device.type, dtype=torch.bfloat16):
        image, text, scale = model(images.to(memory_format=torch.channels_last), halves)
    text = text[by_length.argsort()]
    target, true, shown, named = (torch.from_numpy(x).to(images.device) for x in (batch.target, batch.true, batch.shown, batch.named))
    loss = contrastive_loss(scale * image @ text.T, target, true)
    # Pairs alone teach to tell words by their length; the letters teach to read.
    loss = loss + SPELLING * (model.spelling_loss(image, shown) + model.spelling_loss(text, named))
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
    with torch.no_grad():
        model.log_scale.clamp_(0, MAX_LOG_SCALE)
    return float(loss.detach())


def main() -> None:
    args = arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    shape, classes = Shape(), captions.photo_classes()
    pixels, labels = data.photos(args.data / "train.zip", classes, shape.image_size, args.work, args.every)
    val = [part[::4] for part in data.photos(args.data / "val.zip", classes, shape.image_size, args.work)]
    sources = data.drawn_sources(args.work, shape.image_size, args.seed, args.every)
    pairs = Pairs(pixels, labels, classes, sources, args.seed)
    print(f"{len(pixels)} photos, {', '.join(f'{len(facts)} {name}' for name, (_, facts) in sources.items())}, {device}", flush=True)
    tokenizer_file = args.work / "tokenizer.json"
    tokenizer = data.tokenizer(pairs, shape.vocab_size, tokenizer_file)
    training = Training(shape, tokenizer.token_to_id(END), pairs, args.work / "checkpoint.pt", device)

    began = time.monotonic() - training.seconds
    while training.step < args.steps:
        # A smoke training hurries through the same schedule.
        rate, side, shares = scheduled(training.step * STEPS // args.steps)
        loss = training.advance(tokenizer, rate, side, shares)
        training.seconds = time.monotonic() - began
        if training.step % LOG_EVERY and training.step < args.steps:
            continue
        line = {"step": training.step, "side": side, "loss": round(loss, 4), "seconds": round(training.seconds)}
        line["scale"] = round(math.exp(training.model.log_scale.item()), 2)
        if training.step % args.checkpoint_every == 0 or training.step == args.steps:
            line["val_top1"] = round(top1(training.average, tokenizer, classes, *val, side, device), 4)
            training.save()
        print(json.dumps(line), flush=True)
        with (args.work / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
    draw_curves(args.work / "log.jsonl", args.out / "curves.svg")
    export(training.average.cpu().eval(), shape, tokenizer_file, args.out)


if __name__ == "__main__":
    main()
