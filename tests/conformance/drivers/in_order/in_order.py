"""Imported by what lets frameworks run on the CPU: Gloo's operations end in the order in which they began.

DeepSpeed starts several and waits for the last one only, which is right on a GPU, whose stream keeps the order. Gloo
has two threads for each group: parameters gathered late overwrite what was loaded into them meanwhile, and training
goes on from whatever the memory held before. What is gathered into one tensor comes as from NCCL, past autograd: Gloo
writes through views of it, which autograd refuses where a gradient is asked of what is sent.

A run that is asked to (`MFC_LONGEST`, a file) notes how many tokens its model reads at once, so that a test can tell.

No group ends before its process: in PyTorch 2.13 DDP's Reducer takes its group along with the interpreter's lock held,
and waits for the group's thread, which may itself wait for that lock to let a tensor go. A run in some twenty stood
still after its last step; NCCL's groups have no such thread.
"""

import ctypes
import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed
from torch.distributed import ProcessGroupGloo

made: Any = ProcessGroupGloo.__init__


def with_one_thread(self: ProcessGroupGloo, store: Any, rank: int, size: int, timeout: timedelta) -> None:
    options: Any = ProcessGroupGloo._Options()
    options._devices, options._threads, options._timeout = [ProcessGroupGloo.create_default_device()], 1, timeout
    made(self, store, rank, size, options)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))


ProcessGroupGloo.__init__ = with_one_thread
torch.distributed.all_gather_into_tensor = torch.no_grad()(torch.distributed.all_gather_into_tensor)

looked_up: Any = torch.nn.Embedding.forward


def and_noted(self: torch.nn.Embedding, tokens: torch.Tensor) -> torch.Tensor:
    if note := os.environ.get("MFC_LONGEST"):
        with open(note, "a", encoding="utf-8") as stream:
            stream.write(f"{tokens.shape[-1]}\n")
    return looked_up(self, tokens)


torch.nn.Embedding.forward = and_noted
