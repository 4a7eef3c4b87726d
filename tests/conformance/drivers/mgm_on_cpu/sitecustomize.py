"""On PYTHONPATH beside `trainer_on_cpu`, this lets MGM's script run on the CPU, where it asks for a GPU by name."""

import runpy
from pathlib import Path
from typing import Any

import torch

runpy.run_path(str(Path(__file__).parents[1] / "trainer_on_cpu" / "sitecustomize.py"))  # one of the name is loaded
moved: Any = torch.nn.Module.to


def to(self: torch.nn.Module, *args: Any, **kwargs: Any) -> torch.nn.Module:
    """The projector goes to "cuda" after its weights were loaded (mgm_arch.py, initialize_vision_modules)."""
    if kwargs.get("device") == "cuda":
        kwargs["device"] = "cpu"
    made: torch.nn.Module = moved(self, *args, **kwargs)
    return made


torch.nn.Module.to = to
torch.cuda.synchronize = lambda *_: None  # before it saves the last time (train.py, safe_save_model_for_hf_trainer)
