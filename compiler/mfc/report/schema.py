"""The shape of `mfc plan --format json`, from which schemas/plan.schema.json is generated."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """A part of a report, with no keys but its own."""

    model_config = ConfigDict(extra="forbid")


class LoraReport(Part):
    """The adapters."""

    rank: int
    alpha: float
    dropout: float
    targets: str = Field(description="all-linear, attention, mlp, or module names separated by commas")
    variant: Literal["lora", "rslora", "dora"]
    modules_to_save: list[str]


class QuantizationReport(Part):
    """How the frozen base is stored."""

    bits: int
    kind: str
    double: bool
    pre: bool = Field(description="the checkpoint itself is quantised")


class StrategyReport(Part):
    """The strategy, in neutral terms."""

    task: str
    method: Literal["full", "lora", "qlora", "freeze"]
    precision: Literal["bf16", "pure_bf16", "fp16", "fp32"]
    sharding: Literal["ddp", "zero1", "zero2", "zero3", "fsdp", "fsdp2"]
    zero_stage: Literal[0, 1, 2, 3]
    offload_optimizer: Literal["none", "cpu", "nvme"]
    offload_parameters: Literal["none", "cpu", "nvme"]
    offload_activations: Literal["none", "cpu"]
    pin_memory: bool
    micro_batch: int = Field(description="samples per GPU and forward pass")
    gradient_accumulation: int
    world_size: int
    max_length: int = Field(description="tokens")
    packing: bool
    gradient_checkpointing: bool
    attention: Literal["flash", "flash3", "sdpa", "eager"]
    loss: Literal["plain", "fused"]
    mlp: Literal["whole", "tiled"]
    optimizer: str
    sequence_parallel: int
    lora: LoraReport | None
    quantization: QuantizationReport | None


class GpuReport(Part):
    """Memory of one GPU, in bytes."""

    capacity_bytes: int = Field(description="what the run may use of the GPU")
    budget_bytes: int = Field(description="capacity less the headroom; a plan fits when upper_bytes is at most this")
    allocated_peak_bytes: int = Field(description="torch.cuda.max_memory_allocated")
    peak_bytes: int = Field(description="what nvidia-smi shows at the peak")
    upper_bytes: int = Field(description="the bound on what tensors need, the CUDA context included")
    held_bytes: int = Field(
        description="the bound on what the allocator would come to hold; what is beyond the card it gives back"
    )
    moment: str
    components: dict[str, int] = Field(description="parts of peak_bytes at that moment")
    moments: dict[str, int]


class HostReport(Part):
    """Memory of one node's host, in bytes."""

    per_node_bytes: int
    saving_bytes: int = Field(description="while a checkpoint is written, per_node_bytes included")
    budget_bytes: int | None = Field(description="of the node's RAM, less what is left to the system; null: unknown")


class LoadReport(Part):
    """Memory while the model loads, in bytes: of one GPU, and of one node's host."""

    gpu_bytes: int
    host_bytes: int


class CalibrationKeyReport(Part):
    """What the runs have in common with the plan."""

    target: str = Field(description="with its version")
    attention: str
    loss: str
    quantization: str
    gpu: str


class CalibrationReport(Part):
    """What runs measured on this machine say about the plan, which itself does not follow them. Bytes of one GPU."""

    key: CalibrationKeyReport
    runs: int = Field(description="0: all runs are outdated")
    bias: float = Field(description="measured over predicted, shrunk towards 1 while runs are few")
    peak_bytes: int
    upper_bytes: int
    fits: bool = Field(description="upper_bytes stays within the budget")
    own_bound: bool = Field(description="upper_bytes comes from the spread of these runs alone")
    outdated: int = Field(description="runs whose predictions another version of mfc made: not counted")


class MemoryReport(Part):
    """All memory."""

    gpu: GpuReport
    host: HostReport
    load: LoadReport
    confidence: str
    uncertainty: list[str]
    calibration: CalibrationReport | None = Field(default=None, description="null: no run of this kind was measured")


