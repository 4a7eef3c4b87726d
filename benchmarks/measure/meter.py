"""The measuring side of a run, inside its process: what it was asked, its peaks and its time, its answer.

`python -m benchmarks.measure.meter` answers with the machine and its libraries. Imports torch only where it measures.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.measure.grid import Case

LIBRARIES = ("torch", "transformers", "accelerate", "peft", "bitsandbytes", "liger_kernel", "flash_attn", "deepspeed",
             "llamafactory", "datasets")  # fmt: skip
NEEDS_GPU = ("liger_kernel", "flash_attn")


def asked() -> dict[str, Any]:
    """The payload of this process."""
    found: dict[str, Any] = json.loads(Path(os.environ["MFC_MEASURE"], "case.json").read_text(encoding="utf-8"))
    return found


def answer(found: Mapping[str, Any]) -> None:
    """Leave the answer; whole or not at all."""
    folder = Path(os.environ["MFC_MEASURE"])
    (folder / "answer.part").write_text(json.dumps(found), encoding="utf-8")
    (folder / "answer.part").rename(folder / "answer.json")


def about() -> dict[str, Any]:
    """The machine and its libraries; those that run on GPUs only are not named without one."""
    found = [name for name in LIBRARIES if importlib.util.find_spec(name)]
    versions = {name: _version(name) for name in found}
    if "torch" not in found:
        return {"gpu": None, "gpu_memory": None, "libraries": found, "versions": versions}
    import torch

    cuda = torch.cuda.is_available()
    return {
        "gpu": torch.cuda.get_device_name() if cuda else None,
        "gpu_memory": torch.cuda.get_device_properties(0).total_memory if cuda else None,
        "libraries": [name for name in found if cuda or name not in NEEDS_GPU],
        "versions": versions,
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # a folder on PYTHONPATH
        return "of unknown version"


def used_bytes() -> int | None:
    """Device memory in use on the GPU, by all processes; None where nvidia-smi does not say.

    Asked of the driver without a context here.
    """
    if shutil.which("nvidia-smi") is None:
        return None
    gpu = os.environ["CUDA_VISIBLE_DEVICES"]
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i", gpu]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return int(said[0]) * 2**20 if said and said[0].isdigit() else None


class Meter:
    """Peaks in bytes and seconds per optimizer step. To be made before anything touches the GPU."""

    def __init__(self) -> None:
        import torch

        self.cuda = torch.cuda.is_available()
        self._torch = torch
        self._before = used_bytes() if self.cuda else None
        self._process = 0
        self._loading = 0
        self._began = 0.0
        self._seconds: list[float] = []

    def loaded(self, *, forget: bool) -> None:
        """The model stands. `forget`: what building it took is not part of the run's peak."""
        if self.cuda:
            self._loading = self._torch.cuda.max_memory_allocated()
            if forget:
                self._torch.cuda.empty_cache()
                self._torch.cuda.reset_peak_memory_stats()

    def begin(self) -> None:
        """A step begins."""
        if self.cuda:
            self._torch.cuda.synchronize()
        self._began = time.perf_counter()

    def end(self) -> None:
        """A step is done. The driver is asked outside of the time measured."""
        if self.cuda:
            self._torch.cuda.synchronize()
        self._seconds.append(time.perf_counter() - self._began)
        if self._before is not None:
            self._process = max(self._process, (used_bytes() or 0) - self._before)

    def found(self, made: Case, length: int) -> dict[str, Any]:
        """The answer: peaks (None without a GPU), and tokens per second in the median step after the first.

        `length`: tokens in a sequence of the batches seen, padding included.
        """
        peaks = None
        if self.cuda:
            peaks = {
                "allocated": self._torch.cuda.max_memory_allocated(),
                "reserved": self._torch.cuda.max_memory_reserved(),
                "process": self._process or None,
                "allocated_by_loading": self._loading,
            }
        steps = sorted(self._seconds[1:] or self._seconds)
        return {
            "peaks": peaks,
            "length": length,
            "allocator": os.environ.get("PYTORCH_CUDA_ALLOC_CONF"),
            "tokens_per_second": made["micro_batch"] * made["accumulation"] * length / steps[len(steps) // 2],
            "step_seconds": [round(each, 5) for each in self._seconds],
        }


def watch(meter: Meter, made: Case, *, built_before: bool) -> Any:
    """A callback for the Hugging Face Trainer that answers when training ends and lets nothing come after."""
    import transformers

    shapes: set[int] = set()

    class Watch(transformers.TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, model: Any, **__: Any) -> None:
            meter.loaded(forget=built_before)
            model.register_forward_pre_hook(
                lambda _module, _args, given: shapes.add(int(given["input_ids"].shape[1])), with_kwargs=True
            )

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            meter.begin()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            meter.end()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            if not made["length"] - 1 <= max(shapes) <= made["length"]:  # LLaMA-Factory's packer keeps one for itself
                raise SystemExit(f"batches are {sorted(shapes)} tokens long, not {made['length']}")
            answer(meter.found(made, max(shapes)))
            os._exit(0)  # a framework would save the model now, which is not measured

    return Watch()


if __name__ == "__main__":
    answer(about())
