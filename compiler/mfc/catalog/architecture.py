"""The shape of one model: enough to count every parameter and every byte that training keeps.

A model is an embedding, a run of blocks, a final norm and a head; a vision-language model has a tower and a projector
before them. Blocks that repeat are written once with their count.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Literal, NamedTuple

Part = Literal["language", "vision", "projector", "head"]
LinearKind = Literal["attention", "mlp", "shared", "expert", "router", "head"]


@dataclass(frozen=True, slots=True)
class Linear:
    """Linear modules that look alike: one name, one shape, `count` of them in the whole model."""

    name: str  # the module's own name in the transformers class: q_proj, query_key_value, ...
    part: Part
    kind: LinearKind
    in_features: int
    out_features: int
    count: int
    group: int = -1  # index into Architecture.blocks; -1 = outside the decoder's blocks
    bias: bool = False
    fused_expert: bool = False  # one expert's slice of a 3-D parameter; `count` counts slices

    @property
    def weights(self) -> int:
        """Numbers in all the weight matrices, biases left out."""
        return self.in_features * self.out_features * self.count

    @property
    def parameters(self) -> int:
        """Numbers in all the weights and biases."""
        return self.weights + (self.out_features * self.count if self.bias else 0)


class Attention(NamedTuple):
    """One attention layer. Widths are numbers of features, not bytes."""

    kind: Literal["gqa", "mla", "linear"]  # linear = gated delta net and its kin
    heads: int
    kv_heads: int
    head_dim: int  # width of one query/key head (MLA: no-rope part + rope part)
    value_dim: int  # width of one value head; = head_dim unless MLA
    qkv_bias: bool = False
    out_bias: bool = False
    qk_norm: Literal["none", "head", "full"] = "none"  # per head (Qwen3) or over the whole projection (OLMo 2)
    fused_qkv: bool = False  # one linear yields q, k and v (Phi-3, Falcon); linear: q, k, v and z, b and a (Qwen3-Next)
    output_gate: bool = False  # q_proj is twice as wide, half of it gates the output (Qwen3-Next)
    softcap: bool = False  # attention logits pass through tanh (Gemma-2): eager attention only
    sinks: bool = False  # one learned number per head (gpt-oss)
    q_lora_rank: int = 0  # MLA: 0 = q is projected directly
    kv_lora_rank: int = 0  # MLA
    rope_dim: int = 0  # MLA: rope part of head_dim
    conv_kernel: int = 0  # linear: width of the short convolution
    key_heads: int = 0  # linear: heads of q and k (heads = heads of v)
    cross: bool = False  # keys and values come from the image (Llama 3.2 Vision)

    @property
    def q_width(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of all key heads together."""
        return self.kv_heads * self.head_dim

    @property
    def out_width(self) -> int:
        """Width of o_proj's input."""
        return self.heads * self.value_dim


class Mlp(NamedTuple):
    """A dense feed-forward block."""

    width: int
    gated: bool = True
    bias: bool = False
    fused_gate_up: bool = False  # gate and up are one linear (Phi-3, GLM-4)
    written_gelu: bool = False  # GELU in operators, each of which keeps its own (gelu_new: Phi-2, GPT-2)
    quick_gelu: bool = False  # x * sigmoid(1.702 x): the sigmoid is kept as well (CLIP, Qwen2-VL's tower)


class Moe(NamedTuple):
    """A mixture-of-experts feed-forward block."""

    experts: int
    per_token: int
    width: int  # of one routed expert
    shared_width: int = 0  # all shared experts together; 0 = none
    shared_gate: bool = False  # a linear of width 1 gates the shared expert (Qwen2-MoE)
    router_bias: bool = False  # a bias in the router's linear
    correction_bias: bool = (
        False  # one parameter per expert beside the linear (ERNIE 4.5); DeepSeek's is a buffer, so False
    )
    expert_bias: bool = False  # gpt-oss
    router_fp32: bool = False


class Block(NamedTuple):
    """One decoder layer."""

    attention: Attention
    ffn: Mlp | Moe
    norms: int = 2  # 1 (parallel block), 2, or 4 (Gemma-2)
    parallel: bool = False  # attention and MLP read the same normalised input (Falcon, Phi-2, GPT-J)
    extra: int = 0  # parameters of one block that no other field covers (the two gates of a cross-attention layer)


