"""Trains edgeclip-mini and exports it: `python models/edgeclip-mini/train.py --data DIR --work DIR`.

DIR holds train.zip and val.zip of tiny-imagenet, one folder per wnid. Checkpoints go to the work
folder; the same command goes on from the last one. Runs on a GPU when there is one.
"""

import argparse
import json
import math
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

import data
from augment import augment, normalise
from data import END, Pairs, PhotoClass
from export import export
from towers import Clip, Shape, contrastive_loss

BATCH = 256
PEAK_RATE, WARM_UP, WEIGHT_DECAY = 1.0e-3, 100, 0.08
LOG_EVERY, CHECKPOINT_EVERY = 50, 250
MAX_LOG_SCALE = math.log(100.0)  # CLIP's own limit


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.zip and val.zip")
    parser.add_argument("--work", type=Path, default=Path.home() / ".cache/edgeclip-mini", help="caches and checkpoints")
    parser.add_argument("--out", type=Path, default=data.HERE, help="where the bundle goes")
    parser.add_argument("--steps", type=int, default=4000, help=f"batches of {BATCH}")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def rate(step: int, steps: int) -> float:
    """Warm-up, then half a cosine to nothing."""
    if step < WARM_UP:
        return PEAK_RATE * (step + 1) / WARM_UP
    return PEAK_RATE * 0.5 * (1 + math.cos(math.pi * (step - WARM_UP) / max(1, steps - WARM_UP)))


def optimizer(model: Clip) -> torch.optim.AdamW:
    """AdamW; gains, biases, positions, token embeddings and the temperature are not decayed."""
    decayed, plain = [], []
    for name, parameter in model.named_parameters():
        is_matrix = parameter.ndim > 1 and "positions" not in name and "tokens" not in name
        (decayed if is_matrix else plain).append(parameter)
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.98), eps=1e-6)


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
def top1(model: Clip, tokenizer: Tokenizer, classes: list[PhotoClass], pixels: np.ndarray, labels: np.ndarray, device: str) -> float:
    """Zero-shot accuracy over the first name of each class, one template."""
    model.eval()
    captions = [data.fill("a photo of {}", c.names[0]) for c in classes]
    ids = torch.from_numpy(data.token_ids(tokenizer, captions, len(model.text.positions))).to(device)
    text = F.normalize(model.text(ids), dim=-1)
    right = 0
    for start in range(0, len(pixels), 500):
        image = model.image(normalise(torch.from_numpy(np.array(pixels[start : start + 500])).to(device)))
        right += int(((image @ text.T).argmax(1).cpu().numpy() == labels[start : start + 500]).sum())
    return right / len(pixels)


class Training:
    """A model on its way: weights, their average, the optimiser and the draws, saved and resumed together."""

    def __init__(self, shape: Shape, end_id: int, pairs: Pairs, file: Path, device: str):
        self.shape, self.pairs, self.file, self.device = shape, pairs, file, device
        self.model, self.average = Clip(shape, end_id).to(device), Clip(shape, end_id).to(device)
        self.average.load_state_dict(self.model.state_dict())
        self.model.image = self.model.image.to(memory_format=torch.channels_last)
        self.adam = optimizer(self.model)
        self.step, self.seconds = 0, 0.0
        if file.exists():
            self.resume()

    def resume(self) -> None:
        saved = torch.load(self.file, map_location=self.device, weights_only=False)
        for name in ("model", "average", "adam"):
            getattr(self, name).load_state_dict(saved[name])
        self.step, self.seconds = saved["step"], saved["seconds"]
        self.pairs.rng.setstate(saved["draws"])
        self.pairs.order = saved["order"]
        torch.set_rng_state(saved["noise"].cpu())
        print(f"goes on from step {self.step}", flush=True)

    def save(self) -> None:
        """Writes the checkpoint whole or not at all."""
        state = {name: getattr(self, name).state_dict() for name in ("model", "average", "adam")}
        state |= {"step": self.step, "seconds": self.seconds, "shape": asdict(self.shape)}
        state |= {"draws": self.pairs.rng.getstate(), "order": self.pairs.order, "noise": torch.get_rng_state()}
        part = self.file.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.file)

    def batch(self, tokenizer: Tokenizer, strength: float) -> tuple[Tensor, ...]:
        """Images, token ids (captions, then one for each class), truth and class numbers."""
        samples = self.pairs.batch(BATCH)
        pixels = torch.from_numpy(np.stack([s.pixels for s in samples])).to(self.device)
        allowed = torch.tensor([(s.may_flip, s.may_crop, s.photo_class >= 0) for s in samples]).T.to(self.device)
        captions = [s.caption for s in samples] + self.pairs.class_captions()
        ids = torch.from_numpy(data.token_ids(tokenizer, captions, self.shape.context_length))
        true, kinds = torch.from_numpy(data.truth(samples)), torch.tensor([s.photo_class for s in samples])
        return augment(pixels, *allowed, strength), ids.to(self.device), true.to(self.device), kinds.to(self.device)


