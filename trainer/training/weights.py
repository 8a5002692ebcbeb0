"""The weights of a version: trained ones, or their average with the parent's."""

import torch
from torch import nn


def average(model: nn.Module, parent: nn.Module, *, share: float) -> None:
    """Make the weights of `model` the average of its own, by `share`, and its parent's."""
    if share == 1:
        return
    with torch.no_grad():
        others = parent.state_dict()
        for name, weight in model.state_dict().items():
            if weight.is_floating_point():
                weight.mul_(share).add_(others[name], alpha=1 - share)