class Pictures(NamedTuple):
    """How a tower cuts pictures: by pixels (`tile` = 0), or into squares of `tile` pixels a side."""

    tile: int = 0
    tiles: int = 1  # at most, of one picture, without the overview
    fixed: bool = False  # every picture is cut into that many tiles, whatever its size
    spare: int = 0  # tiles that a picture in several may take beyond its pixels, for its shape
    overview: bool = False  # a picture in several tiles is shown whole in one more
    tokens: int = 0  # of one tile in the language model's sequence; of one picture where it is `cross`
    cross: bool = False  # layers of the language model attend to pictures, which take no room in the sequence
    class_token: bool = False
    pixels: int = 0  # at most, of one picture, where the tower cuts by pixels; 0 = no limit
    frames: int = 1  # of a video, that one patch covers

    def count(self, pixels: int) -> int:
        """Tiles of a picture of so many pixels, at most."""
        tiles = self.tiles if self.fixed else max(1, -(-pixels // self.tile**2))
        if tiles > 1:
            tiles += self.spare
        tiles = min(tiles, self.tiles)
        return tiles + int(self.overview and tiles > 1)


class Mining(NamedTuple):
    """A second tower's map of the same picture, in which each token of the first attends to the patch that it covers.

    That tower is convolutions, so pictures have any size that gives each token whole positions. Source: Mini-Gemini,
    arXiv:2403.18814, "patch info mining".
    """

    channels: tuple[int, ...]  # of its stages, which are all resized to the grid of the first and joined
    stride: int  # pixels along one side of a position of that grid
    width: int  # of queries, keys and values
    queries: int  # tokens along one side of a tile
    grid: int  # tiles along one side of a picture
    pixels: int  # of a picture, as the model was made for

    @property
    def step(self) -> int:
        """What the side of a picture is a multiple of, in pixels."""
        return self.stride * self.queries * self.grid

    def below(self, pixels: int) -> tuple[int, ...]:
        """The sizes under this one that pictures may have, in pixels, the largest first."""
        sides = range((isqrt(pixels - 1)) // self.step * self.step, 0, -self.step)
        return tuple(side**2 for side in sides)


class Vision(NamedTuple):
    """The vision tower and what joins it to the language model."""

    hidden: int
    layers: int
    heads: int
    width: int  # of its MLP
    patch_size: int
    merge: int  # patches along one side that become one token
    tower_parameters: int
    projector_parameters: int
    gated: bool = False
    quick_gelu: bool = False
    norm: Literal["rms", "layer"] = "layer"
    layer_scale: bool = False  # what attention and MLP return is scaled by a vector
    window: int = 0  # patches of one attention window; 0 = every layer sees the whole picture or tile
    whole: int = 0  # with windows: layers that see the whole picture all the same
    fused: bool = True  # its code has fused attention (SDPA); False: without flash it is eager
    hooked: bool = True  # transformers 5 finds its patch embedding, and hooks it where adapters are to learn
    pictures: Pictures = Pictures()
    mining: Mining | None = None  # a second tower, and the attention to its map, which counts to the projector
    linears: tuple[Linear, ...] = ()  # of tower and projector: what "all-linear" adapters reach there

    def span(self, pixels: int) -> int:
        """Patches that see each other: of one tile, or of a whole picture of so many pixels, one frame of a video."""
        cut = self.pictures
        if cut.tile:
            return (cut.tile // self.patch_size) ** 2 + int(cut.class_token)
        return max(1, min(pixels, cut.pixels or pixels) // self.patch_size**2)

    def patches(self, pixels: int) -> int:
        """Patches of one picture of so many pixels, at most."""
        cut = self.pictures
        tiles = cut.tiles if cut.cross else cut.count(pixels) if cut.tile else 1  # Llama 3.2 pads to all tiles
        return tiles * self.span(pixels)

    def tokens(self, pixels: int) -> int:
        """Tokens of one picture of so many pixels in the language model's sequence, at most."""
        cut = self.pictures
        if cut.tile:
            return cut.tokens * (1 if cut.cross else cut.count(pixels))
        return max(1, self.patches(pixels) // self.merge**2)


class Architecture(NamedTuple):
    """Dimensions of one decoder-only language model, with its vision tower where it has one."""

    family: str  # transformers' model_type of the whole model
    hidden: int
    vocab: int  # rows of the embedding and of lm_head, not the tokenizer's size
    blocks: tuple[tuple[int, Block], ...]  # (count, block), in order of first appearance
    tied: bool
    norm: Literal["rms", "layer"] = "rms"
    norm_bias: bool = False
    norm_weight: bool = True  # False: a norm without parameters (OLMo 1)
    embedding_norm: bool = False  # a norm right after the embedding (Bloom)
    final_norm: bool = True
    head_bias: bool = False
    learned_positions: int = 0  # rows of a learned position embedding
    logit_softcap: bool = False
    max_positions: int = 0  # 0 = unknown
    vision: Vision | None = None
    extra_parameters: int = 0  # parameters of the language model that no other field covers
    text: str = ""  # model_type of the language model, where the config nests it
    order: tuple[int, ...] = ()  # index into `blocks` for each layer, where kinds alternate; () = one after the other

    @property
    def language(self) -> str:
        """The model_type of the language model."""
        return self.text or self.family

    @property
    def layers(self) -> int:
        """How many decoder blocks the model has."""
        return sum(count for count, _ in self.blocks)

    @property
    def groups(self) -> tuple[int, ...]:
        """For each layer from first to last, its index into `blocks`."""
        return self.order or tuple(index for index, (count, _) in enumerate(self.blocks) for _ in range(count))

    @property
    def moe(self) -> bool:
        """Whether any block is a mixture of experts."""
        return any(isinstance(block.ffn, Moe) for _, block in self.blocks)
