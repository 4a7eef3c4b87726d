"""Whether a framework's own parser takes what mfc writes for a file that it imported, and reads what the file says.

The file and mfc's output go through the drivers of tests/conformance, in the environments that they make; what both
read back is compared. Values that the file leaves to the framework (None, auto) count as the same where mfc says them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mfc.imports import source
from mfc.imports.recognise import recognise

# Facts of the drivers' stand-ins, and world sizes, which the benchmark chooses.
_APART = ("needs", "model_type", "world_size")
_OPEN = (None, "auto", "")


class Pair(NamedTuple):
    """A file of a framework and what mfc writes for it, with the processes of the run."""

    name: str
    file: Path
    made: Path
    processes: int


class Verdict(NamedTuple):
    """Why the framework refuses the file or mfc's output; else where it reads them otherwise."""

    name: str
    original: str = ""
    refused: str = ""
    differs: tuple[str, ...] = ()


def verdicts(target: str, version: str, pairs: Sequence[Pair]) -> list[Verdict]:
    """What the framework makes of each pair that its driver can be asked about."""
    from tests.conformance.judging import judge

    driver, question = DRIVERS[target]
    asked = [(pair, question(pair.file, pair.processes), question(pair.made, pair.processes)) for pair in pairs]
    able = [(pair, old, new) for pair, old, new in asked if old and new]
    answers = judge(driver, f"{target}-{version}", [case for _, old, new in able for case in (old, new)])
    return [_verdict(pair, *answers[2 * at : 2 * at + 2]) for at, (pair, _, _) in enumerate(able)]


def _verdict(pair: Pair, old: dict[str, Any], new: dict[str, Any]) -> Verdict:
    if not new["accepted"]:
        return Verdict(pair.name, refused=new["reason"])
    if not old["accepted"]:
        return Verdict(pair.name, original=old["reason"])
    both = ((key, said, new["facts"].get(key)) for key, said in old["facts"].items() if key not in _APART)
    differs = (f"{key}: {said} → {now}" for key, said, now in both if said not in _OPEN and said != now)
    return Verdict(pair.name, differs=tuple(differs))


def _llamafactory(file: Path, processes: int) -> dict[str, Any] | None:
    """A YAML; where it was written by mfc, its script's launcher is told by the file beside."""
    if file.suffix == ".sh":
        file = file.with_name("train.yaml")
    if not file.exists() or file.suffix not in (".yaml", ".yml"):
        return None
    beside = file.with_name("accelerate.yaml")
    return {
        "file": str(file),
        "folder": str(_root(file)),
        "torchrun": processes > 1,
        "world_size": processes,
        "bf16": True,
        "accelerate": str(beside) if beside.exists() else None,
    }


def _root(file: Path) -> Path:
    """The folder that a run starts from: the repository's, where its data lie."""
    return next((above for above in file.parents if (above / "data" / "dataset_info.json").exists()), file.parent)


def _swift(file: Path, processes: int) -> dict[str, Any] | None:
    """The words and the environment of a script's command."""
    run = recognise(source.read(str(file)), "ms-swift").run
    command, *words = run.arguments or ("",)
    if command not in ("sft", "pt", "rlhf") or run.program.rpartition("/")[2] != "swift":
        return None
    said = {name: value for name, value in run.environment.items() if name != "ASCEND_RT_VISIBLE_DEVICES"}
    said.setdefault("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(processes))))
    here = {"NPROC_PER_NODE": str(processes)} if processes > 1 else {}
    return {
        "folder": str(file.parent),
        "command": command,
        "argv": words,
        "environment": {**said, **here},
        "world_size": processes,
    }


DRIVERS = {"llamafactory": ("llamafactory_driver", _llamafactory), "ms-swift": ("swift_driver", _swift)}
