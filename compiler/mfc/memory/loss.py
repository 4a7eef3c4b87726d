"""What logits and the loss take: bytes per token and vocabulary row, by what computes the loss.

The table and its sources are in docs/memory-model.md, section "Loss".
"""

from __future__ import annotations

from typing import NamedTuple

from mfc.memory.inputs import Inputs
from mfc.memory.stack import Moments

CHUNK = 1 / 8  # of a sequence: what losses in chunks work on at a time (docs/memory-model.md, "Loss")


class Head(NamedTuple):
    """The last linear and the loss."""

    vocab: int  # 0 for tasks without logits
    trains: bool
    fused: bool  # the head and the loss run in chunks
    chunked_logits: bool  # only the loss runs in chunks, logits exist whole
    share: float = 1.0  # width of its gradient, as a share of the other gradients' width
    in_place: bool = False  # the loss writes its gradient over the logits
    unscored: bool = False  # logits are made and upcast, and a loss that nobody uses; the head gets no gradient
    preference: Moments | None = None  # the loss compares answers


class Logits(NamedTuple):
    """Bytes per token and vocabulary row, of everything that is as large as the logits."""

    forward: float
    backward: float
    held: float = 0.0  # of `backward`, while the head and the layers run backward


class Tiled(NamedTuple):
    """What a head that scores tokens in tiles holds (`Stack.tiles`): bytes per sequence, and fixed."""

    hidden: float = 0.0  # the hidden states that are scored, a copy that its backward pass needs
    gradient: float = 0.0  # their gradient in fp32
    tile: float = 0.0  # fixed: one tile of logits
    weight: float = 0.0  # fixed: the gradient of the head in fp32, beside the one in the head's type


def tiled(given: Inputs, head: Head, head_rows: float) -> Tiled:
    """What the tiles of the head take; nothing where it makes whole logits or Liger's kernel does the work.

    Source: TRL 1.16.0 kernels/chunked_logprob.py, ChunkedLogProbFunction.
    """
    tiles, formats = given.stack.tiles, given.formats
    if not head.fused or tiles is None:
        return Tiled()
    scored = given.architecture.hidden * given.tokens * head.vocab / given.architecture.vocab
    element = 2.0 if formats.autocast else float(formats.logits)
    wide = 4.0 * head_rows if head.trains and head.share * formats.trained < 4 else 0.0
    return Tiled(formats.stream * scored, 4.0 * scored, element * tiles.tokens * tiles.vocab, wide)


def logits_bytes(given: Inputs, head: Head) -> Logits:
    """What logits and the loss take."""
    formats, stack = given.formats, given.stack
    width = formats.logits
    cap = 2.0 if given.architecture.logit_softcap else 0.0
    if head.fused:
        return Logits(0.0, 0.0)
    if head.preference is not None:
        return Logits(max(head.preference.forward, width) + cap, head.preference.backward + cap)
    if head.unscored:
        # The log-softmax of a loss that comes with the labels and is not used, and the logits in fp32.
        return Logits((8.0 if width == 4 else width + 8.0) + cap, 0.0)
    if head.in_place:  # accelerate hands outputs of autocast on in fp32 (convert_outputs_to_fp32)
        return Logits((width + 4.0 if formats.autocast and width == 2 else width) + cap, width + cap)
    if head.chunked_logits and given.lean:  # compiled or fused: what a chunk saves is its logits
        return Logits(width + 4.0 * CHUNK + cap, width + 4.0 * CHUNK + cap)
    if head.chunked_logits:
        # whole logits and the fp32 log-softmax that each chunk saves; backward, one chunk's gradient as well, which
        # takes the place of what the chunk saved
        whole = 4 if stack.outputs_fp32 else width
        return Logits(whole + 4.0 + cap, whole + 4.0 + 4.0 * CHUNK + cap)
    if width == 4:
        forward, backward = 8.0, 12.0
    elif stack.logits_fp32_copy or formats.autocast:  # autocast runs cross entropy in fp32
        forward, backward = width + 8.0, 12.0
    else:
        forward, backward = (3.0 if stack.logits_shift_copy else 2.0) * width, 3.0 * width
    held = 0.0
    if stack.keeps_outputs:
        held = 4.0 if formats.autocast or width == 4 or stack.logits_shift_copy else float(width)
    if stack.logits_shift_copy and width == 2 and stack.logits_fp32_copy:
        # fp32 logits, their shifted copy, log-softmax; and the logits themselves
        forward = 14.0 if stack.logits_beside_copies else 12.0
    return Logits(forward + cap, backward + held + cap, held + cap)
