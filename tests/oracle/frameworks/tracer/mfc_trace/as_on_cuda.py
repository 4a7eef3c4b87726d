"""Lets the CPU keep and make the tensors that CUDA would, where the two differ. Read in PyTorch 2.13's own code."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn import functional
from torch.optim import optimizer as optimizers
from torch.utils._foreach_utils import _get_foreach_kernels_supported_devices
from torch.utils._pytree import tree_map_only

HALF = (torch.bfloat16, torch.float16)
# aten/src/ATen/autocast_mode.h: what CUDA's autocast runs in fp32, and what it asks for a result in fp32.
FP32 = (
    *("acos", "asin", "cosh", "erfinv", "exp", "expm1", "log", "log10", "log2", "log1p", "logsumexp", "pow"),
    *("reciprocal", "rsqrt", "sinh", "tan", "softplus", "layer_norm", "native_layer_norm", "group_norm"),
    *("frobenius_norm", "nuclear_norm", "norm", "renorm", "cosine_similarity", "dist", "cdist", "pdist"),
    *("poisson_nll_loss", "cosine_embedding_loss", "nll_loss", "nll_loss2d", "hinge_embedding_loss", "kl_div"),
    *("l1_loss", "smooth_l1_loss", "huber_loss", "mse_loss", "margin_ranking_loss", "soft_margin_loss"),
    *("triplet_margin_loss", "multi_margin_loss", "binary_cross_entropy_with_logits"),
)
FP32_RESULT = ["prod", "softmax", "log_softmax", "cumprod", "cumsum", "linalg_vector_norm", "linalg_matrix_norm", "sum"]
PRODUCTS = ("aten.mm.", "aten.addmm.", "aten.bmm.", "aten.baddbmm.", "aten._scaled_dot_product_flash_attention_for_cpu")
SOFTMAX = re.compile(r"aten\._(log_)?softmax(_backward_data)?\.")


@contextlib.contextmanager
def as_on_cuda() -> Iterator[None]:
    """Autocast's list of operators, dropout with a mask of bytes, and optimizers that step over lists of tensors."""
    devices, dropout = _get_foreach_kernels_supported_devices, functional.dropout
    warnings.filterwarnings("ignore", "Warning only once for all operators")
    rules = torch.library.Library("aten", "IMPL", "AutocastCPU")
    for name in (*FP32, *FP32_RESULT):
        packet = getattr(torch.ops.aten, name, None)
        for overload in packet.overloads() if packet is not None else ():
            operator = getattr(packet, overload)
            if "out" not in operator._schema.overload_name and "Dimname" not in str(operator._schema):
                rules.impl(operator, _in_fp32(operator, name in FP32_RESULT), allow_override=True)
    functional.dropout = _dropout
    optimizers._get_foreach_kernels_supported_devices = lambda: [*devices(), "cpu"]
    try:
        yield
    finally:
        rules._destroy()
        functional.dropout = dropout
        optimizers._get_foreach_kernels_supported_devices = devices


def computed(func: Any, args: Any, kwargs: Any) -> Any:
    """An operator's results. Products of 16-bit matrices are made in fp32, which CPUs do ten times as fast."""
    if not str(func).startswith(PRODUCTS) or not isinstance(args[0], torch.Tensor) or args[0].dtype not in HALF:
        return func(*args, **kwargs)
    kind = args[0].dtype
    if (out := kwargs.get("out")) is not None:
        return out.copy_(computed(func.overloadpacket.default, args, {}))
    made = func(*tree_map_only(torch.Tensor, _wide, args), **tree_map_only(torch.Tensor, _wide, kwargs))
    if isinstance(made, torch.Tensor):
        return made.to(kind)
    sums = 1 if "backward" not in str(func) else None  # attention's row sums are fp32 of any type
    return tuple(one if at == sums or one is None else one.to(kind) for at, one in enumerate(made))


def scratch(operator: str, args: Any) -> int:
    """Bytes that CUDA's kernels allocate inside (SoftMax.cu): contiguous copies, and gradient times output."""
    if not SOFTMAX.match(operator):
        return 0
    tensors = [one for one in args if isinstance(one, torch.Tensor)]
    size = sum(one.numel() * one.element_size() for one in tensors if not one.is_contiguous())
    if operator.startswith("aten._softmax_backward"):
        size += args[0].numel() * args[0].element_size()
    return int(size)


def _in_fp32(operator: Any, asks: bool) -> Callable[..., Any]:
    """An operator under autocast; `asks` where it takes the type of its result."""
    autocast = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU)
    places = {argument.name: at for at, argument in enumerate(operator._schema.arguments)}

    def run(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(autocast):
            if not asks or "dtype" not in places:
                args, kwargs = tree_map_only(torch.Tensor, _wide, (args, kwargs))
            elif len(args) <= places["dtype"] and kwargs.get("dtype") is None and args[0].dtype in HALF:
                kwargs = {**kwargs, "dtype": torch.float32}
            return operator(*args, **kwargs)

    return run


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.dtype in HALF else tensor


def _dropout(input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:  # noqa: A002
    made: torch.Tensor = torch.native_dropout(input, p, True)[0] if training and p and input.numel() else input
    return made
