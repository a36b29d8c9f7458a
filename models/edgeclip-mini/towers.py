"""The two towers of edgeclip-mini, in CLIP's shapes (Radford et al. 2021, arXiv:2103.00020).

The image tower is a small residual network (He et al. 2016, arXiv:1512.03385) with a pre-norm transformer
on its last grid; the text tower is a causal pre-norm transformer, pooled at the end token.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    """Sizes that fix a model; a checkpoint of one shape does not load into another."""

    image_size: int = 64
    stem_width: int = 32
    stage_widths: tuple[int, ...] = (64, 128, 256)  # each stage halves the grid
    stage_blocks: tuple[int, ...] = (1, 2, 2)
    image_layers: int = 1
    text_width: int = 192
    text_layers: int = 3
    vocab_size: int = 2048
    context_length: int = 32  # tokens, begin and end included
    head_width: int = 64
    embedding_dim: int = 256


class Attention(nn.Module):
    """Multi-head self-attention, [n, tokens, width] -> [n, tokens, width]."""

    def __init__(self, width: int, head_width: int):
        super().__init__()
        self.heads = width // head_width
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).view(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        logits = (q * (width // self.heads) ** -0.5) @ k.transpose(-2, -1)
        if mask is not None:
            logits = logits + mask
        return self.out((logits.softmax(-1) @ v).transpose(1, 2).reshape(n, tokens, width))


class Block(nn.Module):
    """Residual attention block: x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, width: int, head_width: int):
        super().__init__()
        self.norm_1 = nn.LayerNorm(width)
        self.attention = Attention(width, head_width)
        self.norm_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = x + self.attention(self.norm_1(x), mask)
        return x + self.mlp(self.norm_2(x))


def initialise(blocks: nn.ModuleList, width: int) -> None:
    """CLIP's initial weights: no biases, and residual paths that start small."""
    for block in blocks:
        for layer, deviation in [
            (block.attention.qkv, width**-0.5),
            (block.attention.out, (2 * len(blocks) * width) ** -0.5),
            (block.mlp[0], (2 * width) ** -0.5),
            (block.mlp[2], (2 * len(blocks) * width) ** -0.5),
        ]:
            nn.init.normal_(layer.weight, std=deviation)
            nn.init.zeros_(layer.bias)


class Projection(nn.Sequential):
    """To the shared space. The batch norm keeps the embeddings from crowding into one direction, where
    a young model learns next to nothing; the export folds it into the projection."""

    def __init__(self, width: int, embedding_dim: int):
        super().__init__(nn.Linear(width, embedding_dim, bias=False), nn.BatchNorm1d(embedding_dim, affine=False))
        nn.init.normal_(self[0].weight, std=width**-0.5)

    def folded(self) -> nn.Linear:
        """The same function in one layer, by the norm's running statistics."""
        linear, norm = self
        gain = (norm.running_var + norm.eps).rsqrt()
        layer = nn.Linear(linear.in_features, linear.out_features)
        layer.weight.data = linear.weight.data * gain[:, None]
        layer.bias.data = -norm.running_mean * gain
        return layer


class ConvNorm(nn.Sequential):
    """Convolution and batch norm; the export folds the norm into the convolution."""

    def __init__(self, inputs: int, outputs: int, side: int, stride: int):
        super().__init__(nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False), nn.BatchNorm2d(outputs))


