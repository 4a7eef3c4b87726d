"""Stands in for the flash-attn package on the CPU, where there are no kernels: its functions in plain PyTorch.

What the kernels refuse is refused here as well: other types than fp16 and bf16, heads that do not divide, borders of
samples that are not int32. Shapes: queries (batch, length, heads, width), or (tokens, heads, width) where `cu_seqlens`
tells where each sample begins and the last one ends.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def _attend(q: Tensor, k: Tensor, v: Tensor, scale: float | None, causal: bool, window: tuple[int, int]) -> Tensor:
    """One sample's attention, (length, heads, width); the last query sees the last key, as in the kernels."""
    queries, keys = torch.arange(len(q))[:, None] + len(k) - len(q), torch.arange(len(k))
    before, after = window[0], 0 if causal else window[1]
    seen = torch.ones(len(q), len(k), dtype=torch.bool)
    if before >= 0:
        seen &= keys >= queries - before
    if after >= 0:
        seen &= keys <= queries + after
    q, k, v = (one.transpose(0, 1) for one in (q, k, v))
    found = torch.nn.functional.scaled_dot_product_attention(
        q[None], k[None], v[None], attn_mask=seen[None, None], scale=scale, enable_gqa=True
    )
    return found[0].transpose(0, 1)


def _check(q: Tensor, k: Tensor, v: Tensor) -> None:
    if q.dtype not in (torch.float16, torch.bfloat16):
        raise RuntimeError(f"FlashAttention only supports fp16 and bf16, not {q.dtype}")
    if not q.dtype == k.dtype == v.dtype:
        raise RuntimeError(f"query, key and value must have the same dtype: {q.dtype}, {k.dtype}, {v.dtype}")
    if q.shape[-2] % k.shape[-2]:
        raise RuntimeError(f"{k.shape[-2]} heads of keys do not divide {q.shape[-2]} of queries")
    if q.shape[-1] > 256:
        raise RuntimeError(f"FlashAttention only supports heads of 256 and less, not {q.shape[-1]}")


def flash_attn_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    deterministic: bool = False,
) -> Tensor:
    """Attention of rows of one length."""
    _check(q, k, v)
    rows = zip(q, k, v, strict=True)
    return torch.stack([_attend(*row, softmax_scale, causal, window_size) for row in rows])


def flash_attn_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Tensor:
    """Attention of samples that lie end to end, each with itself alone."""
    _check(q, k, v)
    for borders, longest, rows in ((cu_seqlens_q, max_seqlen_q, q), (cu_seqlens_k, max_seqlen_k, k)):
        if borders.dtype != torch.int32:
            raise RuntimeError(f"cu_seqlens must have dtype int32, not {borders.dtype}")
        if borders[0] != 0 or borders[-1] != len(rows) or borders.diff().max() > longest:
            raise RuntimeError(f"samples {borders.tolist()} are not {len(rows)} tokens of at most {longest} each")
    queries, keys = cu_seqlens_q.diff().tolist(), cu_seqlens_k.diff().tolist()
    samples = zip(q.split(queries), k.split(keys), v.split(keys), strict=True)
    return torch.cat([_attend(*sample, softmax_scale, causal, window_size) for sample in samples])


def flash_attn_with_kvcache(*_: Any, **__: Any) -> Tensor:
    """For serving; no run here comes by."""
    raise NotImplementedError
