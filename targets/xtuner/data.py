"""The data sets of XTuner's config, as codecs for `keys`."""

from __future__ import annotations

from typing import Any

from mfc.beside import is_local
from mfc.target.codecs import LEFT_OUT, Codec, Reader, Reading, Unwritten, Writing, spellings
from mfc.target.paths import located
from mfc.target.values import at_key

from . import facts

_LOADER = "datasets:load_dataset"


def data_files() -> Codec:
    """The files to train on; left out where the data are a folder, or on the Hub."""

    def write(at: Writing) -> Any:
        paths = [str(one.path) for one in at.value("data.train") if one.path and facts.file_type(one.path)]
        return [located(path, at.out_to_spec) for path in paths] or LEFT_OUT

    def read(value: Any, reader: Reader) -> Reading:
        return {f"data.train.{at}.path": spellings(path, reader.out_to_spec) for at, path in enumerate(value)}

    return Codec(("data.train",), write, read)


def loader() -> Codec:
    """The call of `datasets.load_dataset` that reads the training data: those files, a folder, or a set on the Hub."""

    def write(at: Writing) -> dict[str, Any]:
        first = at.value("data.train")[0]
        if "data_files" in at.data:
            kind = facts.file_type(str(first.path))
            return {"type": _LOADER, "path": kind, "data_files": {"train": at.data["data_files"]}}
        return {"type": _LOADER, "path": first.hub or located(str(first.path), at.out_to_spec)}

    def read(value: Any, reader: Reader) -> Reading:
        if "data_files" in value:
            if at_key(value, "data_files.train") != reader.data.get("data_files"):
                raise Unwritten("data_files.train is not what data_files says")
            return {}
        name = value["path"]
        folder = spellings(name, reader.out_to_spec)
        if is_local(name):
            return {"data.train.0.path": folder}
        return {"data.train.0.path": (None, *folder), "data.train.0.hub": (name, None)}

    return Codec(("data.train",), write, read)


def rows_map() -> Codec:
    """The function that turns rows into XTuner's own layout: all data sets have the same."""

    def write(at: Writing) -> str:
        return facts.MAPS[facts.layout(at.value("data.train")[0], at.plan.strategy.task)]

    def read(value: Any, reader: Reader) -> Reading:
        layout = next((name for name, function in facts.MAPS.items() if function == value), None)
        if layout is None:
            raise Unwritten(f"{value!r} is none of {', '.join(facts.MAPS.values())}")
        tasks = tuple(task for task in reader.domain("task") if layout in facts.layouts(task))
        meant = ("auto",) if any(layout == facts.layouts(task)[0] for task in tasks) else ()
        sets = range(len(reader.data.get("data_files", ("one",))))
        return {"task": tasks, **{f"data.train.{number}.format": (layout, *meant) for number in sets}}

    return Codec(("data.train",), write, read)
