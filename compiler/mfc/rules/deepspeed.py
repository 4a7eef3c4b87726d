"""What DeepSpeed needs and allows, and the numbers its configuration takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.catalog.architecture import Moe
from mfc.catalog.parameters import count, trainable
from mfc.fields import SPEC_PATHS
from mfc.rules import packages
from mfc.rules.engine import Value, advise, derive, require
from mfc.rules.words import gib, gpus, short
from mfc.versions import before

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.problem import Hardware, Model, Problem
    from mfc.profile import Profile
    from mfc.spec.models import Spec
    from mfc.strategy import Strategy

_AUTO = "transformers integrations/deepspeed.py, trainer_config_finalize: what 'auto' becomes"
_ZERO_CONFIG = "DeepSpeed runtime/zero/config.py"
_THREADS = "torch.distributed.run sets OMP_NUM_THREADS=1 for several processes; DeepSpeed's CPU Adam is OpenMP code"
_LEAVES = ("mixtral", "qwen2_moe", "qwen3_moe")  # sparse blocks that DeepSpeed gathers as one by itself
_ALL = ("zero1", "zero2", "zero3")
_PINNABLE = {
    "reduce_bucket_elements": _ALL,
    "overlap_comm": _ALL,
    "allgather_bucket_elements": _ALL[:2],
    "prefetch_bucket_elements": _ALL[2:],
    "persistence_threshold_elements": _ALL[2:],
    "max_live_elements": _ALL[2:],
}
_REENTRANT_MENDED = "0.19.3"
_SCHEDULES_ARE_STRICT = "2.10"


@require(packages.SOURCE, package=packages.DEEPSPEED)
def package_is_installed(sharding: str, profile: Profile) -> str | None:
    """ZeRO is not chosen where DeepSpeed is declared absent."""
    return packages.absent(profile, packages.DEEPSPEED) if sharding.startswith("zero") else None


@derive("reduce_bucket_elements", _AUTO)
def reduce_bucket(profile: Profile, architecture: Architecture) -> Value:
    """The reduce bucket holds hidden^2 elements, unless the framework fixes it."""
    fixed = profile.stack.reduce_bucket_elements
    if fixed is not None:
        return Value(fixed, f"{profile.target} {profile.version} fixes it: {gib(2 * fixed)} a bucket")
    elements = architecture.hidden**2
    why = f"{architecture.hidden}^2 elements, {gib(2 * elements)} a bucket (DeepSpeed's own default is {gib(1e9)})"
    return Value(elements, why)


@derive(
    "allgather_bucket_elements", _ZERO_CONFIG + ": allgather_bucket_size; stage_1_and_2.py: in shards of its buffer"
)
def allgather_bucket(sharding: str) -> Value:
    """After the step ZeRO-1 and 2 gather half a billion weights at a time, as DeepSpeed does by default."""
    if sharding not in _ALL[:2]:
        return Value(None, f"{sharding} gathers no weights after the step")
    return Value(500_000_000, "DeepSpeed's default; the weights are gathered where they lie, which takes no memory")


@derive("prefetch_bucket_elements", _AUTO)
def prefetch_bucket(profile: Profile, architecture: Architecture) -> Value:
    """ZeRO-3 gathers 0.9 hidden^2 elements ahead, unless the framework fixes it."""
    fixed = profile.stack.prefetch_bucket_elements
    if fixed is not None:
        return Value(fixed, f"{profile.target} {profile.version} fixes it: {gib(2 * fixed)} gathered ahead")
    elements = int(0.9 * architecture.hidden**2)
    return Value(elements, f"0.9 x {architecture.hidden}^2 elements, {gib(2 * elements)} gathered ahead")


@derive("persistence_threshold_elements", _AUTO)
def persistence_threshold(profile: Profile, architecture: Architecture) -> Value:
    """ZeRO-3 keeps parameters of up to 10 hidden elements whole, norms and biases, unless the framework fixes it."""
    fixed = profile.stack.persistence_threshold_elements
    if fixed is not None:
        return Value(fixed, f"{profile.target} {profile.version} fixes it: parameters up to this size stay whole")
    return Value(10 * architecture.hidden, f"10 x {architecture.hidden}: norms and biases are not split")


@derive("sub_group_elements", _ZERO_CONFIG + ": sub_group_size; stage3.py steps one sub-group at a time")
def sub_group(profile: Profile) -> Value:
    """ZeRO-3 updates a billion elements at a time, as DeepSpeed does by default, unless the framework fixes it."""
    elements = profile.stack.sub_group_elements
    return Value(elements, f"the step holds the fp32 gradients of one sub-group: at most {gib(4 * elements)}")


@derive("max_live_elements", _ZERO_CONFIG + ": stage3_max_live_parameters, stage3_max_reuse_distance")
def max_live(profile: Profile) -> Value:
    """ZeRO-3 keeps up to a billion gathered elements, as DeepSpeed does by default, unless the framework fixes it."""
    elements = profile.stack.max_live_parameters
    return Value(elements, f"at most {gib(2 * elements)} of gathered weights at a time")


@derive("overlap_comm", "DeepSpeed stage_1_and_2.py: overlap_comm doubles the reduce bucket below stage 3")
def overlap_comm(sharding: str, profile: Profile, reduce_bucket_elements: int) -> Value:
    """Communication overlaps computation at stage 3, and below it where the framework says so."""
    if sharding == "zero3" and profile.stack.overlap_comm is not False:
        return Value(True, "stage 3 overlaps gathering with computing at no cost in buckets")
    if profile.stack.overlap_comm:
        return Value(True, f"{profile.target} turns it on: a second bucket of {gib(2 * reduce_bucket_elements)}")
    return Value(False, f"below stage 3 it would take a second bucket of {gib(2 * reduce_bucket_elements)}")


@require("torch pinned host cache rounds to powers of two (pytorch issue 95823); " + _ZERO_CONFIG)
def pinning_is_of_offload(
    pin_memory: bool, sharding: str, offload_optimizer: str, offload_parameters: str
) -> str | None:
    """Only what DeepSpeed offloads to the host can be pinned or not."""
    offloads = sharding.startswith("zero") and (offload_optimizer, offload_parameters) != ("none", "none")
    return None if pin_memory or offloads else "DeepSpeed offloads nothing here, so there is nothing to pin or not"


@require(_ZERO_CONFIG)
def buckets_are_of_zero(sharding: str, problem: Problem) -> str | None:
    """DeepSpeed's numbers are pinned only where DeepSpeed splits something, some of them at stage 3 only."""
    for name, stages in _PINNABLE.items():
        if name in problem.pins and sharding not in stages:
            return f"{SPEC_PATHS[name]} is a number of DeepSpeed's for {' and '.join(stages)}, not for {sharding}"
    return None


