"""What starts a program: launchers taken off a command, with what they say of processes, nodes and devices."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from mfc.target.importing import Machines

_Read = Callable[[dict[str, str]], tuple[Machines, str]]

_UNTOLD = Machines()
_FURTHEST = 40  # words before the program: srun, docker and their options
_QUIET = ("echo", "printf", "pip", "pip3", "cd", "mkdir", "cat", "tee", "rm", "export", "source", ".", "set", "ls")
# Options that take no value.
_TORCHRUN = (
    *("standalone", "m", "module", "no_python", "run_path", "use_env"),
    *("enable_rank_prefix", "signals_to_handle_on"),
)
_DEEPSPEED = (
    *("module", "no_python", "no_local_rank", "no_ssh", "no_ssh_check", "force_multi", "bind_cores_to_rank"),
    *("elastic_training", "save_pid", "use_pin"),
)
_ACCELERATE = (
    *("m", "module", "no_python", "multi_gpu", "cpu", "tpu", "use_deepspeed", "use_fsdp", "use_megatron_lm", "quiet"),
    *("debug", "same_network", "no_local_rank", "ipex", "use_xpu", "use_parallelism_config"),
)


class Started(NamedTuple):
    """A program and its arguments, and what its launcher was told."""

    program: str
    arguments: tuple[str, ...]
    machines: Machines = Machines()
    config: str = ""  # the launcher's own file


def candidates(words: Sequence[str]) -> Iterator[Started]:
    """The programs that a command may start, the likeliest first: behind srun, docker or uv there is another one."""
    if not words or words[0] in _QUIET:
        return
    for at, word in enumerate(words[:_FURTHEST]):
        if not word.startswith("-") and (found := _started(words[at:])):
            yield found


def _started(words: Sequence[str], machines: Machines = _UNTOLD) -> Started | None:
    """The program behind launchers and interpreters."""
    name = words[0].rpartition("/")[2]
    rest = list(words[1:])
    if name == "torchrun":
        return _launched(rest, _TORCHRUN, _by_torchrun)
    if name == "deepspeed":
        return _launched(rest, _DEEPSPEED, _by_deepspeed)
    if name == "accelerate" and rest[:1] == ["launch"]:
        return _launched(rest[1:], _ACCELERATE, _by_accelerate)
    if not re.fullmatch(r"python[\d.]*|pypy3?", name):
        return Started(words[0], tuple(rest), machines)
    while rest and rest[0].startswith("-") and rest[0] != "-m":
        rest = rest[2:] if rest[0] in ("-X", "-W") else rest[1:]
    if rest[:1] == ["-m"] and len(rest) > 1:
        if rest[1] in ("torch.distributed.run", "torch.distributed.launch"):
            return _launched(rest[2:], _TORCHRUN, _by_torchrun)
        if rest[1] in ("accelerate.commands.launch", "deepspeed.launcher.runner"):
            called = ["accelerate", "launch"] if rest[1].startswith("accelerate") else ["deepspeed"]
            return _started([*called, *rest[2:]])
        return Started(rest[1], tuple(rest[2:]), machines)
    return Started(rest[0], tuple(rest[1:]), machines) if rest else None


def _launched(rest: list[str], alone: Sequence[str], read: _Read) -> Started | None:
    """Options up to the first word that is none; then the program, a module where the launcher was told so."""
    options: dict[str, str] = {}
    while rest and rest[0].startswith("-"):
        name, equals, value = rest[0].lstrip("-").partition("=")
        name = name.replace("-", "_")
        if equals or name in alone or len(rest) == 1:
            options[name], rest = value, rest[1:]
        else:
            options[name], rest = rest[1], rest[2:]
    if not rest:
        return None
    machines, config = read(options)
    if "m" in options or "module" in options or "no_python" in options:
        return Started(rest[0], tuple(rest[1:]), machines, config)
    inner = _started(rest, machines)
    return inner._replace(machines=machines, config=config) if inner else None


def whole(text: str | None) -> int | None:
    """A number of at least 1 that a text is; of 2:4 the first; None for any other."""
    match = re.fullmatch(r"\s*(\d{1,6})(:\d+)?\s*", text or "")
    return int(match[1]) or None if match else None


def indices(text: str | None) -> tuple[int, ...]:
    """The devices of 0,1,3; nothing for what is no such list."""
    if not re.fullmatch(r"\s*\d{1,4}(\s*,\s*\d{1,4})*\s*,?\s*", text or ""):
        return ()
    return tuple(dict.fromkeys(int(number) for number in re.findall(r"\d+", text or "")))


def _by_torchrun(options: dict[str, str]) -> tuple[Machines, str]:
    return Machines(whole(options.get("nproc_per_node")), whole(options.get("nnodes"))), ""


def _by_deepspeed(options: dict[str, str]) -> tuple[Machines, str]:
    """--num_gpus, or --include HOST:0,1@HOST:0,1."""
    nodes, processes = whole(options.get("num_nodes")), whole(options.get("num_gpus"))
    devices: tuple[int, ...] = ()
    if include := options.get("include"):
        hosts = include.split("@")
        devices = indices(hosts[0].partition(":")[2])
        nodes, processes = nodes or len(hosts), processes or len(devices) or None
    return Machines(processes, nodes, devices), ""


def _by_accelerate(options: dict[str, str]) -> tuple[Machines, str]:
    """--num_processes counts those of all machines."""
    nodes, processes = whole(options.get("num_machines")), whole(options.get("num_processes"))
    each = processes // (nodes or 1) or None if processes else None
    return Machines(each, nodes, indices(options.get("gpu_ids"))), options.get("config_file", "")
