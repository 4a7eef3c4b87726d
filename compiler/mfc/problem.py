"""A problem: a spec joined with the facts about its hardware and its model. Nothing in it is a choice of mfc's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from mfc.catalog.architecture import Architecture
from mfc.catalog.gpu import Gpu, Link
from mfc.fields import place
from mfc.strategy import Quantization, RolloutMode

if TYPE_CHECKING:
    from mfc.spec.models import Spec

# Of a node's RAM, for the kernel and its caches, and for whatever else runs there. An assumption.
SYSTEM = 0.10


class Hardware(NamedTuple):
    """The machines of one run. All nodes are alike."""

    gpu: Gpu
    gpus_per_node: int
    nodes: int
    memory_bytes: int  # of one GPU, after what the user reserved for others
    host_memory_bytes: int | None  # per node; None = unknown
    intra: Link  # between the GPUs of a node
    inter: Link | None  # between nodes
    nvme: str | None = None  # folder on a fast local disk
    cpu_cores: int | None = None  # per node
    devices: tuple[int, ...] = ()  # which GPUs of the node, when the user names them

    @property
    def world_size(self) -> int:
        """All GPUs of the run."""
        return self.gpus_per_node * self.nodes

    @property
    def usable_host_bytes(self) -> int:
        """Of each node's RAM what a run may take; 0 where its size is unknown."""
        return int((self.host_memory_bytes or 0) * (1 - SYSTEM))


class Model(NamedTuple):
    """The model to train. `name` is what a framework is told to load: a Hub id or a local folder."""

    name: str
    architecture: Architecture
    total_parameters: int
    instruct: bool | None = None  # answers chats; None = unknown
    quantized: Quantization | None = None  # the checkpoint itself is quantised
    assumed: tuple[str, ...] = ()  # what was assumed about its dimensions and how it is stored
    like: str | None = None  # the model of the catalogue that it is a copy of

    @property
    def known_as(self) -> tuple[str, ...]:
        """The names by which a framework may know it: its own, then that of the model that it is like."""
        return (self.name, self.like) if self.like else (self.name,)


class Split(NamedTuple):
    """How GRPO and PPO lay generation over the machines. In mode server, `Problem.hardware` is what training keeps."""

    mode: RolloutMode
    gpus: int  # that generate
    nodes: int = 1  # of mode server, when whole nodes generate
    devices: tuple[int, ...] = ()  # mode server on a node shared with training: which of its GPUs generate

    @property
    def outside(self) -> bool:
        """Whether a server on hardware that the spec does not describe generates."""
        return self.mode == "server" and not self.gpus


class Problem(NamedTuple):
    """What is to be planned. `pins` and `ranges` are by plan field; `origin` says where in the spec each was set.

    `split` is there for tasks that generate, once `planner.layouts` has laid them over the machines.
    """

    spec: Spec
    hardware: Hardware
    model: Model
    pins: Mapping[str, Any]
    ranges: Mapping[str, tuple[int, int]]
    origin: Mapping[str, str]
    agreed: frozenset[str] = frozenset()  # pins that make the plans of several targets mean the same
    split: Split | None = None
    beside: tuple[str, ...] = ()  # names of models in the spec that are folders beside it
    places: Mapping[str, str] = {}  # where the spec says a field for one target alone

    def place(self, field: str) -> str:
        """The path of the spec where a field is said."""
        return self.places.get(field) or place(field)