@advise("DeepSpeed runtime/zero/leaf_module_config.py; issues 4966, 5008 and 7461")
def experts_are_gathered_together(architecture: Architecture, sharding: str) -> str | None:
    """Under ZeRO-3 all experts of a block are gathered at once, or ranks that route differently wait for ever."""
    if sharding != "zero3" or not architecture.moe or architecture.language in _LEAVES:
        return None
    experts = max(block.experts for block in count(architecture).blocks)
    number = max(block.ffn.experts for _, block in architecture.blocks if isinstance(block.ffn, Moe))
    return (
        f"each sparse block gathers its {number} experts at once ({short(experts)} parameters, {gib(2 * experts)}), "
        f"and {architecture.language} is not in DeepSpeed's own list of leaf modules: a run that hangs needs it there"
    )


@advise("transformers issue 47254, mended by DeepSpeed pull request 8148 (v0.19.3)")
def checkpointing_with_adapters(
    sharding: str, method: str, gradient_checkpointing: bool, world_size: int, profile: Profile
) -> str | None:
    """DeepSpeed before 0.19.3 fails with ZeRO-3, adapters and non-reentrant checkpointing."""
    version = profile.packages.get("deepspeed")
    if sharding != "zero3" or method not in ("lora", "qlora") or not gradient_checkpointing or world_size == 1:
        return None
    if version is None or not before(version, _REENTRANT_MENDED):
        return None
    return f"DeepSpeed {version} may end in a CheckpointError (0 recomputed tensors); 0.19.3 and later do not"


