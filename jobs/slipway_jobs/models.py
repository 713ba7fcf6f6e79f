"""Built-in architectures, small enough to train on a CPU: what TrainingRun.spec.model names."""

from typing import Any

import torch
from torch import Tensor, nn

from slipway.contract.config import Architecture
from slipway_jobs.dataset import channel_axis
from slipway_jobs.failure import InvalidConfig
from slipway_jobs.preprocess import Preprocess


class Classifier(nn.Module):
    """What is trained, exported and served: preprocessing and network in one."""

    def __init__(self, preprocess: Preprocess, network: nn.Module) -> None:
        super().__init__()
        self.preprocess = preprocess
        self.network = network

    def forward(self, raw: Tensor) -> Tensor:
        logits: Tensor = self.network(self.preprocess(raw))
        return logits


def build(
    architecture: Architecture, shape: list[int], steps: list[dict[str, dict[str, Any]]], classes: int
) -> Classifier:
    axis = channel_axis(shape)
    if len(shape) not in (2, 3):
        raise InvalidConfig(
            f"The dataset's rows have shape {shape}; cnn and resnet take images, [h, w] or 3 numbers."
        )
    channels = 1 if axis is None else shape[axis]
    if (architecture.resnet is None) == (architecture.cnn is None):
        raise InvalidConfig("set exactly one of model.cnn and model.resnet.")
    network = (
        resnet(channels, classes, **_options("resnet", architecture.resnet))
        if architecture.resnet is not None
        else cnn(channels, classes, **_options("cnn", architecture.cnn or {}))
    )
    return Classifier(Preprocess(shape, steps), network)


def _options(name: str, told: dict[str, Any]) -> dict[str, Any]:
    """width and blocks, checked."""
    width, blocks = told.get("width", 32), told.get("blocks", [1, 1, 1])
    if isinstance(blocks, int):
        blocks = [1] * blocks
    if set(told) - {"width", "blocks"}:
        raise InvalidConfig(f"model.{name} has {', '.join(sorted(told))}; allowed are width and blocks.")
    if not isinstance(width, int) or not 1 <= width <= 1024:
        raise InvalidConfig(f"model.{name}.width is {width}; allowed is 1 to 1024.")
    if not 1 <= len(blocks) <= 6 or any(not isinstance(n, int) or not 1 <= n <= 64 for n in blocks):
        raise InvalidConfig(f"model.{name}.blocks is {blocks}; allowed are 1 to 6 stages of 1 to 64 blocks.")
    return {"width": width, "blocks": blocks}


def _convolution(inside: int, outside: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, size, stride, size // 2, bias=False), nn.BatchNorm2d(outside)
    )


class Residual(nn.Module):
    """The basic block of He et al. 2015: two 3x3 convolutions beside a shortcut."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(inside, outside, stride=stride)
        self.second = _convolution(outside, outside)
        same = stride == 1 and inside == outside
        self.shortcut = nn.Identity() if same else _convolution(inside, outside, size=1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(torch.relu(self.first(x))) + self.shortcut(x))


def resnet(channels: int, classes: int, width: int, blocks: list[int]) -> nn.Module:
    """A 3x3 stem with stride 2, then stages of residual blocks, each twice as wide at half the size."""
    layers: list[nn.Module] = [_convolution(channels, width, stride=2), nn.ReLU()]
    inside = width
    for stage, count in enumerate(blocks):
        outside = width * 2**stage
        for number in range(count):
            layers.append(Residual(inside, outside, stride=2 if stage and not number else 1))
            inside = outside
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, classes))


def cnn(channels: int, classes: int, width: int, blocks: list[int]) -> nn.Module:
    """Stages of plain 3x3 convolutions, each stage twice as wide at half the size."""
    layers: list[nn.Module] = []
    inside = channels
    for stage, count in enumerate(blocks):
        outside = width * 2**stage
        for number in range(count):
            layers += [_convolution(inside, outside, stride=1 if number else 2), nn.ReLU()]
            inside = outside
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, classes))
