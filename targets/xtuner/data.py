"""The data sets of XTuner's config, as codecs for `keys`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfc import rows
from mfc.beside import is_local
from mfc.target.codecs import LEFT_OUT, Codec, Reader, Reading, Unwritten, Writing, spellings
from mfc.target.paths import located
from mfc.target.values import at_key

from . import facts

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

_LOADER = "datasets:load_dataset"


def data_files() -> Codec:
    """The files to train on; left out where the data are a folder, or on the Hub."""

    def write(at: Writing) -> Any:
        paths = [str(one.path) for one in at.value("data.train") if one.path and facts.file_type(one.path)]
        return [located(path, at.out_to_spec) for path in paths] or LEFT_OUT

    def read(value: Any, reader: Reader) -> Reading:
        return {f"data.train.{at}.path": spellings(path, reader) for at, path in enumerate(value)}

    return Codec(("data.train",), write, read)


def loader() -> Codec:
    """The call of `datasets.load_dataset` that reads the training data: those files, a folder, or a set on the Hub."""

    def write(at: Writing) -> dict[str, Any]:
        first = at.value("data.train")[0]
        if "data_files" in at.data:
            kind = facts.file_type(str(first.path))
            return {"type": _LOADER, "path": kind, "data_files": {"train": at.data["data_files"]}}
        made = {"type": _LOADER, "path": first.hub or located(str(first.path), at.out_to_spec)}
        part = {"name": first.subset, "split": first.split}
        return {**made, **{key: value for key, value in part.items() if value}}

    def read(value: Any, reader: Reader) -> Reading:
        if "data_files" in value:
            if at_key(value, "data_files.train") != reader.data.get("data_files"):
                raise Unwritten("data_files.train is not what data_files says")
            return {}
        name = value["path"]
        folder = spellings(name, reader)
        if is_local(name):
            return {"data.train.0.path": folder}
        part = {"subset": value.get("name"), "split": value.get("split")}
        said = {f"data.train.0.{field}": (found,) for field, found in part.items()}
        return {"data.train.0.path": (None, *folder), "data.train.0.hub": (name, None), **said}

    return Codec(("data.train",), write, read)


def rows_map() -> Codec:
    """The function that turns rows into XTuner's own layout: all data sets have the same."""

    def write(at: Writing) -> str:
        return facts.rows_map(at.value("data.train")[0], at.plan.strategy.task, at.value("system"))

    def read(value: Any, reader: Reader) -> Reading:
        known = {function: name for maps in (facts.OWN_MAPS, facts.MAPS) for name, function in maps.items()}
        if value not in known:
            raise Unwritten(f"{value!r} is none of {', '.join(known)}")
        layout = known[value]
        tasks = tuple(task for task in reader.domain("task") if layout in facts.layouts(task))
        meant = ("auto",) if any(layout == facts.layouts(task)[0] for task in tasks) else ()
        sets = range(len(reader.data.get("data_files", ("one",))))
        return {"task": tasks, **{f"data.train.{number}.format": (layout, *meant) for number in sets}}

    return Codec(("data.train", "system"), write, read)


def functions(plan: Plan) -> dict[str, Any]:
    """What mfc_rows.py is made of: the layout of the rows, names of columns and speakers, and a system prompt."""
    one, task = plan.problem.spec.data.train[0], plan.strategy.task
    form = rows.layout(one, task)
    roles = rows.roles(one, form)
    speakers = {roles[who]: who for who in ("user", "assistant", "system")} if form in rows.CHATS else {}
    named = {"columns": rows.columns(one, task), "roles": roles, "speakers": speakers}
    return {"layout": form, **named, "system": plan.values["system"] or ""}
