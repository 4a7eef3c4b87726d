"""Forks Python processes that have a framework's libraries imported already: `tests/conformance/warm.py` starts it.

    python warm_server.py SOCKET PYTHON READY MODULE ...

Each connection asks for one process and brings its standard streams and other descriptors; the answer is its exit
code. A process ends when its connection closes, and the server with all of them when its standard input does. What the
process runs is what `python ARGV` would: a script, `-m module` or `-c code`; anything else, or a variable that an
import here has read otherwise, starts the real interpreter anew.
"""

from __future__ import annotations

import array
import contextlib
import faulthandler
import fcntl
import gc
import importlib
import json
import multiprocessing
import os
import runpy
import select
import signal
import socket as sockets
import sys
import traceback
from types import FrameType
from typing import Any, ClassVar, NamedTuple

STREAMS, DESCRIPTORS = 3, 32
ABOVE = 200  # where descriptors are out of the way of those that a process is started with
SECONDS_TO_END = 5
# Read when an import copies all variables, but every shell and folder has its own; and there are no GPUs to see.
HARMLESS = frozenset({"PATH", "PWD", "OLDPWD", "SHLVL", "_", "CUDA_VISIBLE_DEVICES"})
# Modules that ask on import which process this is, only for what it logs, and where.
ONLY_LOG = frozenset({"mmengine.logging.logger", "swift.utils.logger"})
Asked = dict[str, Any]


class Watched(os._Environ):  # type: ignore[type-arg]
    """The process's variables, which notes the names that are read."""

    read: ClassVar[set[str]] = set()

    def __getitem__(self, key: str) -> str:
        if reader() not in ONLY_LOG:
            self.read.add(key)
        value: str = super().__getitem__(key)
        return value


def reader() -> str:
    """The name of the module that reads a variable, however it asks."""
    frame: FrameType | None = sys._getframe(2)
    while frame and frame.f_globals.get("__name__") in ("os", "collections.abc"):
        frame = frame.f_back
    return str(frame.f_globals.get("__name__")) if frame else ""


class Imported(NamedTuple):
    """What imports have to do with variables: what was there, what they read of it, and what they have added."""

    given: dict[str, str]
    read: frozenset[str]
    added: dict[str, str]

    def differs(self, environment: dict[str, str]) -> list[str]:
        """The names that imports read and that would now say something else."""
        harmless = HARMLESS | {"PYTHONPATH"} if self.places(environment) is not None else HARMLESS
        return sorted(
            name
            for name in self.read - harmless
            if environment.get(name) not in (self.given.get(name), self.added.get(name))
        )

    def places(self, environment: dict[str, str]) -> tuple[list[str], list[str]] | None:
        """What PYTHONPATH has before and behind what it had; None where that was not all kept in one."""
        had, has = (said.get("PYTHONPATH", "").split(os.pathsep) for said in (self.given, environment))
        ends = [end for end in range(len(had), len(has) + 1) if has[end - len(had) : end] == had]
        return (has[: ends[0] - len(had)], has[ends[0] :]) if ends else None


def imported(modules: list[str]) -> Imported:
    """Import modules, each `name` or `name:attribute` (which makes lazy ones import what they hold)."""
    given = dict(os.environ)
    os.environ.__class__ = Watched
    for name in modules:
        module, _, attribute = name.partition(":")
        found = importlib.import_module(module)
        if attribute:
            getattr(found, attribute)
    os.environ.__class__ = os._Environ
    added = {k: v for k, v in os.environ.items() if given.get(k) != v}
    return Imported(given, frozenset(Watched.read), added)


def receive(connection: sockets.socket) -> tuple[Asked, list[int]]:
    """What is asked, with this process's standard streams replaced by those that came along, and other descriptors."""
    head, ancillary, *_ = connection.recvmsg(4, sockets.CMSG_LEN(DESCRIPTORS * array.array("i").itemsize))
    came = array.array("i")
    for *_, data in ancillary:
        came.frombytes(data)
    for number, stream in enumerate(came[:STREAMS]):
        os.dup2(stream, number)
    more = [out_of_the_way(one) for one in came[STREAMS:]]
    for one in came:
        os.close(one)
    size, text = int.from_bytes(head, "big"), b""
    while len(text) < size:
        text += connection.recv(size - len(text))
    return json.loads(text), more