class SpeedReport(Part):
    """An estimate of time."""

    seconds_per_step: float
    tokens_per_second: float
    bound_by: str


class HardwareReport(Part):
    """The machines."""

    gpu: str
    gpus_per_node: int
    nodes: int


class ParametersReport(Part):
    """Numbers of parameters."""

    total: int
    trainable: int


class DecisionReport(Part):
    """One value and why."""

    field: str
    value: Any
    rule: str = Field(description="id of the rule; `spec` for a pin, `default`, or `search`")
    because: str
    source: str
    pinned: bool


class AlternativeReport(Part):
    """A strategy that lost, by what differs from the winner."""

    changes: dict[str, Any]
    upper_bytes: int
    seconds_per_step: float
    fits: bool
    because: str


class PointReport(Part):
    """A strategy that no other beats in both memory and time, by what differs from the plan."""

    changes: dict[str, Any]
    upper_bytes: int
    seconds_per_step: float
    fits: bool


class LeverReport(Part):
    """One field of the plan set to another value, all else kept."""

    field: str
    value: Any
    saved_bytes: int = Field(description="below 0: it takes so much more")
    added_seconds: float = Field(description="a step; below 0: it gains so much")
    fits: bool


class RelaxationReport(Part):
    """Spec edits after which a plan fits."""

    set: dict[str, Any]
    upper_bytes: int
    seconds_per_step: float
    fits: bool


class CostReport(Part):
    """What the GPUs of a run cost."""

    currency: str = Field(description="the sign before the price; empty where there was none")
    an_hour: float = Field(description="of one GPU")
    run: float | None = Field(description="null: how long it takes is not known")
    thousand_rows: float | None = Field(description="trained on once")


class RunReport(Part):
    """The whole run: training alone, without loading, evaluation and saving. Null: the spec does not say enough."""

    rows: int | None = Field(description="of one epoch")
    steps: int | None
    seconds: float | None
    thousand_rows_seconds: float | None = Field(description="for a thousand rows, trained on once")
    full_length: bool = Field(description="every row was taken to be as long as data.max_length")
    gpus: int
    cost: CostReport | None = Field(description="null: hardware.price says nothing of this GPU")


class WarningReport(Part):
    """Advice that changes nothing."""

    id: str
    message: str


class PlanReport(Part):
    """One plan of one spec for one target."""

    spec: str
    spec_sha256: str
    target: str
    target_version: str
    fits: bool
    limited_by: Literal["gpu", "host", "load", "rollout"] | None
    verified: bool = Field(description="false: native keys that may change memory were passed through")
    model: str
    hardware: HardwareReport
    strategy: StrategyReport
    memory: MemoryReport
    speed: SpeedReport
    run: RunReport
    parameters: ParametersReport
    decisions: list[DecisionReport]
    alternatives: list[AlternativeReport]
    frontier: list[PointReport] = Field(description="memory against time, the leanest first")
    levers: list[LeverReport]
    rejected: dict[str, str] = Field(description="rule id -> why it excluded something")
    relaxations: list[RelaxationReport]
    needs: list[str] = Field(description="packages that the plan rests on and of which the spec says nothing")
    warnings: list[WarningReport]


class RefusalReport(Part):
    """Why a target does not write a spec, or nothing does."""

    spec: str
    target: str | None = Field(description="null: the spec is wrong whatever the target")
    error: str
    exit_code: int


class PlansReport(Part):
    """What `mfc plan --format json` prints. A plan that fits and that its target cannot write is in both lists."""

    schema_version: Literal[1]
    plans: list[PlanReport]
    refused: list[RefusalReport]


def json_schema() -> dict[str, Any]:
    """The JSON Schema of `mfc plan --format json`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **PlansReport.model_json_schema(),
        "title": "Plans by mfc, the memory-fit compiler",
    }
