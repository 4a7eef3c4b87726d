"""The peaks outside of steps: of a GPU and of host memory while the model loads, of host memory while it is saved."""

from __future__ import annotations

from mfc.catalog.parameters import count
from mfc.memory import host
from mfc.memory.model import Run
from mfc.memory.prepared import Prepared
from mfc.runtimes import deepspeed
from mfc.strategy import FSDP

SHARD = 5 * host.GIB  # a checkpoint file as the Hub usually cuts them


def loading(run: Run, prepared: Prepared) -> tuple[int, int]:
    """(GPU bytes, host bytes per node) at the peak before the first step."""
    return int(_device(run, prepared) + prepared.outside), _host(run, prepared)


def saving(run: Run, prepared: Prepared) -> int:
    """Host bytes per node while a checkpoint is written.

    ZeRO-3 gathers the 16-bit weights in the RAM of one process (transformers trainer.py; DeepSpeed engine.py,
    `_zero3_consolidated_16bit_state_dict`), of adapters those alone. FSDP's FULL_STATE_DICT takes everything there,
    the frozen base too, as it is stored (accelerate 1.11 utils/fsdp_utils.py), and the optimizer's moments after it.
    """
    training = host.host_bytes(prepared.placement.host, run.gpus_per_node)  # between steps
    states = prepared.static.states
    if run.strategy.sharding == "fsdp":
        return training + int(states.base + states.trained * max(states.weight, states.optimizer))
    gathers = run.strategy.sharding == "zero3" and run.strategy.method in ("full", "freeze")
    return training + (int(2 * states.total) if gathers else 0)


def _device(run: Run, prepared: Prepared) -> float:
    strategy, states = run.strategy, prepared.static.states
    frozen = states.base + states.reference + states.scoring
    whole = frozen + states.trained * states.weight
    at_once = prepared.static.quantised and (strategy.deepspeed or run.stack.loads_everywhere)
    if strategy.zero_stage == 3 and not at_once:  # sharded while it is read
        shard = whole / strategy.world_size if strategy.offload_parameters == "none" else 0.0
        return shard + states.scales + states.layer + states.edges
    if strategy.deepspeed and strategy.zero_stage < 3 and run.stack.trainable_fp32 and strategy.method == "full":
        return frozen + 4.0 * states.trained  # upcast before the engine casts it back
    return whole + states.scales


def _host(run: Run, prepared: Prepared) -> int:
    numbers, ranks = prepared.static.states.total, run.gpus_per_node
    processes = ranks * host.PROCESS
    if run.strategy.sharding in FSDP:
        return int(processes + _read_for_fsdp(run, prepared))
    if run.strategy.zero_stage == 3 and not prepared.static.quantised:  # one rank of the node reads: zero.Init
        return int(processes + numbers * 2 + _converted(run) * ranks + _pieces(run, prepared) * ranks)
    flat = ranks * _flattened(run, prepared)
    if run.stack.loads_on_host and not prepared.static.quantised:  # each process loads the whole model
        width = 4 if run.stack.frozen_fp32 and run.strategy.method in ("lora", "qlora") else 2
        return int(processes + max(ranks * numbers * width, flat))
    # safetensors are mapped, tensor by tensor, to the GPU: one file's pages at a time
    return processes + int(max(min(numbers * 2, SHARD), flat))


def _flattened(run: Run, prepared: Prepared) -> float:
    """Bytes per rank in which stages 1 and 2 make one tensor of what trains: all of it in 16 bits, twice.

    DeepSpeed to 0.18.9 does so on the host, 0.19 only where the GPU has no room for a second copy
    (deepspeed/runtime/zero/stage_1_and_2.py): which one runs is not known, so the host is counted.
    """
    return 4.0 * prepared.static.states.trained if run.strategy.zero_stage in (1, 2) else 0.0


def _read_for_fsdp(run: Run, prepared: Prepared) -> float:
    """Bytes of the models that FSDP finds on the host.

    With cpu_ram_efficient_loading one process reads for all, and others have memory that nothing has written to
    (transformers 4.57 modeling_utils.py); in transformers 5 each one reads it all first. A cast to fp32 writes to all.
    """
    strategy, states, ranks = run.strategy, prepared.static.states, run.gpus_per_node
    if prepared.static.quantised:  # on the GPU, from where transformers 4 moves it to the host
        return min(states.total * 2, SHARD) + (0.0 if run.stack.loads_everywhere else states.base)
    read = 2.0 * states.total * (ranks if run.stack.loads_everywhere else 1)
    wide = run.stack.trainable_fp32 and strategy.precision != "pure_bf16" and strategy.method == "full"
    return max(read, 4.0 * states.total * ranks) if wide and strategy.sharding == "fsdp" else read


def _converted(run: Run) -> float:
    """Bytes per rank of experts that each one stacks into fused parameters before they are split.

    transformers 5.6 and later, integrations/deepspeed.py: every rank reads all files and converts them, on the CPU.
    """
    strategy = run.strategy
    if not (strategy.deepspeed and run.stack.fused_experts) or strategy.quantization is not None:
        return 0.0
    blocks = zip(run.architecture.blocks, count(run.architecture).blocks, strict=True)
    return 2.0 * sum(repeat * counted.experts for (repeat, _), counted in blocks)


def _pieces(run: Run, prepared: Prepared) -> float:
    """Bytes per rank of weights that lie in host memory as soon as they are read."""
    if run.strategy.sharding != "zero3" or run.strategy.offload_parameters != "cpu":
        return 0.0
    states = prepared.static.states
    split = (states.base + 2 * states.trained) / run.strategy.world_size
    return split * (deepspeed.one_by_one(states, run.strategy.world_size) if run.strategy.pin_memory else 1.0)
