"""The number formats of one run: what a strategy and a stack together make of weights, streams and logits."""

from __future__ import annotations

from typing import NamedTuple

from mfc.memory.stack import Stack
from mfc.strategy import FSDP, FULLY, Strategy

_KBIT = ("nf4", "fp4", "int8")  # of bitsandbytes


class Formats(NamedTuple):
    """All fields are bytes per number, or whether something happens."""

    full: bool  # base weights train, all of them or the last blocks; else adapters do
    weights: int  # base weights that are not quantised, as stored
    trained: int  # trained numbers, as stored
    master: int  # fp32 copy of trained weights inside the optimizer
    element: int  # activations
    stream: int  # residual stream
    autocast: bool
    fp32_autocast: bool  # fp32 trained base weights under autocast: casts are cached until the backward pass
    casts_base: bool  # frozen fp32 weights under autocast: each layer keeps 16-bit copies for its backward
    adapter_matches: bool  # adapters have the activations' type, so their input is saved as it is, once
    gathered: bool = False  # FSDP2 gathers what trains in 16 bits, whatever it is stored in
    fp32_edges: bool = False  # of base weights that train in 16 bits, embedding, head and norms are fp32
    narrow_edges: bool = False  # of a frozen base in fp32, embedding and head are 16-bit
    wide_linears: bool = False  # quantised linears that read fp32 return fp32, under autocast too

    @property
    def adapters(self) -> bool:
        """Whether adapters train, not base weights."""
        return not self.full

    @property
    def computed(self) -> int:
        """Trained numbers, as layers compute with them."""
        return self.element if self.gathered else self.trained

    @property
    def fp32_norms(self) -> bool:
        """Whether norms have fp32 weights that train, under autocast."""
        return self.fp32_autocast or self.fp32_edges

    @property
    def gradient(self) -> int:
        """A gradient has the format of its number."""
        return self.trained

    @property
    def state(self) -> int:
        """One optimizer moment: fp32 beside a master copy, else in the format of the number."""
        return 4 if self.master else self.trained

    @property
    def logits(self) -> int:
        """The logits as the head returns them."""
        return self.element


def formats(strategy: Strategy, stack: Stack) -> Formats:
    """Formats by strategy and stack; the rules are in docs/memory-model.md, section "Number formats"."""
    full = strategy.method not in ("lora", "qlora")
    if strategy.precision == "fp32":
        return Formats(
            full=full,
            weights=4,
            trained=4,
            master=0,
            element=4,
            stream=4,
            autocast=False,
            fp32_autocast=False,
            casts_base=False,
            adapter_matches=not full,
        )
    trained, master = _base(strategy, stack) if full else _adapters(strategy, stack)
    weights = trained if full else _frozen(strategy, stack)
    autocast = stack.autocast and strategy.precision != "pure_bf16" and not _engine(strategy, stack)
    fp32_autocast = full and autocast and trained == 4 and strategy.sharding not in FSDP
    wide = fp32_autocast and strategy.method != "freeze"  # a frozen embedding begins the stream in 16 bits
    fp32_edges = full and autocast and trained == 2 and _upcasts_edges(strategy, stack)
    element = 4 if weights == 4 and not full and not autocast else 2
    gathered = strategy.sharding == "fsdp2" and element == 2
    return Formats(
        full=full,
        weights=weights,
        trained=trained,
        master=master,
        element=element,
        stream=4
        if (fp32_edges or (weights == 4 and (not full or wide))) and not (autocast and stack.stream_in_place)
        else element,
        autocast=autocast,
        fp32_autocast=fp32_autocast,
        casts_base=not full and autocast and weights == 4 and strategy.quantization is None,
        adapter_matches=not full and (gathered or (not autocast and trained == element)),
        gathered=gathered,
        fp32_edges=fp32_edges,
        narrow_edges=not full and weights == 4 and _narrows(strategy, stack),
        wide_linears=not full and weights == 4 and autocast and strategy.quantization is not None,
    )


def _engine(strategy: Strategy, stack: Stack) -> bool:
    """Whether DeepSpeed's engine casts the model and keeps fp32 masters."""
    return strategy.deepspeed or (stack.engine_replicates and strategy.sharding == "ddp")


def _upcasts_edges(strategy: Strategy, stack: Stack) -> bool:
    narrow = strategy.attention.startswith("flash") or (stack.own_loss and strategy.loss == "fused")
    return stack.edges_fp32 and strategy.sharding == "ddp" and not narrow


# The rows of the table, for 16-bit precisions.


def _base(strategy: Strategy, stack: Stack) -> tuple[int, int]:
    """(trained, master) of base weights that train."""
    if _engine(strategy, stack) or strategy.optimizer == "badam":
        return 2, 4
    if strategy.precision == "pure_bf16":
        return 2, 0
    if strategy.sharding in FSDP:
        return (4 if stack.fsdp_fp32_shards else 2), 0
    # torch cannot unscale fp16 gradients: fp16 always trains fp32 weights
    return (4 if stack.trainable_fp32 or strategy.precision == "fp16" else 2), 0


def _adapters(strategy: Strategy, stack: Stack) -> tuple[int, int]:
    """(trained, master) of adapters."""
    engine = _engine(strategy, stack)
    cast = engine and strategy.sharding != "zero3"  # the engine casts adapters to 16 bit below stage 3
    fp32 = stack.adapter_fp32 and strategy.precision != "pure_bf16" and not cast
    if strategy.sharding == "zero3":
        beside_whole = strategy.lora is not None and bool(strategy.lora.modules_to_save)
        fp32 = fp32 and stack.adapter_fp32_zero3 and (stack.adapter_fp32_beside_whole or not beside_whole)
    if strategy.quantization is not None and strategy.quantization.kind in _KBIT:
        fp32 = fp32 and stack.adapter_fp32_kbit and not _narrows(strategy, stack)
    return (4 if fp32 else 2), (4 if engine else 0)


def _narrows(strategy: Strategy, stack: Stack) -> bool:
    """Whether what was upcast beside 4-bit weights is cast back, all but the norms. Sharded models are left alone."""
    kind = strategy.quantization.kind if strategy.quantization is not None else ""
    whole = strategy.sharding not in FULLY
    return stack.kbit_narrows and strategy.precision == "bf16" and kind in ("nf4", "fp4") and whole


def _frozen(strategy: Strategy, stack: Stack) -> int:
    """A frozen base, where it is not quantised."""
    if strategy.quantization is None:
        return 4 if stack.frozen_fp32 and not _engine(strategy, stack) else 2
    # PEFT's preparation leaves GPTQ, AQLM, EETQ and HQQ models as they are, and sharded ones cannot mix formats.
    prepared = strategy.quantization.kind in _KBIT and stack.kbit_fp32
    return 4 if prepared and strategy.sharding not in FULLY else 2
