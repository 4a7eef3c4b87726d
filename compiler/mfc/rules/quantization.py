"""How the frozen base is stored, and what a quantised checkpoint allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.rules.engine import Value, advise, derive, require
from mfc.rules.words import gib
from mfc.strategy import FULLY, Quantization

if TYPE_CHECKING:
    from mfc.problem import Model, Problem
    from mfc.spec.models import Spec

# Number formats that frameworks turn back into 16 bits before they train.
DEQUANTISED = ("fp8", "mxfp4")
_PEFT = "peft docs, developer guide on quantization: only adapters train on a quantised base"


@derive(
    "quantization",
    "the model's own config.json; QLoRA, arXiv:2305.14314: 4-bit NormalFloat and double quantisation of the scales",
)
def quantization(method: str, spec: Spec, model: Model) -> Value:
    """The base is quantised as its checkpoint is, or by method qlora; otherwise not at all."""
    stored = model.quantized
    if stored is not None and stored.kind not in DEQUANTISED:
        return Value(stored, f"the checkpoint is stored as {stored.kind} with {stored.bits} bits")
    if method != "qlora":
        return Value(None, f"method {method} quantises nothing")
    asked = spec.train.quantization
    kind = asked.kind if asked.kind != "auto" else {4: "nf4", 8: "int8"}[asked.bits]
    double = asked.double and kind in ("nf4", "fp4")
    why = f"qlora stores the base with {asked.bits} bits as {kind}" + (", its scales in 8 bits" if double else "")
    made = Quantization(bits=asked.bits, kind=kind, double=double)
    if asked.model_fields_set:
        return Value(made, f"set in the spec: train.quantization; {why}", pinned=True)
    return Value(made, why)


@require(_PEFT)
def quantised_bases_are_frozen(method: str, model: Model) -> str | None:
    """On a quantised checkpoint only adapters train."""
    stored = model.quantized
    if stored is None or stored.kind in DEQUANTISED or method in ("lora", "qlora"):
        return None
    return (
        f"the checkpoint is stored as {stored.kind} with {stored.bits} bits, which have no gradients; only lora trains"
    )


@require("the spec language: train.quantization describes the base of method qlora")
def quantization_belongs_to_qlora(method: str, spec: Spec) -> str | None:
    """A spec that asks for a quantised base means method qlora."""
    if method == "qlora" or not spec.train.quantization.model_fields_set or spec.train.method == "auto":
        return None
    return f"train.quantization asks for a base of {spec.train.quantization.bits} bits; that is method qlora"


@require("bitsandbytes issue 1249; GPTQ, AWQ, AQLM, HQQ, EETQ and LLM.int8 layers hold packed buffers, not parameters")
def packed_weights_are_not_split(quantization: Quantization | None, sharding: str) -> str | None:
    """Packed formats other than 4-bit bitsandbytes cannot be split over GPUs."""
    if quantization is None or sharding not in FULLY:
        return None
    if quantization.kind in ("nf4", "fp4", "bnb") and quantization.bits == 4:
        return None
    return f"{sharding} splits weights, and {quantization.kind} weights cannot be split; zero2 keeps them whole"


@require(
    "accelerate utils/fsdp_utils.py: a Params4bit that leaves the GPU loses its class; peft docs: "
    "its QLoRA examples on DeepSpeed offload nothing (assumed to hold for all quantised weights); "
    "bitsandbytes nn/modules.py: quant_storage makes them floats, which FSDP takes to the host and back"
)
def quantised_weights_stay_on_the_gpu(
    quantization: Quantization | None, offload_parameters: str, sharding: str, problem: Problem
) -> str | None:
    """Quantised weights are not offloaded but by FSDP, unless the spec pins it."""
    if quantization is None or offload_parameters == "none" or "offload_parameters" in problem.pins:
        return None
    if sharding == "fsdp":
        return None
    return f"{quantization.kind} weights are made for the GPU; of all shardings only fsdp is known to offload them"


@advise("transformers quantizers for fp8 and mxfp4: such checkpoints are dequantised for training")
def checkpoint_is_dequantised(model: Model) -> str | None:
    """A checkpoint in fp8 or mxfp4 trains in 16 bits."""
    stored = model.quantized
    if stored is None or stored.kind not in DEQUANTISED:
        return None
    size = gib(2 * model.total_parameters)
    return f"the checkpoint is stored as {stored.kind}; training turns it into 16 bits, {size} of weights"


RULES = (
    quantised_bases_are_frozen,
    quantization_belongs_to_qlora,
    quantization,
    packed_weights_are_not_split,
    quantised_weights_stay_on_the_gpu,
    checkpoint_is_dequantised,
)
