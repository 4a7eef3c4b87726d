"""Where measured runs happen: interpreters with their libraries, and one process group per run."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# Frameworks that are driven, and the pinned lists under tests/conformance/requirements that hold them.
PINNED = {"trainer": "oracle", "deepspeed": "deepspeed-0.19.8", "llamafactory": "llamafactory-0.9.5"}
OUT_OF_MEMORY = re.compile(r"OutOfMemoryError|CUDA (error: )?out of memory|CUBLAS_STATUS_ALLOC_FAILED")
ONE_GPU = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]  # with more the Trainer copies the model to all


@dataclass(frozen=True, slots=True)
class Place:
    """An interpreter, and the variables that its processes see."""

    python: Path
    variables: Mapping[str, str]

    def command(self, module: str) -> list[str]:
        """A module of this package, to be run here."""
        return [str(self.python), *program(module)]


def program(module: str) -> tuple[str, str]:
    """Arguments with which any interpreter runs a module of this package; its processes find the repository's root."""
    return "-m", f"benchmarks.measure.{module}"


def here() -> Place:
    """The running interpreter with whatever it can import."""
    return Place(Path(sys.executable), _variables(os.environ, Path(sys.executable)))


def pinned(framework: str) -> Place:
    """The framework in the versions that mfc is tested with; the environment is made when it is not there (minutes)."""
    from tests.conformance.environments import environment

    found = environment(PINNED[framework])
    given = {key: value for key, value in found.variables().items() if key != "DS_ACCELERATOR"}
    return Place(found.python, _variables(given, found.python))


def _variables(given: Mapping[str, str], python: Path) -> dict[str, str]:
    return {
        **given,
        "CUDA_VISIBLE_DEVICES": ONE_GPU,
        "HF_HUB_OFFLINE": "1",
        "PATH": f"{python.parent}{os.pathsep}{given.get('PATH', os.defpath)}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), given.get("PYTHONPATH")])),
        "TOKENIZERS_PARALLELISM": "false",
    }


def _end(process: subprocess.Popen[bytes], folder: str) -> None:
    """End a run with everything it started: its group, and what left the group, as torchrun's workers do."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    mark = f"MFC_MEASURE={folder}".encode()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # gone by now, or somebody else's
            if mark in environ.read_bytes().split(b"\0"):
                os.kill(int(environ.parent.name), signal.SIGKILL)


def ask(
    place: Place,
    command: Sequence[str],
    payload: Mapping[str, Any],
    seconds: float,
    variables: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> dict[str, Any]:
    """What a run answers to a payload. One that fails or takes too long answers with `error`, or with `oom`.

    The run reads case.json and writes answer.json in the folder $MFC_MEASURE. Everything it started ends with it.
    """
    with tempfile.TemporaryDirectory(prefix="mfc-measure-") as name:
        folder = Path(name)
        (folder / "case.json").write_text(json.dumps(payload), encoding="utf-8")
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={**place.variables, **(variables or {}), "MFC_MEASURE": name},
                start_new_session=True,
            )
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                _end(process, name)
        answer = folder / "answer.json"
        if answer.exists():
            found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
            return found
        if code is None:
            return {"error": f"not done within {seconds:.0f} s"}
        said = (folder / "log").read_text(encoding="utf-8", errors="replace")
        if OUT_OF_MEMORY.search(said):
            return {"oom": True}
        return {"error": f"exit code {code}: " + " ".join(said.split()[-60:])}
