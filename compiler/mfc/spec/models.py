"""The spec language, version 1: its one definition. `Spec` is the whole; its parts are in `inputs` and `training`.

A field holds "auto" (mfc decides), a plain value (a pin), or a `Range` (room). Quantities are plain numbers already:
bytes as int, bytes per second and fractions as float. Short forms have been expanded before (see `short`).
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mfc.spec.inputs import (
    DatasetSpec,
    DataSpec,
    GpuSpec,
    HardwareSpec,
    ImageSpec,
    InterconnectSpec,
    ModelSpec,
    Section,
    section,
)
from mfc.spec.native import clash
from mfc.spec.training import (
    DistillationSpec,
    LoraSpec,
    OffloadSpec,
    OptimSpec,
    PreferenceSpec,
    QuantizationSpec,
    RolloutSpec,
    StrategySpec,
    TrainSpec,
)
from mfc.spec.values import (
    FILES,
    NATIVE,
    NESTED,
    PACKAGES,
    VERSION,
    WORDS,
    AutoCount,
    AutoRelease,
    AutoTime,
    Count,
    Names,
    Range,
    Text,
    also,
    refuse,
    whole,
)

__all__ = [
    "DataSpec",
    "DatasetSpec",
    "DistillationSpec",
    "GpuSpec",
    "HardwareSpec",
    "ImageSpec",
    "InterconnectSpec",
    "LauncherSpec",
    "LoraSpec",
    "ModelSpec",
    "OffloadSpec",
    "OptimSpec",
    "PreferenceSpec",
    "QuantizationSpec",
    "Range",
    "RolloutSpec",
    "RunSpec",
    "Section",
    "Spec",
    "StrategySpec",
    "TargetSpec",
    "TrainSpec",
]


class LauncherSpec(Section):
    """What starts the run on its nodes. Short form: the engine alone."""

    engine: Literal["torchrun", "slurm", "skypilot", "kubeflow", "ray"] = Field(
        default="torchrun", description="torchrun: the start script alone, by hand on each node."
    )
    setup: Names = Field(
        default=(), description="Lines of shell that every node runs before the start script: source venv/bin/activate."
    )
    arguments: Annotated[tuple[str, ...], WORDS] = Field(
        default=(), description="Words after the start script, each one an item of the list."
    )
    image: Text | None = Field(default=None, description="Container image that holds the framework.")
    volume: Text | None = Field(default=None, description="Volume claim that holds the folder of the spec (Kubeflow).")
    extra: Annotated[dict[str, Any], NATIVE] = Field(
        default={}, description="Keys of the engine itself, laid over what mfc writes and checked."
    )


class RunSpec(Section):
    """What the run writes, and when."""

    output_dir: Text = Field(default="output", description="Folder for checkpoints, seen from where the run starts.")
    existing: Literal["fail", "resume", "overwrite"] = Field(
        default="fail", description="What to do when output_dir holds checkpoints already."
    )
    save_every: Annotated[int | str, also(whole(1), "epoch", "never")] = Field(
        default="epoch", description="Optimizer steps between checkpoints, epoch, or never: the trained model alone."
    )
    eval_every: Annotated[int | str, also(whole(1), "auto", "epoch")] = Field(
        default="auto", description="Optimizer steps between evaluations, or epoch. auto: as often as it saves."
    )
    eval_micro_batch: AutoCount = Field(
        default="auto", description="Samples per GPU of an evaluation. auto: as in training, 1 with a fused loss."
    )
    timeout: AutoTime = Field(
        default="auto", description="How long GPUs wait for each other, with a unit: 3h. auto: 3h, 30min for one GPU."
    )
    keep: Annotated[int | str, also(whole(1), "all")] = Field(
        default=2, description="Checkpoints to keep; older ones are deleted. all: none is."
    )
    log_every: Count = Field(default=10, description="Optimizer steps between log lines.")
    samples: Names = Field(
        default=(), description="Prompts that the model answers as it trains, as often as it evaluates."
    )
    report_to: Literal["none", "tensorboard", "wandb", "swanlab", "mlflow", "trackio"] = Field(
        default="none", description="Where metrics are sent."
    )
    probe: bool = Field(
        default=False,
        description="Whether a script lies beside the run that tries its first steps: mfc compile --probe.",
    )
    launcher: LauncherSpec = section("What starts the run on its nodes: torchrun, slurm, or a mapping.")


class TargetSpec(Section):
    """One framework to compile for."""

    version: AutoRelease = Field(
        default="auto", description="Version of the framework. auto: the newest that mfc knows."
    )
    packages: Annotated[dict[str, str | None], PACKAGES] = Field(
        default={}, description="Installed packages and their versions, when known; null: not installed."
    )
    out: Text | None = Field(default=None, description="Output folder, relative to the spec.")
    template: Text = Field(default="auto", description="Chat template by this framework's name. auto: data.template.")
    extra: Annotated[dict[str, Any], NESTED] = Field(
        default={}, description="Keys of the framework itself, passed on and checked by its contract."
    )
    extra_unchecked: Annotated[dict[str, Any], NESTED] = Field(
        default={}, description="Keys of the framework that are newer than the contract; passed on unchecked."
    )

    @model_validator(mode="after")
    def _agree(self) -> "TargetSpec":
        if twice := clash(self.extra, self.extra_unchecked):
            raise refuse(f'"{twice}" is in extra and in extra_unchecked', at=f"extra_unchecked.{twice}")
        return self


class Spec(Section):
    """A fine-tuning run, said once for every framework. Only model and hardware are required."""

    mfc: Annotated[Literal[1], VERSION] = Field(default=1, description="Version of this language.")
    extends: Annotated[tuple[str, ...], FILES] = Field(
        default=(), description="Specs to build on, relative to this file; this one's keys win. Merged when loaded."
    )
    model: ModelSpec = Field(description="The model to train: a hub id, or a mapping.")
    hardware: HardwareSpec = Field(description="The machines: 4x RTX 4090, or a mapping.")
    hub: Literal["huggingface", "modelscope"] = Field(
        default="huggingface", description="The hub that the ids of models and data sets are of, on every target."
    )
    data: DataSpec = section("What to train on: a path, or a mapping.")
    train: TrainSpec = section("The recipe: what decides the result.")
    strategy: StrategySpec = section("Memory and time; all auto by default.")
    run: RunSpec = section("Checkpoints and logs.")
    objective: Literal["speed", "memory"] = Field(
        default="speed", description="What to make best among the plans that fit."
    )
    targets: dict[str, TargetSpec] = Field(
        default={}, description="Frameworks to compile for: a list of names, or a mapping with settings for each."
    )

    @model_validator(mode="after")
    def _agree(self) -> "Spec":
        for part in ("optimizer", "parameters"):
            if getattr(self.strategy.offload, part) == "nvme" and self.hardware.nvme is None:
                raise refuse("offload to nvme needs hardware.nvme, the folder to use", at=f"strategy.offload.{part}")
        gpus, world = self.train.rollout.gpus, self.hardware.count * self.hardware.nodes
        if isinstance(gpus, int) and gpus >= world:
            raise refuse(f"keeping {gpus} of {world} GPUs for vLLM leaves none to train on", at="train.rollout.gpus")
        return self