@advise(
    "transformers 4.57 trainer.py, _inner_training_loop: the schedule, then DeepSpeed; DeepSpeed runtime/engine.py, "
    "_configure_optimizer; torch optim/lr_scheduler.py: 2.10 zips strictly, 2.9 does not; runs of two targets"
)
def schedules_count_empty_groups(sharding: str, method: str, profile: Profile) -> str | None:
    """Adapters leave a group of the optimizer empty; DeepSpeed drops it, and schedules of torch 2.10 miss it."""
    if not profile.stack.schedule_first or method not in ("lora", "qlora") or not sharding.startswith("zero"):
        return None
    torch = profile.packages.get("torch")
    if torch is not None and before(torch, _SCHEDULES_ARE_STRICT):
        return None
    return (
        "with transformers 4 and torch from 2.10 on, adapters under DeepSpeed stop at the first step (zip() argument 2 "
        f"is longer than argument 1): install torch 2.9, targets.{profile.target}.packages: {{torch: 2.9.1}}"
    )


@advise("DeepSpeed docs, universal checkpointing: checkpoints belong to a stage and a number of GPUs")
def resuming_needs_the_same_layout(spec: Spec, strategy: Strategy) -> str | None:
    """A ZeRO checkpoint resumes only on as many GPUs and at the same stage."""
    if spec.run.existing != "resume" or not strategy.deepspeed:
        return None
    return (
        f"checkpoints resume only with {gpus(strategy.world_size)} at {strategy.sharding}, as this plan has; others "
        "need ds_to_universal.py first"
    )


@advise("DeepSpeed ops/adam: DeepSpeedCPUAdam is compiled with the system's C++ compiler at first use")
def cpu_adam_is_compiled(sharding: str, offload_optimizer: str) -> str | None:
    """Optimizer offload compiles an extension when it first runs."""
    if offload_optimizer == "none" or not sharding.startswith("zero"):
        return None
    also = ", and libaio for NVMe" if offload_optimizer == "nvme" else ""
    return f"the first start compiles DeepSpeed's CPU Adam, one to three minutes: first install g++ and ninja{also}"


@advise("DeepSpeed runtime/swap_tensor: master, moments and gradients of large sub-groups lie on disk, or weights do")
def nvme_takes_space(strategy: Strategy, architecture: Architecture, hardware: Hardware, model: Model) -> str | None:
    """Offload to NVMe writes 16 bytes for each trained parameter of the optimizer, 2 for each weight, every step."""
    size = 16 * trainable(architecture, strategy) if strategy.offload_optimizer == "nvme" else 0
    size += 2 * model.total_parameters if strategy.offload_parameters == "nvme" else 0
    if not size:
        return None
    need = gib(size / hardware.nodes)
    return f"{hardware.nvme} on each node needs {need} free, all of it read and written at every optimizer step"


@derive("cpu_threads", _THREADS)
def cpu_threads(offload_optimizer: str, hardware: Hardware) -> Value:
    """An offloaded optimizer step has the cores of its GPU, as many threads in each process."""
    if offload_optimizer == "none":
        return Value(None, "the optimizer steps on the GPU")
    if hardware.cpu_cores is None:
        return Value(None, "hardware.cpu_cores is not given")
    share = max(hardware.cpu_cores // hardware.gpus_per_node, 1)
    return Value(share, f"the offloaded step has {hardware.cpu_cores} cores for {gpus(hardware.gpus_per_node)}")


@advise(_THREADS)
def cpu_adam_wants_threads(offload_optimizer: str, hardware: Hardware) -> str | None:
    """Launched by torchrun, each process has one thread for an offloaded optimizer step unless told otherwise."""
    if offload_optimizer == "none" or hardware.gpus_per_node == 1 or hardware.cpu_cores is not None:
        return None
    return "the offloaded step runs on CPU threads, one where nothing is said: give hardware.cpu_cores"


RULES = (
    package_is_installed,
    reduce_bucket,
    allgather_bucket,
    prefetch_bucket,
    persistence_threshold,
    sub_group,
    max_live,
    overlap_comm,
    pinning_is_of_offload,
    buckets_are_of_zero,
    experts_are_gathered_together,
    checkpointing_with_adapters,
    schedules_count_empty_groups,
    resuming_needs_the_same_layout,
    nvme_takes_space,
    cpu_adam_is_compiled,
    cpu_threads,
    cpu_adam_wants_threads,
)
