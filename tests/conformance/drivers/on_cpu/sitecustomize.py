"""On PYTHONPATH, this lets XTuner and mmengine run on the CPU, where they ask for a GPU without need."""

import in_order  # noqa: F401
import torch

torch.cpu.is_bf16_supported = lambda: True  # XTuner asks any device whether it computes in bf16
torch.cuda.set_device = lambda _: None  # mmengine chooses a GPU before it looks whether there is one
