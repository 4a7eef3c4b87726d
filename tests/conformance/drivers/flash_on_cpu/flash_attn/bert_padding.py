"""Rows with padding as samples end to end, and back."""

from __future__ import annotations

import torch
from torch import Tensor


def index_first_axis(tensor: Tensor, indices: Tensor) -> Tensor:
    """Some tokens of (tokens, ...)."""
    return tensor[indices]


def unpad_input(hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor, int, Tensor]:
    """The tokens that a mask (batch, length) keeps, where they were, the borders of samples, the longest, and all."""
    lengths = mask.sum(-1, dtype=torch.int32)
    kept = mask.flatten().nonzero().flatten()
    borders = torch.nn.functional.pad(lengths.cumsum(0, dtype=torch.int32), (1, 0))
    return hidden.flatten(0, 1)[kept], kept, borders, int(lengths.max()), lengths


def pad_input(hidden: Tensor, indices: Tensor, batch: int, length: int) -> Tensor:
    """The other way round: zeros where nothing was."""
    made = hidden.new_zeros(batch * length, *hidden.shape[1:]).index_copy(0, indices, hidden)
    return made.unflatten(0, (batch, length))
