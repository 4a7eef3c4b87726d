"""What one layer holds while it runs forward, beside what it keeps: for the first time, or again under checkpointing.

Read off traces of frameworks' own training (docs/memory-model.md, "How well it holds"). Looked at is where adapters
make a layer's forward pass its busiest moment: as the feed-forward half makes its result. Elsewhere that is the
backward pass's (`activations.scratch`). And what it holds where nothing is kept: in a frozen model that scores tokens.
"""

from __future__ import annotations

from typing import NamedTuple

from mfc.catalog.architecture import Mlp, Moe
from mfc.catalog.parameters import Adapter
from mfc.memory.activations import linears_element
from mfc.memory.attention import scores
from mfc.memory.inputs import Inputs
from mfc.memory.shape import Layer, Shape


class Running(NamedTuple):
    """Bytes of one sequence, and fixed."""

    sequence: float = 0.0
    fixed: float = 0.0


def running(shape: Shape, layer: Layer, chosen: tuple[Adapter, ...], given: Inputs) -> Running:
    """The busiest moment of one layer's forward pass. `chosen` are its adapters."""
    ffn, hidden, element = layer.block.ffn, given.architecture.hidden, given.formats.element
    if given.lora is None or given.stack.lora_kernels:
        return Running()
    if isinstance(ffn, Mlp):
        down = next((adapter for adapter in chosen if adapter.linear.name == shape.down), None)
        return _last_linear(down, ffn, given) if down is not None else Running()
    if not given.stack.fused_experts or any(adapter.linear.kind == "expert" for adapter in chosen):
        return Running()
    # Experts' inputs and their results in the order of tokens, whose sum autocast makes in fp32 (transformers
    # integrations/moe.py, grouped_mm_experts_forward); the norm's output, the residual and the sum in 16 bits.
    wide = 4 if given.formats.autocast else element
    return Running((2 * element * ffn.per_token + wide + 3 * element) * hidden * given.tokens)


def _last_linear(down: Adapter, ffn: Mlp, given: Inputs) -> Running:
    """The MLP's last linear, whose adapter has an input in its own type (PEFT tuners_utils.py, _cast_input_dtype)."""
    formats, lora, hidden = given.formats, given.lora, given.architecture.hidden
    assert lora is not None
    element = formats.element
    # The input, and what dropout makes of it; of these, the last is kept where autocast does not cast it.
    copies = 0 if formats.adapter_matches else 1 + bool(lora.dropout) - (0 if formats.autocast else 1)
    product = 0 if formats.adapter_matches else linears_element(given)
    # The norm's output and the residual; the results of linear and adapter, and the scaled one, which is added.
    results = 2 * element + (12 if lora.variant == "dora" else 3 * element)
    fixed = 0.0
    if lora.variant == "dora":  # the identity as wide as the input, the weight in the adapter's type and their product
        inputs, outputs = down.linear.in_features, down.linear.out_features
        fixed = float(formats.computed * inputs * inputs + (formats.computed + element) * inputs * outputs)
    inside = (product + 4 * copies) * ffn.width * given.tile
    return Running(inside + results * hidden * given.tokens, fixed)


def scoring(layer: Layer, given: Inputs) -> float:
    """Bytes of one sequence in a layer that keeps nothing, at its busiest: in its attention or in its MLP."""
    attention, ffn, element = layer.block.attention, layer.block.ffn, given.formats.element
    stream = given.stream + element * given.architecture.hidden * given.tokens  # the residual and the norm's output
    width = ffn.width if isinstance(ffn, Mlp) else layer.active_width
    # The activation of the gate, what it multiplies, and the product.
    halves = [(3 if isinstance(ffn, Moe) or ffn.gated else 2) * element * width * given.tokens]
    if given.kernel == "eager" or attention.softcap:  # queries, and keys and values repeated to as many heads
        halves.append((3 * element * attention.q_width + scores(attention, given)) * given.tokens)
    return stream + max(halves)
