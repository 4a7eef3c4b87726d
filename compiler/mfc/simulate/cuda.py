"""Make PyTorch's CPU build take the paths that eager CUDA takes, where they keep different tensors.

A build without CUDA cannot run autograd on fake CUDA tensors, so the trace runs on fake CPU tensors and follows CUDA
by hand: which attention kernel is chosen and what it keeps, dropout (one fused kernel with a byte mask), and what
autocast runs in fp32 (layer norms and powers among others).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal
from unittest import mock

import torch
from torch.nn import functional
from torch.utils._pytree import tree_map_only
from transformers import masking_utils
from transformers.integrations import moe

Kernel = Literal["flash", "masked", "blocks", "eager"]
HALF = (torch.float16, torch.bfloat16)
# What CUDA's autocast runs in fp32: by casting what goes in, and by the type of what comes out.
WIDENED = frozenset(
    {
        *("acos", "asin", "cosh", "erfinv", "exp", "expm1", "log", "log10", "log2", "log1p", "reciprocal", "rsqrt"),
        *("sinh", "tan", "pow", "__pow__", "__rpow__", "softplus", "layer_norm", "native_layer_norm", "group_norm"),
        *("logsumexp", "norm", "cosine_similarity", "nll_loss", "kl_div", "l1_loss", "mse_loss", "smooth_l1_loss"),
    }
)
ACCUMULATED = frozenset({"sum", "prod", "cumsum", "cumprod", "softmax", "log_softmax"})
DEVICE = "cpu"


@contextlib.contextmanager
def followed(kernel: Kernel) -> Iterator[None]:
    """While active, torch and transformers behave as on CUDA; `masked`: batches are padded, so masks are built."""
    with contextlib.ExitStack() as stack:
        for owner, name, value in (
            (functional, "scaled_dot_product_attention", _attention),
            (functional, "dropout", _dropout),
            (moe, "_can_use_grouped_mm", lambda *_args, **_keys: True),
            # Both look at a mask's values, which fake tensors lack.
            (masking_utils, "_ignore_causal_mask_sdpa", lambda *_args, **_keys: kernel != "masked"),
            (masking_utils, "find_packed_sequence_indices", lambda *_args, **_keys: None),
        ):
            stack.enter_context(mock.patch.object(owner, name, value))
        for name in WIDENED | ACCUMULATED:
            for owner in (torch, torch.Tensor, functional):
                if hasattr(owner, name):
                    wrapped = _autocast(getattr(owner, name), name)
                    stack.enter_context(mock.patch.object(owner, name, wrapped))
        yield


def _attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """scaled_dot_product_attention with CUDA's choice of kernel (sdp_utils.cpp of PyTorch)."""
    if torch.is_autocast_enabled(DEVICE) and query.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(DEVICE)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    width = query.shape[-1]
    scale = scale or 1 / math.sqrt(width)
    if attn_mask is None and query.dtype in HALF and width == value.shape[-1] and width <= 256:
        return _flash(query, key, value, dropout_p, is_causal, scale)
    if enable_gqa and key.shape[1] != query.shape[1]:
        return _plain(query, key, value, attn_mask, is_causal, scale)
    bias = attn_mask
    if bias is not None:
        if bias.dtype == torch.bool:  # every call makes a bias of its own
            empty = torch.zeros_like(bias, dtype=query.dtype)
            bias = empty.masked_fill_(bias.logical_not(), float("-inf"))
        bias = bias.expand(*query.shape[:3], key.shape[2])
    grad = any(tensor.requires_grad for tensor in (query, key, value))
    run: Any = torch.ops.aten._scaled_dot_product_efficient_attention
    out: torch.Tensor = run(query, key, value, bias, grad, dropout_p, is_causal, scale=scale)[0]
    return out


def _flash(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, dropout: float, causal: bool, scale: float
) -> torch.Tensor:
    width = query.shape[-1]
    if pad := -width % 8:
        query, key, value = (functional.pad(tensor, (0, pad)) for tensor in (query, key, value))
    run: Any = torch.ops.aten._scaled_dot_product_flash_attention
    out: torch.Tensor = run(query, key, value, dropout, causal, False, scale=scale)[0]
    return out[..., :width] if pad else out


def _plain(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    causal: bool,
    scale: float,
) -> torch.Tensor:
    """The kernel made of ordinary operators: scores are kept."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    root = math.sqrt(scale)
    scores = (query * root) @ (key.transpose(-2, -1) * root)
    if causal:
        lower = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device).tril()
        scores = scores.masked_fill(~lower, float("-inf"))
    elif mask is not None:
        scores = scores + mask
    return torch.softmax(scores, -1) @ value


def _dropout(input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:  # noqa: A002, ARG001
    if not training or p == 0 or input.numel() == 0:
        return input
    out: torch.Tensor = torch.ops.aten.native_dropout(input, p, True)[0]
    return out


def _autocast(original: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The same function as CUDA's autocast runs it, where that differs from the CPU's (autocast_mode.h of PyTorch)."""

    def run(*args: Any, **kwargs: Any) -> Any:
        if torch.is_autocast_enabled(DEVICE):
            if name in WIDENED:
                args, kwargs = tree_map_only(torch.Tensor, _widened, (args, kwargs))
            elif args and isinstance(args[0], torch.Tensor) and args[0].dtype in HALF:
                kwargs.setdefault("dtype", torch.float32)
        return original(*args, **kwargs)

    return run


def _widened(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.dtype in HALF else tensor
