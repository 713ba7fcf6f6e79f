"""Preprocessing as a part of the model: raw tensors of the dataset in, floats in [n, channels, h, w] out."""

from typing import Any

import torch
from torch import Tensor, nn

from slipway_jobs.dataset import channel_axis


class Preprocess(nn.Module):
    """All steps are affine, so they are one multiplication and one addition per channel."""

    factor: Tensor
    offset: Tensor

    def __init__(self, shape: list[int], steps: list[dict[str, dict[str, Any]]]) -> None:
        super().__init__()
        self.axis = channel_axis(shape)
        channels = 1 if self.axis is None else shape[self.axis]
        factor, offset = torch.ones(channels, dtype=torch.float64), torch.zeros(channels, dtype=torch.float64)
        for step in steps:
            if "scale" in step:
                divisor = step["scale"]["divisor"]
                factor, offset = factor / divisor, offset / divisor
            else:
                mean = torch.tensor(step["normalize"]["mean"], dtype=torch.float64)
                std = torch.tensor(step["normalize"]["std"], dtype=torch.float64)
                factor, offset = factor / std, (offset - mean) / std
        self.register_buffer("factor", factor.to(torch.float32).reshape(1, channels, 1, 1))
        self.register_buffer("offset", offset.to(torch.float32).reshape(1, channels, 1, 1))

    def forward(self, raw: Tensor) -> Tensor:
        values = raw.to(torch.float32)
        if self.axis is None:
            values = values.unsqueeze(1)
        elif self.axis == 2:
            values = values.permute(0, 3, 1, 2)
        return values * self.factor + self.offset
