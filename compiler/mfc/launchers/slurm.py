"""Slurm: an sbatch script with one task a node, each of which runs the start script.

Sources are Slurm 26.05 (src/sbatch/opt.c, src/common/slurm_opt.c) and its manual pages. srun reads the batch job's
cores again since 23.11, and did not from 22.05 on, so it is told them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfc.launchers import Launched
from mfc.launchers.job import GIB, node_script, refused
from mfc.target.outputs import File

if TYPE_CHECKING:
    from mfc.launchers.job import Job

NAME = "slurm"
TITLE = "Slurm"
USES = frozenset({"setup", "arguments", "extra"})
FILE = "job.sbatch"

# Options that say the same in another way, or change who the nodes are: one of a row, and mfc writes that one.
_SAME = {
    "nodes": ("use-min-nodes", "spread-job"),
    "ntasks-per-node": ("ntasks", "tasks-per-node", "ntasks-per-gpu", "ntasks-per-core", "ntasks-per-socket", "array"),
    "gpus-per-node": ("gpus", "gpus-per-task", "gpus-per-socket", "gres"),
    "cpus-per-task": ("cpus-per-gpu",),
    "mem": ("mem-per-cpu", "mem-per-gpu"),
    "requeue": ("no-requeue",),
    "chdir": ("wrap",),
}
_FREE = ("job-name", "output", "open-mode", "mem")  # of what mfc writes, what may be otherwise


def launch(job: Job) -> Launched:
    """job.sbatch, to be submitted from the output folder, which all nodes have to see."""
    directives = {
        "job-name": job.name,
        "nodes": job.nodes,
        "ntasks-per-node": 1,
        "gpus-per-node": job.gpus,
        "cpus-per-task": job.cpus,
        "mem": f"{job.memory // GIB}G",
        "output": "%x-%j.log",
        "open-mode": "append",
        # A run that would not go on where it was must not start over by itself.
        "requeue" if job.resumes else "no-requeue": True,
    }
    data = {
        "directives": [_said(name, value) for name, value in _with(job, directives).items()],
        "script": job.start.script,
        "words": job.start.words if not job.settings.arguments else "",
        "cpus": job.cpus,
        "node": node_script(job, {"NODE_RANK": '"$SLURM_NODEID"'}, rest='"$@"'),
    }
    file = File(FILE, data, "slurm.sbatch.j2", executable=True, folder=Path(__file__).parent)
    return Launched((file,), f"sbatch {FILE} {data['words']}".rstrip())


def _with(job: Job, directives: dict[str, Any]) -> dict[str, Any]:
    """The directives with the user's own. Raises Refused for options that sbatch does not have, or that mfc writes."""
    known = json.loads((Path(__file__).parent / "sbatch_options.json").read_text(encoding="utf-8"))["options"]
    ours = {*directives, *_SAME, *(other for others in _SAME.values() for other in others)} - {*_FREE}
    for name, value in job.settings.extra.items():
        at = f"run.launcher.extra.{name}"
        if name not in known:
            raise refused(at, f"sbatch has no option --{name}", _near(name, known))
        if name in ours and not (name == "gpus-per-node" and re.fullmatch(rf"[\w.-]+:{job.gpus}", str(value))):
            hint = "it follows from hardware and the plan; the kind of GPU may stand before their number"
            raise refused(at, f"--{name} is what mfc says of the nodes", f"{hint}: gpus-per-node: h100:{job.gpus}")
        takes = known[name]
        if takes == "flag" and value is not True:
            raise refused(at, f"--{name} takes no value", f"{name}: true")
        plain = isinstance(value, (str, int, float)) and not isinstance(value, bool)
        if not plain and not (value is True and takes != "value"):
            raise refused(at, f"--{name} takes a value: text or a number")
        if isinstance(value, str) and not value.isprintable():
            raise refused(at, f"--{name} holds a line break or a control character, which ends a line of #SBATCH")
    return {**directives, **job.settings.extra}


def _said(name: str, value: Any) -> str:
    """One option as Slurm reads it: blanks and # stand in quotes, where a backslash stands before itself."""
    if value is True:
        return f"--{name}"
    text = str(value)
    if not re.fullmatch(r"[\w.,:;/%+@=*\[\]()&|!<>~^-]+", text):
        text = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"--{name}={text}"


def _near(name: str, known: dict[str, str]) -> str:
    import difflib

    near = difflib.get_close_matches(name.replace("_", "-"), known, n=1)
    return f"did you mean {near[0]}?" if near else "names are those of the manual page, without dashes in front"
