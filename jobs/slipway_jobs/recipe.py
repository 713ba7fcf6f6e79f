"""The recipe: optimizer, learning rate, order of the rows and augmentation, each a function of the step.

Order and augmentation are drawn from (seed, epoch, step, rank) and not from a running generator, so a run that
goes on from step n does exactly what an undisturbed one does.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler

from slipway.contract.config import Hyperparameters
from slipway_jobs.dataset import channel_axis
from slipway_jobs.failure import InvalidConfig


def optimizer(model: nn.Module, told: Hyperparameters) -> Optimizer:
    if told.optimizer == "SGD":
        return torch.optim.SGD(
            model.parameters(),
            lr=told.learning_rate,
            momentum=told.momentum,
            weight_decay=told.weight_decay,
            nesterov=told.momentum > 0,
        )
    return torch.optim.AdamW(model.parameters(), lr=told.learning_rate, weight_decay=told.weight_decay)


def schedule(optim: Optimizer, told: Hyperparameters, total_steps: int) -> lr_scheduler.LRScheduler:
    """Stepped after every step of the optimizer."""
    if told.schedule == "OneCycle":
        return lr_scheduler.OneCycleLR(optim, told.learning_rate, total_steps=total_steps)
    if told.schedule == "Cosine":
        return lr_scheduler.CosineAnnealingLR(optim, T_max=total_steps)
    return lr_scheduler.ConstantLR(optim, factor=1.0, total_iters=0)


def order(rows: int, seed: int, epoch: int, world: int) -> NDArray[np.int64]:
    """The rows of an epoch; wrapped round so that every process gets as many."""
    drawn = np.random.default_rng((seed, epoch)).permutation(rows)
    spare = -rows % world
    return np.concatenate([drawn, drawn[:spare]])


def check_augmentation(steps: list[dict[str, dict[str, Any]]]) -> None:
    for number, step in enumerate(steps):
        if set(step) != {"randomHorizontalFlip"}:
            raise InvalidConfig(
                f"augmentation[{number}] is {', '.join(step)}; allowed is randomHorizontalFlip."
            )
        chance = step["randomHorizontalFlip"].get("probability", 0.5)
        if not 0 <= chance <= 1:
            raise InvalidConfig(
                f"augmentation[{number}].randomHorizontalFlip.probability is {chance}; from 0 to 1."
            )


def augment(
    raw: Tensor, shape: list[int], steps: list[dict[str, dict[str, Any]]], place: tuple[int, ...]
) -> Tensor:
    """The raw rows of one step as the network is to see them."""
    if not steps:
        return raw
    rng = np.random.default_rng(place)
    across = 2 if channel_axis(shape) in (None, 2) else 3  # the width in [n, h, w(, c)] and in [n, c, h, w]
    for step in steps:
        chance = step["randomHorizontalFlip"].get("probability", 0.5)
        flipped = torch.from_numpy(rng.random(len(raw)) < chance).to(raw.device)
        raw = torch.where(flipped.view(-1, *[1] * (raw.ndim - 1)), raw.flip(across), raw)
    return raw