def out_of_the_way(descriptor: int) -> int:
    """A high number for what a descriptor stands for."""
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, ABOVE)


def serve(connection: sockets.socket, python: str, had: Imported) -> None:
    """Start what the connection asks for, in a child, and answer when it has ended."""
    asked, more = receive(connection)
    alive, low = os.pipe()
    held = out_of_the_way(low)
    os.close(low)
    child = os.fork()
    if not child:
        os.close(alive)
        connection.close()
        for one, number in zip(more, asked["descriptors"], strict=True):
            os.dup2(one, number)
            os.close(one)
        become(asked, python, had)
    for one in (held, *more):
        os.close(one)
    ended, *_ = select.select([alive, connection.fileno()], [], [])
    if alive not in ended:  # whoever asked is gone: the child says where it stood, and ends
        os.kill(child, signal.SIGABRT)
        if not select.select([alive], [], [], SECONDS_TO_END)[0]:
            os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(OSError):
        connection.sendall((code if code >= 0 else 128 - code).to_bytes(4, "big"))


def become(asked: Asked, python: str, had: Imported) -> None:
    """Be the process that is asked for; never returns."""
    code = 1
    try:
        faulthandler.enable()
        os.chdir(asked["folder"])
        os.environ.clear()
        os.environ.update({**had.added, **asked["environment"]})
        argv = [word for word in asked["argv"] if word != "-u"] if asked["argv"][:1] == ["-u"] else asked["argv"]
        changed = had.differs(asked["environment"])
        if changed or (argv[0].startswith("-") and argv[0] not in ("-m", "-c")):
            print("warm: starts anew, for", *(changed or argv), file=sys.stderr, flush=True)
            os.execv(sys.executable, [sys.executable, *asked["argv"]])
        before, behind = had.places(asked["environment"]) or ([], [])
        begin = 1 + len(had.given.get("PYTHONPATH", "").split(os.pathsep))  # after the script's folder
        sys.path[begin:begin] = behind
        sys.path[1:1] = before
        sys.executable = python
        multiprocessing.set_executable(python)
        for place in before:  # what an interpreter would import before all else; the server has imported the rest
            if os.path.exists(site := os.path.join(place, "sitecustomize.py")):
                runpy.run_path(site)
        run(argv)
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
        if isinstance(left.code, str):
            print(left.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        finish(code)


def run(argv: list[str]) -> None:
    """Run `python ARGV` in this process."""
    first, *rest = argv
    if first == "-c":
        sys.argv, sys.path[0] = ["-c", *rest[1:]], ""
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    elif first == "-m":
        sys.argv, sys.path[0] = rest, os.getcwd()
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = argv, os.path.dirname(os.path.realpath(first))
        runpy.run_path(first, run_name="__main__")


def finish(code: int) -> None:
    """Leave as an interpreter does."""
    import atexit
    import threading

    with contextlib.suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
    os._exit(code)


def main() -> None:
    place, python, ready, *modules = sys.argv[1:]
    had = imported(modules)
    gc.collect()
    gc.freeze()  # or each child's first collection walks, and so copies, all that was imported here
    server = sockets.socket(sockets.AF_UNIX)
    server.bind(place)
    server.listen(64)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who answer
    signal.signal(signal.SIGABRT, signal.SIG_IGN)
    os.write(int(ready), b"ready")
    os.close(int(ready))
    while sys.stdin not in select.select([server, sys.stdin], [], [])[0]:
        connection, _ = server.accept()
        if not os.fork():
            server.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGABRT, signal.SIG_DFL)
            serve(connection, python, had)
            os._exit(0)
        connection.close()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