def main() -> None:
    args = arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    shape, classes = Shape(), data.photo_classes()
    pixels, labels = data.photos(args.data / "train.zip", classes, shape.image_size, args.work)
    val = [part[::5] for part in data.photos(args.data / "val.zip", classes, shape.image_size, args.work)]
    pairs = Pairs(pixels, labels, classes, data.emoji(96), args.seed)
    print(f"{len(pixels)} photos, {len(pairs.drawn)} emoji, {device}", flush=True)
    tokenizer_file = args.work / "tokenizer.json"
    if not tokenizer_file.exists():
        data.train_tokenizer(pairs, shape.vocab_size, tokenizer_file)
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    training = Training(shape, tokenizer.token_to_id(END), pairs, args.work / "checkpoint.pt", device)

    began = time.monotonic() - training.seconds
    while training.step < args.steps:
        for group in training.adam.param_groups:
            group["lr"] = rate(training.step, args.steps)
        # Full windows come back towards the end, since that is what the model will see.
        strength = 0.9 if training.step < 0.85 * args.steps else 0.5
        loss = train_step(training.model, training.adam, *training.batch(tokenizer, strength))
        follow(training.average, training.model, training.step)
        training.step += 1
        training.seconds = time.monotonic() - began
        if training.step % LOG_EVERY and training.step < args.steps:
            continue
        line = {"step": training.step, "loss": round(loss, 4), "seconds": round(training.seconds)}
        line["scale"] = round(math.exp(training.model.log_scale.item()), 2)
        if training.step % CHECKPOINT_EVERY == 0 or training.step == args.steps:
            line["val_top1"] = round(top1(training.average, tokenizer, classes, *val, device), 4)
            training.save()
        print(json.dumps(line), flush=True)
        with (args.work / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
    export(training.average.cpu().eval(), shape, tokenizer_file, args.out)


def train_step(model: Clip, adam: torch.optim.Optimizer, images: Tensor, ids: Tensor, true: Tensor, kinds: Tensor) -> float:
    """One step of the symmetric contrastive loss; the towers in bfloat16, the loss in float.

    ids: the captions of the n pairs, then one caption for each photo class. Photographs (kinds >= 0)
    are also told apart from every class, not only from those that the batch happens to hold.
    """
    model.train()
    n = len(images)
    with torch.autocast(images.device.type, dtype=torch.bfloat16):
        image, text, scale = model(images.to(memory_format=torch.channels_last), ids)
    logits = scale * image @ text.T
    loss = contrastive_loss(logits[:, :n], true) + F.cross_entropy(logits[:, n:], kinds, ignore_index=-1)
    adam.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    adam.step()
    with torch.no_grad():
        model.log_scale.clamp_(0, MAX_LOG_SCALE)
    return float(loss.detach())


if __name__ == "__main__":
    main()
