"""Which files a spec trains on, and how their rows are written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mfc import rows
from mfc.data.reading import READERS
from mfc.data.samples import Layout

if TYPE_CHECKING:
    from mfc.spec.inputs import DatasetSpec
    from mfc.spec.load import LoadedSpec


EVAL = "data.eval"


class Source(NamedTuple):
    """One data set of a spec that lies on this machine."""

    field: str  # of the spec: data.train.0, or EVAL
    files: tuple[Path, ...]
    layout: Layout
    weight: float = 1.0
    samples: int | None = None  # so many of its rows are drawn
    folders: tuple[Path, ...] = ()  # where paths of images may start


def sources(loaded: LoadedSpec) -> tuple[list[Source], list[str]]:
    """The data sets to read, that of evaluation last, and a note for each that is on a hub.

    Raises SpecError, at the spec's line, for a path that is not there.
    """
    spec, found, notes = loaded.spec, list[Source](), list[str]()
    for number, one in enumerate(spec.data.train):
        field = f"data.train.{number}"
        if one.hub is not None:
            notes.append(
                f"data.train[{number}] is {one.hub} on a hub, and mfc reads files alone, never the network: download "
                "it and give its path, and its rows count too"
            )
        elif one.path is not None:
            files = _files(loaded, f"{field}.path", one.path)
            found.append(_source(loaded, field, files, one)._replace(weight=one.weight, samples=one.samples))
    if isinstance(spec.data.eval, str) and spec.data.train:
        found.append(_source(loaded, EVAL, _files(loaded, EVAL, spec.data.eval), spec.data.train[0]))
    return found, notes


def _source(loaded: LoadedSpec, field: str, files: tuple[Path, ...], one: DatasetSpec) -> Source:
    task = loaded.spec.train.task
    form = rows.layout(one, task)
    columns = {"images": "images", **rows.columns(one, task)}
    named = frozenset(rows.renamed(one).values())
    layout = Layout(form, task, columns, rows.roles(one, form), named, loaded.spec.data.system)
    return Source(field, files, layout, folders=tuple(dict.fromkeys((files[0].parent, _home(loaded)))))


def _home(loaded: LoadedSpec) -> Path:
    return loaded.path.parent if loaded.path else Path()


def _files(loaded: LoadedSpec, field: str, path: str) -> tuple[Path, ...]:
    place = _home(loaded) / os.path.expanduser(path)
    try:
        if not os.path.isdir(place):
            if not os.path.exists(place):
                raise loaded.error(field, f"there is no {place}")
            return (place,)
        files = tuple(
            sorted(file for file in place.rglob("*") if file.suffix.lower() in READERS and os.path.isfile(file))
        )
    except (OSError, ValueError) as error:
        raise loaded.error(field, f"{place} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not files:
        raise loaded.error(field, f"there is no data in the folder {place}", allowed=f"files in {', '.join(READERS)}")
    return files
