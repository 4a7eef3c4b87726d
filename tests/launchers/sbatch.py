"""What Slurm would read in a batch script: its lines of #SBATCH, by the rules of its own reader.

Of src/sbatch/opt.c: they end at the first line that is a command; blanks part words, but not in quotes; a backslash
takes the meaning from what follows it; a # outside of quotes begins a comment.
"""

from __future__ import annotations

import json
from importlib.resources import files


def directives(script: str) -> dict[str, str | bool]:
    """Options by name, `True` for those without a value. Asserts that Slurm has each, once."""
    known = json.loads((files("mfc.launchers") / "sbatch_options.json").read_text("utf-8"))["options"]
    found: dict[str, str | bool] = {}
    first, *lines = script.split("\n")
    assert first.startswith("#!"), "sbatch wants an interpreter"
    for line in lines:
        if line.strip() and not line.startswith("#"):
            break
        if not line.startswith("#SBATCH"):
            continue
        for word in words(line.removeprefix("#SBATCH")):
            assert word.startswith("--"), word
            name, equals, value = word[2:].partition("=")
            assert name in known, name
            assert name not in found, name
            assert known[name] != ("flag" if equals else "value"), word
            found[name] = value if equals else True
    return found


def words(line: str) -> list[str]:
    found: list[str] = []
    word: str | None = None
    quote = ""
    at = 0
    while at < len(line):
        char = line[at]
        if not quote and char.isspace():
            found += [] if word is None else [word]
            word = None
        elif char == "\\":
            at += 1
            word = (word or "") + line[at]
        elif quote and char == quote:
            quote = ""
        elif not quote and char in "\"'":
            quote = char
        elif not quote and char == "#":
            break
        else:
            word = (word or "") + char
        at += 1
    assert not quote, line
    return found + ([] if word is None else [word])


def lint(script: str) -> dict[str, str | bool]:
    """The directives, once their arithmetic holds: one task a node, which has its GPUs, cores and memory."""
    found = directives(script)
    assert int(found["nodes"]) >= 1
    assert found["ntasks-per-node"] == "1"  # torchrun starts the processes of the GPUs
    assert int(str(found["gpus-per-node"]).rpartition(":")[2]) >= 1
    assert int(found["cpus-per-task"]) >= int(str(found["gpus-per-node"]).rpartition(":")[2])
    assert not {"gpus", "gres", "gpus-per-task", "mem-per-cpu", "mem-per-gpu"} & found.keys()
    assert ("requeue" in found) != ("no-requeue" in found)
    return found
