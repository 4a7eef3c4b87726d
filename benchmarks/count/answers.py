"""Counts what GRPO's log-probabilities hold of logits, with ms-swift's own method, on the CPU.

    PYTHONPATH=compiler python -m benchmarks.count.answers tests/memory/data/answers.json

in an environment that has ms-swift; its rows take the place of those of the same versions. The model is one matrix, so
that logits are all there is; they become fp32 as accelerate makes them, or stay 16 bit, as under DeepSpeed. Figures are
bytes per answer token and vocabulary row, the largest over forward and over backward. `ppo` is TRL's loop by its lines
(ppo_trainer.py: logits of whole sequences, of which the answers' are divided in place), over shares of answers.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.count.policies import Kernels

ROWS, TOKENS, VOCABULARY, WIDTH = 1, 64, 4096, 8  # one row: of several, 16-bit gradients share less
SHARES = (0.25, 0.5, 1.0)  # answer over sequence
PACKAGES = ("torch", "trl", "ms-swift")


class Head:
    """One matrix; what accelerate does to outputs is done here."""

    def __init__(self, wide: bool) -> None:
        self.wide = wide
        self.output: Any = None
        self.weight = torch.randn(VOCABULARY, WIDTH, dtype=torch.bfloat16)

    def __call__(self, hidden: torch.Tensor, logits_to_keep: int = 0) -> Any:
        made = hidden[:, -logits_to_keep:] @ self.weight.t()
        return SimpleNamespace(logits=made.float() if self.wide else made)


def grpo(head: Head, hidden: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """The trainer's method, with what it asks its trainer."""
    package = "swift.rlhf_trainers" if version("ms-swift").startswith("4") else "swift.trainers.rlhf_trainer"
    trainer = importlib.import_module(f"{package}.grpo_trainer").GRPOTrainer
    asked = SimpleNamespace(
        model_kwarg_keys=["logits_to_keep"],
        temperature=0.9,
        template=SimpleNamespace(padding_free=False),
        _prepare_model_inputs=lambda inputs: inputs,
    )
    made = trainer._get_logps_via_local_forward(asked, head, {"hidden": hidden}, answers.shape[1], answers)
    return torch.as_tensor(made[0])


def ppo(head: Head, hidden: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """The lines of the loop that make the new log-probabilities. Its output lives on, for the loop uses it later."""
    selective_log_softmax = importlib.import_module("trl.trainer.utils").selective_log_softmax
    output = head.output = head(hidden)
    logits = output.logits[:, hidden.shape[1] - answers.shape[1] - 1 : -1]
    logits /= 0.9
    return torch.as_tensor(selective_log_softmax(logits, answers))


def measure(
    task: Callable[[Head, torch.Tensor, torch.Tensor], torch.Tensor], wide: bool, length: int
) -> dict[str, float]:
    """Bytes per token and vocabulary row; tokens are the answers' `length` in GRPO, in PPO all."""
    torch.manual_seed(0)
    head = Head(wide)
    hidden = torch.randn(ROWS, TOKENS + 1, WIDTH, dtype=torch.bfloat16, requires_grad=True)
    answers = torch.randint(0, VOCABULARY, (ROWS, length))
    tracker = Kernels()
    tracker.note(head.weight, "weights")
    tracker.phase = "forward"
    with tracker:
        loss = task(head, hidden, answers).sum()
        tracker.phase = "backward"
        tracker.mark("")
        loss.backward()
    logits = ROWS * VOCABULARY * (length if task is grpo else TOKENS + 1)
    return {phase: round(tracker.peaks[phase].size / logits, 2) for phase in ("forward", "backward")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    file = parser.parse_args().file
    versions = {name: version(name) for name in PACKAGES}
    rows: list[dict[str, Any]] = [
        {"task": "grpo", "wide": wide, **measure(grpo, wide, TOKENS)} for wide in (True, False)
    ]
    rows += [
        {"task": "ppo", "wide": wide, "share": share, **measure(ppo, wide, int(share * TOKENS))}
        for wide in (True, False)
        for share in SHARES
    ]
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    runs = [*(run for run in known if run["versions"] != versions), {"versions": versions, "rows": rows}]
    lines = [
        f' {{"versions": {json.dumps(run["versions"])}, "rows": [\n'
        + ",\n".join("  " + json.dumps(row) for row in run["rows"])
        + "\n ]}"
        for run in sorted(runs, key=lambda run: str(run["versions"]))
    ]
    file.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
