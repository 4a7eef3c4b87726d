"""What optimizers keep, and which numbers they give gradients and states to.

Counted in the classes themselves (galore-torch 1.0, apollo-torch 1.0.3, badam 1.4; benchmarks.count.optimizers);
docs/memory-model.md, section "Optimizers that save memory". Bytes unless it says numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mfc.catalog.parameters import adapters
from mfc.memory.formats import Formats
from mfc.memory.shape import Shape
from mfc.memory.stack import Stack
from mfc.runtimes import bitsandbytes
from mfc.strategy import Lora, Strategy

TORCH = ("adamw", "sgd")  # torch's own, which step foreach or fused
PROJECTED = ("galore", "apollo", "galore_8bit")
# torch.linalg.svd on CUDA copies its input to column order (torch BatchLinearAlgebraLib.cpp); that cuSOLVER's gesvdj
# then works in one more matrix of that size is an assumption.
SVD_MATRICES = 2
# Moments by optimizer name. What is not listed counts as adamw.
_MOMENTS = {"sgd": 0, "lion": 1, "lion_8bit": 1, "paged_lion_8bit": 1}


class Reach(NamedTuple):
    """Which decoder layers train, as one step sees it."""

    layers: int  # gradients flow through that many, counted from the top
    share: float  # of these, how many train on average
    edges: bool  # the embedding and the head train as well


class Kept(NamedTuple):
    """What one optimizer trains and keeps."""

    trained: float  # numbers that have gradients in one step
    state: float  # all that lasts from step to step, fp32 master copies included
    step: float  # what the step holds besides gradients, at most
    within: float  # the same inside the layers' backward pass, for updates made there


class Matrix(NamedTuple):
    """`copies` equal linears, each with a projection of its own."""

    long: int
    short: int
    copies: float

    @property
    def numbers(self) -> int:
        """Of one linear."""
        return self.long * self.short


def reach(strategy: Strategy, depth: int) -> Reach:
    """Which decoder layers a strategy trains, of `depth`."""
    layers = strategy.trainable_layers
    if strategy.optimizer == "badam":
        return Reach(depth, 1 / depth, False)
    if strategy.trained_blocks == "last":
        partly = strategy.method == "freeze" and layers < depth
        return Reach(layers if strategy.method == "freeze" else depth, 1.0, not partly)
    return Reach(depth, min(1.0, layers / depth), strategy.trained_blocks == "drawn")


def layerwise(strategy: Strategy, stack: Stack) -> bool:
    """Whether each gradient is applied and freed inside the backward pass."""
    return stack.optimizer_in_backward or (stack.low_rank.layerwise and strategy.optimizer in PROJECTED)


def kept(shape: Shape, form: Formats, stack: Stack, strategy: Strategy, trained: int) -> Kept:
    """States and scratch of the strategy's optimizer. `trained`: numbers that train in the course of the run."""
    if strategy.optimizer == "badam":
        return _blockwise(shape, form, strategy)
    if strategy.optimizer in PROJECTED:
        return _projected(shape, form, stack, strategy, trained)
    each = _bytes(strategy.optimizer, form)
    if strategy.trained_blocks == "drawn":
        layer = max(layer.parameters for layer in shape.layers)
        edges = shape.embedding + shape.head
        now = min(trained, edges + strategy.trainable_layers * layer)
        ever = {"all": trained, "first": now, "none": edges}[stack.lisa_states]
        return Kept(now, ever * each, 0.0, 0.0)
    within = 0.0
    if layerwise(strategy, stack):  # one fresh gradient at a time
        within = float(form.gradient * max(shape.head_rows, *(layer.largest_linear for layer in shape.layers)))
    return Kept(trained, trained * each, 0.0, within)


def _bytes(name: str, form: Formats) -> float:
    """Optimizer bytes per trained number, the fp32 master copy included."""
    if name.startswith("adafactor"):
        return form.master + 0.01 * form.state  # one row and one column per matrix
    moments = _MOMENTS.get(name, 2)
    if "8bit" in name:
        return form.master + moments * bitsandbytes.OPTIMIZER_8BIT
    return form.master + moments * form.state


