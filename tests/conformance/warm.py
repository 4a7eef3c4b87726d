"""Starts of Python in a framework's environment without the seconds that imports cost.

`warm(environment, folder, …)` starts one server that has imported the environment's libraries, and fills `folder` with
stand-ins for `python` and the console scripts. A launch script that finds them on PATH runs as always: it alone decides
programs, arguments and variables. But where its programs, and the processes that these start by `sys.executable`, would
begin a fresh interpreter, the server forks one that has the libraries already (`drivers/warm_server.py`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.environments import Environment, EnvironmentFailed

DRIVERS = Path(__file__).parent / "drivers"
MARK = "MFC_STARTED_BY"


@dataclass(frozen=True, slots=True)
class Warm:
    """A server, and the folder of stand-ins that belongs before all others on PATH."""

    programs: Path
    process: int

    @property
    def mark(self) -> dict[str, str]:
        """A variable for all that is started, by which processes are known that were not forked from the server."""
        return {MARK: str(self.programs)}

    def abort(self) -> None:
        """End every process that was started; forked ones say on standard error where they stood."""
        os.killpg(self.process, signal.SIGABRT)  # which the server itself ignores
        marked = f"{MARK}={self.programs}".encode()
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # gone, or not ours
                if marked in (place / "environ").read_bytes().split(b"\0"):
                    os.kill(int(place.name), signal.SIGKILL)


@contextlib.contextmanager
def warm(
    where: Environment, folder: Path, scripts: Sequence[str], imports: Sequence[str], variables: Mapping[str, str]
) -> Iterator[Warm]:
    """A server that lives as long as the context.

    `scripts` are console scripts of the environment, `imports` modules, in this order; `variables` those of the
    programs to come that are the same for all. Raises EnvironmentFailed when an import fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    socket = folder / "socket"
    client = (DRIVERS / "warm_client.py").read_text(encoding="utf-8")
    for name in ("python", *scripts):
        begins = [] if name == "python" else [str(where.folder / "bin" / name)]
        text = f"#!{where.python} -IS\n{client}\nsys.exit(start({str(socket)!r}, {begins!r}))\n"
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    ready, tell = os.pipe()
    log = folder / "log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [where.python, DRIVERS / "warm_server.py", socket, folder / "python", str(tell), *imports],
            env=where.variables(variables),
            stdin=subprocess.PIPE,  # closes with this process, however it ends
            stdout=out,
            stderr=subprocess.STDOUT,
            pass_fds=[tell],
            start_new_session=True,
        )
    os.close(tell)
    try:
        with os.fdopen(ready, "rb") as pipe:
            if pipe.read() != b"ready":  # all that is written until the server closes its end
                raise EnvironmentFailed(f"{where.name} cannot be warmed:\n{log.read_text(errors='replace')[-4000:]}")
        yield Warm(folder, server.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
