"""What decides the phases of a step: how layers run, what trains, and the loop around them."""

from __future__ import annotations

from typing import NamedTuple

from mfc.catalog.architecture import Architecture, Vision
from mfc.catalog.parameters import Adapter
from mfc.memory.formats import Formats
from mfc.memory.mining import Mined
from mfc.memory.optimizers import Reach
from mfc.memory.stack import Stack
from mfc.strategy import Lora


class Inputs(NamedTuple):
    """What decides the activations of a layer, besides the layer."""

    architecture: Architecture
    formats: Formats
    stack: Stack
    lora: Lora | None
    tokens: float  # of one sequence, on one GPU
    length: int  # keys that each of them sees
    kernel: str  # flash, sdpa (no mask), masked (sdpa with a mask of padding), blocks (with one of packed rows), eager
    checkpointing: bool
    offloads: bool  # what checkpointing keeps waits in host memory
    lean: bool  # norm and MLP kernels that keep no fp32 copies
    kbit: bool  # linears are quantised by bitsandbytes
    dequantised: bool  # linears are dequantised in plain torch (GPTQ), which keeps the 16-bit matrix
    tiled: bool  # dense MLPs run tile by tile
    holds_streams: bool  # the gradient of each checkpointed layer's input lives to the end of the backward pass

    @property
    def tile(self) -> float:
        """Tokens of one sequence that an MLP sees at a time: where it is tiled, as many as the hidden size."""
        return min(self.tokens, self.architecture.hidden) if self.tiled else self.tokens

    @property
    def stream(self) -> float:
        """Bytes of the residual stream between two layers, of one sequence."""
        return self.formats.stream * self.architecture.hidden * self.tokens


class Sight(NamedTuple):
    """The vision tower in one step, and what becomes of the pictures of one sequence."""

    vision: Vision
    given: Inputs  # its tokens are patches, its length those that see each other
    tokens: float  # of pictures in the language model's sequence
    adapters: tuple[Adapter, ...]
    graph: bool  # gradients flow through the tower, because it trains or because its patch embedding is hooked
    trains: bool  # the tower or the projector learns: gradients pass the whole language model
    projector: bool  # the projector trains whole
    pixel: float  # bytes of one number of a picture
    mined: Mined | None = None  # what a second tower holds, where there is one


class Trains(NamedTuple):
    """What trains in one step."""

    numbers: int
    copied: int  # of these, how many autocast copies to 16 bit, a head beside adapters apart
    reach: Reach
    frozen: tuple[str, ...]  # parts of the model that do not train: vision, projector, language
    wide_head: bool = False  # the head trains in fp32 beside adapters
    headless: bool = False  # no weight makes logits


class Loop(NamedTuple):
    """How the training loop runs a step."""

    accumulates: bool  # one fresh gradient at a time: added to older ones, or applied at once
    varies: bool  # batches differ in length
    models: float  # that train at once, in sizes of the policy
    sequences: int  # in a micro-batch of 1