def _blockwise(shape: Shape, form: Formats, strategy: Strategy) -> Kept:
    """BAdam: the block in training has fp32 copies and moments, which go when the next block comes.

    At the step the block's gradients become fp32, and torch's foreach AdamW makes one more fp32 copy. Under DeepSpeed
    the engine does all that.
    """
    block = max(layer.parameters for layer in shape.layers)
    return Kept(block, block * 12.0, 0.0 if strategy.deepspeed else block * (8.0 - form.gradient), 0.0)


def _projected(shape: Shape, form: Formats, stack: Stack, strategy: Strategy, trained: int) -> Kept:
    """GaLore and APOLLO: linears but the head in `rank` dimensions, Adam's full moments for the rest.

    Their loop over parameters keeps the full-size update of one until it has made the next one's.
    """
    rank, width = stack.low_rank.rank, form.gradient
    eight, galore = "8bit" in strategy.optimizer, strategy.optimizer.startswith("galore")
    moments = 2 * (bitsandbytes.OPTIMIZER_8BIT if eight else form.state)
    matrices = list(_matrices(shape, stack, strategy))
    projector = low = numbers = anew = later = 0.0  # anew: a step that makes projections, before it uses them
    alone = layerwise(strategy, stack)
    for matrix in matrices:
        thin = min(rank, matrix.short) if galore else rank
        # of an fp32 gradient the projector is no copy but a view, which keeps the whole square factor of the SVD alive
        view = galore and width == 4
        side = matrix.short if view else thin
        projector += matrix.copies * side * matrix.short * width
        low += matrix.copies * thin * matrix.long
        numbers += matrix.copies * matrix.numbers
        cast = 4.0 * matrix.numbers if width == 2 else 0.0
        last = 0.0 if alone else float(width * (matrix.numbers + (1 if galore else 2) * thin * matrix.long))
        factors = 4.0 * ((1 + SVD_MATRICES) * matrix.numbers + matrix.short**2 + thin * matrix.long)
        anew = max(anew, cast + last + (factors if galore else 0.0) + (0 if view else width * thin * matrix.short))
        # the update, its scaled copy (8 bit: the weight's clone as well), and three of low rank
        later = max(later, width * ((3 if eight else 2) * matrix.numbers + 3.0 * thin * matrix.long))
    whole = _whole(shape, stack, numbers, trained)
    rest = 0.0 if eight else width * (2.0 * whole[0] + (0.0 if alone else whole[1]))
    fresh = max((matrix.numbers for matrix in matrices), default=0) if alone else 0
    within = max(anew, later) + width * fresh
    step = max(anew, later, rest + (width * whole[0] if alone else 0))
    return Kept(trained, projector + (low + trained - numbers) * moments, step, within if alone else 0.0)


def _matrices(shape: Shape, stack: Stack, strategy: Strategy) -> Iterator[Matrix]:
    """What is projected: every linear module but the head; the embedding where the stack says so."""
    architecture = shape.architecture
    chosen = adapters(
        architecture,
        Lora(1, 1.0),
        fused_experts=stack.fused_experts,
        expert_adapters=False,
        freeze_parts=strategy.unadapted,
    )
    last = architecture.groups[max(0, shape.depth - strategy.trainable_layers) :]
    for linear in (adapter.linear for adapter in chosen):
        copies = float(linear.count)
        if strategy.method == "freeze":
            if linear.part != "language":
                continue
            copies *= last.count(linear.group) / architecture.blocks[linear.group][0]
        sides = linear.in_features, linear.out_features
        yield Matrix(max(sides), min(sides), copies)
    if stack.low_rank.embedding and strategy.method == "full":
        yield Matrix(architecture.vocab, architecture.hidden, 1)


def _whole(shape: Shape, stack: Stack, projected: float, trained: int) -> tuple[float, float]:
    """Numbers of the two largest parameters that train unprojected."""
    sizes = [0.0, 0.0, float(shape.head)]
    if not stack.low_rank.embedding:
        sizes.append(float(shape.embedding))
    if stack.fused_experts:  # gate and up of all experts are one parameter, down another
        sizes += [layer.experts * share for layer in shape.layers for share in (2 / 3, 1 / 3)]
    first, second = sorted(sizes, reverse=True)[:2]
    room = max(0.0, trained - projected)
    return min(first, room), min(second, room)
