"""Data: DATA_DIR, the launcher's first argument, and the names inside it that the YAML holds.

Source: finetune.py, DataConfig and _load_datasets: `load_dataset(DATA_DIR, data_files={split: name})`, .jsonl only.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from mfc.target.paths import located

if TYPE_CHECKING:
    from mfc.spec.models import Spec
    from mfc.target.codecs import Writing

_DEEP = "/" + "/".join("d" * 64)  # a folder deep enough that no path climbs out of it


def files(spec: Spec) -> tuple[str, ...]:
    """The files that a run reads, as the spec has them: to train on, and to evaluate on where there is one."""
    asked = spec.data.eval
    held = (asked,) if isinstance(asked, str) and asked != "none" else ()
    return (*(str(one.path) for one in spec.data.train), *held)


def folder(spec: Spec) -> str:
    """The folder that all files of a spec lie in or below, as seen from the spec."""
    placed = [_placed(path) for path in files(spec)]
    common = posixpath.commonpath([posixpath.dirname(path) for path in placed])
    return common if posixpath.isabs(files(spec)[0]) else posixpath.relpath(common, _DEEP)


def name(spec: Spec, path: str) -> str:
    """A file as the YAML calls it: its path below the folder."""
    return posixpath.relpath(_placed(path), _placed(folder(spec)))


def _placed(path: str) -> str:
    return posixpath.normpath(posixpath.join(_DEEP, path))


def data_dir(at: Writing) -> str:
    """DATA_DIR, as seen from the output folder."""
    return located(folder(at.plan.problem.spec), at.out_to_spec)


def train_file(at: Writing) -> str:
    """The name of the file to train on."""
    spec = at.plan.problem.spec
    return name(spec, files(spec)[0])


def eval_file(at: Writing) -> str:
    """The name of the file to evaluate on."""
    spec = at.plan.problem.spec
    return name(spec, files(spec)[-1])
