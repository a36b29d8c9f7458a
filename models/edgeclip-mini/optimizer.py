"""Muon for the matrices (Jordan et al. 2024, kellerjordan.github.io/posts/muon), AdamW for the rest."""

import torch
from torch import Tensor, nn


def orthogonal(gradient: Tensor) -> Tensor:
    """Near the closest semi-orthogonal matrix, by five Newton-Schulz steps with Jordan's coefficients."""
    x = gradient.flatten(1).bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * (gram @ gram)) @ x
    return (x.T if tall else x).to(gradient.dtype).view_as(gradient)


class Muon(torch.optim.Optimizer):
    """Momentum whose every step is made orthogonal, so that no direction of a matrix dominates; filters count as rows."""

    def __init__(self, parameters: list[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.0):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                trail = self.state[p].setdefault("trail", torch.zeros_like(p))
                trail.mul_(group["momentum"]).add_(p.grad)
                update = orthogonal(p.grad + group["momentum"] * trail)
                rows_by_columns = len(p) / (p.numel() / len(p))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * max(1.0, rows_by_columns) ** 0.5)


def optimizers(model: nn.Module, matrix_rate: float, rate: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Muon for weights inside the towers; AdamW for the first convolution, embeddings, positions, gains, biases and the temperature."""
    matrices, rest = [], []
    for name, parameter in model.named_parameters():
        is_inside = parameter.ndim > 1 and parameter.shape[1] != 3 and "positions" not in name and "tokens" not in name
        (matrices if is_inside else rest).append(parameter)
    return [Muon(matrices, lr=matrix_rate, weight_decay=weight_decay), torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.0)]
