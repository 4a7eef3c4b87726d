"""LLaMA-Factory's trainer with a meter in it: stands in for `llamafactory-cli train` where mfc's launch.sh calls it.

The same function runs as behind that command, with a callback more. Where launch.sh asks for torchrun, this process is
the one rank of such a job, with the variables that LLaMA-Factory's own launcher sets.
"""

from __future__ import annotations

import os
import socket
import sys

from benchmarks.measure.meter import Meter, asked, watch


def as_torchrun() -> None:
    """Be the one process that launcher.py of LLaMA-Factory would start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    os.environ.update(
        RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", LOCAL_WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=port
    )
    if os.environ.get("OPTIM_TORCH", "1").lower() in ("true", "y", "1"):
        os.environ.update(PYTORCH_CUDA_ALLOC_CONF="expandable_segments:True", TORCH_NCCL_AVOID_RECORD_STREAMS="1")


def main() -> None:
    if sys.argv[1] != "train":
        raise SystemExit(f"launch.sh calls llamafactory-cli {sys.argv[1]}, not train")
    del sys.argv[1]
    if os.environ.get("FORCE_TORCHRUN", "").lower() in ("true", "y", "1"):
        as_torchrun()
    meter = Meter()
    from llamafactory.train.tuner import run_exp

    run_exp(callbacks=[watch(meter, asked()["case"], built_before=False)])


if __name__ == "__main__":
    main()