class ConvBlock(nn.Module):
    """Two 3x3 convolutions with a residual path, which is averaged and widened where the grid is halved."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.first = ConvNorm(inputs, outputs, 3, stride)
        self.second = ConvNorm(outputs, outputs, 3, 1)
        nn.init.zeros_(self.second[1].weight)  # a block starts as its residual path
        same = stride == 1 and inputs == outputs
        self.past = nn.Identity() if same else nn.Sequential(nn.AvgPool2d(stride), ConvNorm(inputs, outputs, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.past(x) + self.second(F.relu(self.first(x))))


class ImageTower(nn.Module):
    """pixel_values [n, 3, h, w] -> image_embeds [n, embedding_dim], not normalised."""

    def __init__(self, shape: Shape):
        super().__init__()
        inputs, width = shape.stem_width, shape.stage_widths[-1]
        convolutions: list[nn.Module] = [ConvNorm(3, inputs, 3, 2), nn.ReLU()]
        for outputs, blocks in zip(shape.stage_widths, shape.stage_blocks, strict=True):
            for number in range(blocks):
                convolutions.append(ConvBlock(inputs, outputs, 2 if number == 0 else 1))
                inputs = outputs
        self.convolutions = nn.Sequential(*convolutions)
        self.side = shape.image_size // 2 ** (1 + len(shape.stage_widths))
        self.positions = nn.Parameter(torch.randn(1, self.side**2, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, shape.head_width) for _ in range(shape.image_layers))
        self.norm = nn.LayerNorm(width)
        self.projection = Projection(width, shape.embedding_dim)
        initialise(self.blocks, width)

    def positions_at(self, side: int) -> Tensor:
        """The learned positions [1, side * side, width], interpolated where a training step sees smaller pictures."""
        if side == self.side:
            return self.positions
        grid = self.positions.view(1, self.side, self.side, -1).permute(0, 3, 1, 2)
        return F.interpolate(grid, size=(side, side), mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)

    def forward(self, pixel_values: Tensor) -> Tensor:
        x = self.convolutions(pixel_values)
        x = x.flatten(2).transpose(1, 2) + self.positions_at(int(x.shape[2]))
        for block in self.blocks:
            x = block(x)
        # The mean over patches learns faster than a class token (Beyer et al. 2022, arXiv:2205.01580).
        return self.projection(self.norm(x.mean(1)))


class TextTower(nn.Module):
    """input_ids [n, l] (one end token a row) -> text_embeds [n, embedding_dim], not normalised."""

    def __init__(self, shape: Shape, end_id: int):
        super().__init__()
        self.end_id = end_id
        self.tokens = nn.Embedding(shape.vocab_size, shape.text_width)
        nn.init.normal_(self.tokens.weight, std=0.02)
        self.positions = nn.Parameter(torch.randn(shape.context_length, shape.text_width) * 0.01)
        mask = torch.full((shape.context_length, shape.context_length), -1e4).triu(1)
        self.register_buffer("mask", mask, persistent=False)
        self.blocks = nn.ModuleList(Block(shape.text_width, shape.head_width) for _ in range(shape.text_layers))
        self.norm = nn.LayerNorm(shape.text_width)
        self.projection = Projection(shape.text_width, shape.embedding_dim)
        initialise(self.blocks, shape.text_width)

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.projection(self.pooled(input_ids))

    def pooled(self, input_ids: Tensor) -> Tensor:
        """The normed state at the end token, [n, text_width]."""
        length = input_ids.shape[1]
        x = self.tokens(input_ids) + self.positions[:length]
        for block in self.blocks:
            x = block(x, self.mask[:length, :length])
        # One end token a row, so its one-hot row picks it out of the sequence.
        at_end = (input_ids == self.end_id).to(x.dtype).unsqueeze(1)
        return self.norm((at_end @ x).squeeze(1))


class Clip(nn.Module):
    """Both towers and the learned temperature, kept as its logarithm.

    The speller, for training alone, says from an embedding of either kind which letters it stands for (`letter_facts`).
    """

    def __init__(self, shape: Shape, end_id: int, letter_facts: int):
        super().__init__()
        self.image = ImageTower(shape)
        self.text = TextTower(shape, end_id)
        self.log_scale = nn.Parameter(torch.tensor(1 / 0.07).log())
        self.speller = nn.Linear(shape.embedding_dim, letter_facts)

    def spelling_loss(self, embeddings: Tensor, letters: Tensor) -> Tensor:
        """Mean cross-entropy of what the speller reads off unit embeddings [n, embedding_dim]; letters [n, letter_facts], rows of -1 left out."""
        written = letters[:, 0] >= 0
        read = self.speller(embeddings[written] * embeddings.shape[1] ** 0.5)
        return F.binary_cross_entropy_with_logits(read, letters[written]) if written.any() else read.sum()

    def forward(self, pixel_values: Tensor, input_ids: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised embeddings and exp(log_scale); captions may come as several tensors, each padded to its own length."""
        image = F.normalize(self.image(pixel_values).float(), dim=-1)
        pooled = torch.cat([self.text.pooled(ids) for ids in input_ids])
        return image, F.normalize(self.text.projection(pooled).float(), dim=-1), self.log_scale.exp()


def contrastive_loss(logits: Tensor, target: Tensor, true: Tensor) -> Tensor:
    """CLIP's symmetric cross-entropy for captions that pictures may share, without the false negatives.

    logits, true: [pictures, captions]; target [pictures]: the number of each picture's own caption.
    Each picture is told apart by all captions, each picture's caption by all pictures; what is also true
    of a picture ("an animal" of a cat, "a cat" of another cat) is left out of its sum.
    """
    others = true.scatter(1, target[:, None], False)
    by_picture = F.cross_entropy(logits.masked_fill(others, -torch.inf), target)
    own = torch.arange(len(logits), device=logits.device)
    also_true = true[:, target].T & (own[:, None] != own)
    by_caption = F.cross_entropy(logits[:, target].T.masked_fill(also_true, -torch.inf), own)
    return (by_picture + by_caption) / 2
