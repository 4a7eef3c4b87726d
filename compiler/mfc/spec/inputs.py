"""What a run is made of: the model, the machines, the data."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mfc.lengths import Lengths
from mfc.spec.quantities import Price
from mfc.spec.values import (
    BANDWIDTH,
    CAPABILITY,
    EVALUATION,
    PRICE,
    Auto,
    AutoBandwidth,
    AutoCount,
    AutoFlag,
    AutoFraction,
    AutoPositive,
    AutoSize,
    AutoWhole,
    Count,
    CountOrRange,
    Digest,
    Indices,
    Label,
    Positive,
    Prompt,
    Quantiles,
    Range,
    Size,
    Text,
    Whole,
    also,
    refuse,
    whole,
)

Format = Literal["auto", "alpaca", "sharegpt", "messages", "text", "preference", "prompt"]


class Section(BaseModel):
    """A mapping of the spec: immutable, and closed to keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


def section(description: str) -> Any:
    """A nested mapping whose every field has a default. Its default is validated with the whole, not built apart."""
    return Field(default={}, validate_default=True, description=description)


class ModelSpec(Section):
    """The model to train. Short form: the id alone."""

    id: Label = Field(description="Hub id such as Qwen/Qwen2.5-7B-Instruct, or the path of a local model.")
    config: Text | None = Field(
        default=None, description="Path of a Hugging Face config.json with the dimensions of a model mfc does not know."
    )
    like: Label | None = Field(
        default=None,
        description="Catalogue id of the model that this is a mirror, a local, a quantised or a tuned copy of.",
    )
    revision: Label | None = Field(default=None, description="Branch, tag or commit on the hub.")
    adapter: Text | None = Field(default=None, description="Path or hub id of an adapter to start from.")
    adapter_mode: Literal["continue", "merge"] = Field(
        default="continue", description="continue: train the adapter on; merge: add it to the weights first."
    )
    quantized: Literal["auto", "none", "gptq", "awq", "aqlm", "hqq", "eetq", "bnb", "fp8", "mxfp4"] = Field(
        default="auto",
        description="How the checkpoint is stored already. auto: as the config says; of a copy, as the id ends: -AWQ.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> "ModelSpec":
        if self.config is not None and self.like is not None:
            raise refuse("the dimensions come from a config or from the model that it is like: give one", at="like")
        return self


class GpuSpec(Section):
    """A GPU by its catalogue name, with facts that replace the catalogue's. Short form: the name alone."""

    name: Label = Field(description="Catalogue name in any usual spelling: RTX 4090, A100-80G, H100 SXM. See mfc gpus.")
    memory: AutoSize = Field(default="auto", description="Memory as the driver reports it, with a unit: 24GiB.")
    capability: Annotated[tuple[int, int] | Auto, also(CAPABILITY, "auto")] = Field(
        default="auto", description="CUDA compute capability: 8.6."
    )
    bf16: AutoFlag = Field(default="auto", description="Whether its tensor cores work in bf16.")
    fp16: AutoFlag = Field(default="auto", description="Whether its tensor cores work in fp16.")
    fp8: AutoFlag = Field(default="auto", description="Whether its tensor cores work in fp8.")
    flash_attention: AutoFlag = Field(default="auto", description="Whether FlashAttention-2 has kernels for it.")
    tflops: AutoPositive = Field(default="auto", description="Dense peak in its best 16-bit precision, TFLOP/s.")
    memory_bandwidth: AutoBandwidth = Field(default="auto", description="Memory bandwidth with a unit: 1008GB/s.")


class InterconnectSpec(Section):
    """How the GPUs talk. Short form: the link within a node alone."""

    intra: Annotated[
        str | float, also(BANDWIDTH, "auto", "pcie", "pcie3", "pcie4", "pcie5", "nvlink", "xgmi", "hccs")
    ] = Field(
        default="auto",
        description="Link within a node: its name, or its bandwidth per GPU and direction such as 300GB/s.",
    )
    inter: AutoBandwidth = Field(
        default="auto", description="Bandwidth of one node to the others: 25Gbps, 400Gb/s. Needed when nodes > 1."
    )


class HardwareSpec(Section):
    """The machines, all alike. Short form: a count and a GPU, such as 4x RTX 4090."""

    gpu: GpuSpec = Field(description="The kind of GPU.")
    count: Annotated[int, whole(1, 1024)] = Field(default=1, description="GPUs per node.")
    nodes: Annotated[int, whole(1, 100_000)] = Field(default=1, description="Number of machines.")
    devices: Indices = Field(default=(), description="Which GPUs of each node to use: [0, 1]. Empty: all of them.")
    gpu_reserved: Size = Field(default=0, description="Memory of each GPU that others use, with a unit: 2GiB.")
    host_memory: AutoSize = Field(
        default="auto", description="Your share of one node's RAM: 256GiB. auto: unknown, so nothing is offloaded."
    )
    cpu_cores: AutoCount = Field(default="auto", description="Your share of one node's CPU cores.")
    interconnect: InterconnectSpec = section("How the GPUs talk.")
    price: Annotated[Price | str | None, PRICE] = Field(
        default=None,
        description="What one GPU costs for an hour: 2.10/h, $2.10/h; or a YAML file with lines like RTX 4090: 0.4/h.",
    )
    nvme: Text | None = Field(default=None, description="Folder on a local NVMe disk; naming it allows offload to it.")

    @model_validator(mode="before")
    @classmethod
    def _count_devices(cls, value: Any) -> Any:
        devices = value.get("devices") if isinstance(value, dict) else None
        if isinstance(devices, (list, tuple)) and devices and "count" not in value:
            return {**value, "count": len(devices)}
        return value

    @model_validator(mode="after")
    def _agree(self) -> "HardwareSpec":
        if self.devices and len(self.devices) != self.count:
            raise refuse(f"count is {self.count}, but devices lists {len(self.devices)} GPUs", at="count")
        if self.nodes > 1 and self.interconnect.inter == "auto":
            raise refuse(
                f"with {self.nodes} nodes, interconnect needs the bandwidth between them: "
                "interconnect: {inter: 25Gbps}",
                at="nodes",
            )
        return self


class ColumnsSpec(Section):
    """What the columns of a data set are called, where not as its format has them."""

    text: Text | None = Field(default=None, description="Plain text to learn.")
    prompt: Text | None = Field(default=None, description="The question or the instruction.")
    query: Text | None = Field(
        default=None, description="What follows the instruction. Empty: alpaca's input, none beside a prompt."
    )
    response: Text | None = Field(default=None, description="The answer.")
    system: Text | None = Field(default=None, description="The system message.")
    tools: Text | None = Field(default=None, description="Tools that a conversation may call.")
    messages: Text | None = Field(default=None, description="The turns of a conversation.")
    chosen: Text | None = Field(default=None, description="The better answer.")
    rejected: Text | None = Field(default=None, description="The worse answer.")
    label: Text | None = Field(default=None, description="Whether an answer is good, for kto.")
    images: Text | None = Field(default=None, description="Images, or their paths.")
    videos: Text | None = Field(default=None, description="Videos, or their paths.")


class RolesSpec(Section):
    """How the turns of a conversation are written, where not as the format has them."""

    key: Text | None = Field(default=None, description="Key of a turn that says who speaks: role, from.")
    content: Text | None = Field(default=None, description="Key of a turn that holds its text: content, value.")
    user: Text | None = Field(default=None, description="Word for the user: user, human.")
    assistant: Text | None = Field(default=None, description="Word for the assistant: assistant, gpt.")
    system: Text | None = Field(default=None, description="Word for the system message.")
    tool: Text | None = Field(default=None, description="Word for what a tool returns: tool, observation.")
    function: Text | None = Field(default=None, description="Word for the call of a tool: function_call.")


class DatasetSpec(Section):
    """One data set: a file or a set on the hub. Short form: the path alone."""

    path: Text | None = Field(default=None, description="Path of a file (json, jsonl, parquet, csv, txt) or a folder.")
    hub: Text | None = Field(default=None, description="Id of a data set on the hub.")
    format: Format = Field(default="auto", description="Layout of the rows. auto: data.format, else what task means.")
    weight: Positive = Field(default=1.0, description="Share of this set in the mix, relative to the others.")
    samples: Count | None = Field(default=None, description="Use this many rows, drawn at random. Empty: all.")
    subset: Label | None = Field(default=None, description="Subset (configuration) of a set on the hub.")
    split: Label | None = Field(default=None, description="Split of a set on the hub. Empty: train.")
    columns: ColumnsSpec = section("What the columns are called, where not as the format has them.")
    roles: RolesSpec = section("How turns are written, where not as the format has them.")

    @model_validator(mode="after")
    def _one_source(self) -> "DatasetSpec":
        if (self.path is None) == (self.hub is None):
            raise refuse("a data set is either a path or a hub id: give one of path and hub")
        for name in ("subset", "split"):
            if self.path is not None and getattr(self, name) is not None:
                raise refuse(f"a {name} is of a set on the hub; a path has none", at=name)
        return self


class ImageSpec(Section):
    """Images in the data of a vision-language model."""

    max_pixels: AutoCount = Field(default="auto", description="Larger images are scaled down to this many pixels.")
    per_sample: AutoCount = Field(default="auto", description="The most images that one sample holds: 1.")
    frames: Count | None = Field(
        default=None, description="Samples hold videos: the most frames taken of each, as images of max_pixels."
    )
    share: AutoFraction = Field(
        default="auto", description="Share of samples that hold images: 0.5 or 50%. auto: all of them."
    )


class LengthsSpec(Section):
    """How long the samples are, as `mfc data --write` measured them on these very files."""

    samples: Count = Field(description="Rows of the data that can be trained on.")
    quantiles: Quantiles = Field(
        description="Tokens that 0, 5, 10 ... 90, 95, 98, 99, 99.9 and 100 % of the sequences do not exceed."
    )
    tokens: Literal["counted", "estimated"] = Field(
        description="Whether the model's own tokenizer counted, or characters were."
    )
    file_bytes: Whole = Field(description="Size of the files together.")
    sha256: Digest = Field(description="Digest of the files, by which mfc check tells when the data has moved on.")


class DataSpec(Section):
    """What to train on; needed to compile, not to plan. Short form: the path of a file."""

    train: tuple[DatasetSpec, ...] = Field(default=(), description="One or several data sets to train on.")
    format: Format = Field(default="auto", description="Layout of data sets that do not name their own.")
    eval: Annotated[float | str | None, EVALUATION] = Field(
        default=None, description="What to evaluate on: a share of the training data (2%), the path of a file, or none."
    )
    template: Text = Field(default="auto", description="Chat template. auto: the model's own.")
    system: Prompt | None = Field(
        default=None,
        description="System prompt of chats without one; empty: none at all. Left out: what the template itself adds.",
    )
    max_length: CountOrRange = Field(
        default="auto", description="Longest sequence in tokens. A range: the longest that fits."
    )
    overlong: Literal["truncate", "drop"] = Field(
        default="truncate", description="What happens to samples longer than max_length."
    )
    mean_length: AutoCount = Field(default="auto", description="Mean length of a sample in tokens, when known.")
    lengths: LengthsSpec | None = Field(default=None, description="How long samples are: mfc data --write measures it.")
    packing: AutoFlag = Field(
        default="auto", description="Whether several samples share one row of max_length tokens (pairs: twice as many)."
    )
    workers: AutoWhole = Field(
        default="auto",
        description="Processes that load batches, per GPU; 0: training loads them itself, as it has to on Windows.",
    )
    preprocessing_workers: AutoCount = Field(default="auto", description="Processes that tokenize before training.")
    image: ImageSpec = section("Images, for vision-language models.")

    @model_validator(mode="before")
    @classmethod
    def _spread_format(cls, value: Any) -> Any:
        """Data sets that name no format have the common one."""
        if not isinstance(value, dict) or "format" not in value or not isinstance(value.get("train"), (list, tuple)):
            return value
        common = {"format": value["format"]}
        return {**value, "train": [{**common, **item} if isinstance(item, dict) else item for item in value["train"]]}

    @property
    def distribution(self) -> Lengths | None:
        """The lengths of samples as training meets them, where they were measured."""
        return Lengths(self.lengths.quantiles, self.overlong == "drop") if self.lengths else None

    @property
    def longest(self) -> int | None:
        """The max_length that the longest sample needs, where the model's own tokenizer has counted.

        A multiple of 64, so that tensor cores and sequences split over eight GPUs are content with it.
        """
        counted = self.lengths is not None and self.lengths.tokens == "counted"
        return -(-self.lengths.quantiles[-1] // 64) * 64 if self.lengths and counted else None

    @model_validator(mode="after")
    def _agree(self) -> "DataSpec":
        longest = self.max_length.max if isinstance(self.max_length, Range) else self.max_length
        mean = self.mean_length if self.lengths is None else "auto"  # what was measured may be cut
        if isinstance(longest, int) and isinstance(mean, int) and mean > longest:
            raise refuse(f"mean_length {self.mean_length} is above max_length {longest}", at="mean_length")
        return self
