"""The peaks before the first step, while the model loads: of a GPU, and of host memory per node."""

from __future__ import annotations

from mfc.memory import host
from mfc.memory.model import Run
from mfc.memory.prepared import Prepared

SHARD = 5 * host.GIB  # a checkpoint file as the Hub usually cuts them


def loading(run: Run, prepared: Prepared) -> tuple[int, int]:
    """(GPU bytes, host bytes per node) at the peak before the first step."""
    return int(_device(run, prepared) + prepared.outside), _host(run, prepared)


def _device(run: Run, prepared: Prepared) -> float:
    strategy, states = run.strategy, prepared.static.states
    whole = states.base + states.trained * states.weight
    if strategy.zero_stage == 3 and not (strategy.deepspeed and prepared.static.quantised):  # sharded while it is read
        shard = whole / strategy.world_size if strategy.offload_parameters == "none" else 0.0
        return shard + states.scales + states.layer + states.edges
    if strategy.deepspeed and strategy.zero_stage < 3 and run.stack.trainable_fp32 and strategy.method == "full":
        return states.base + 4.0 * states.trained  # upcast before the engine casts it back
    return whole + states.scales


def _host(run: Run, prepared: Prepared) -> int:
    numbers, ranks = prepared.static.states.total, run.gpus_per_node
    processes = ranks * host.PROCESS
    if run.strategy.zero_stage == 3:  # one rank of the node reads: zero.Init, FSDP with cpu_ram_efficient_loading
        return int(processes + numbers * 2)
    if run.stack.loads_on_host and not prepared.static.quantised:  # each process loads the whole model
        width = 4 if run.stack.frozen_fp32 and run.strategy.method in ("lora", "qlora") else 2
        return int(processes + ranks * numbers * width)
    # safetensors are mapped, tensor by tensor, to the GPU: one file's pages at a time
    return processes + int(min(numbers * 2, SHARD))
