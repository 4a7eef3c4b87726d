"""No engine: the target's own start script, typed by hand on each node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.emit import quote
from mfc.launchers import Launched

if TYPE_CHECKING:
    from mfc.launchers.job import Job

NAME = "torchrun"
TITLE = "torchrun by hand"
USES = frozenset({"arguments"})


def launch(job: Job) -> Launched:
    """No file; the command of node 0."""
    server = f"bash {job.start.server} & " if job.start.server else ""
    node = "NODE_RANK=0 MASTER_ADDR=HOST " if job.nodes > 1 else ""
    words = quote.words(job.settings.arguments) or job.start.words
    return Launched((), f"{server}{node}bash {job.start.script} {words}".rstrip())
