"""From a target's table of keys to native data: what every `lower` is made of."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mfc.errors import Refused

if TYPE_CHECKING:
    from mfc.planner.plan import Plan
    from mfc.target import Key


_SHOWN = 12  # names in an error


class Native(NamedTuple):
    """Native data with, for each dotted key, the plan fields it carries, and the keys of each section in order."""

    data: dict[str, Any]
    cites: dict[str, tuple[str, ...]]
    sections: dict[str, tuple[str, ...]]


def native(keys: Iterable[Key], plan: Plan, extra: Mapping[str, Any] | None = None) -> Native:
    """Apply a table of keys to a plan; dotted names nest. `extra`, the user's own keys, come in a section of theirs."""
    data: dict[str, Any] = {}
    cites: dict[str, tuple[str, ...]] = {}
    sections: dict[str, tuple[str, ...]] = {}
    for key in keys:
        if key.when is not None and not key.when(plan):
            continue
        place(data, key.name, plan.values[key.fields[0]] if key.value is None else key.value(plan))
        cites[key.name] = key.fields
        sections[key.section] = (*sections.get(key.section, ()), key.name)
    if extra:
        overlay(data, extra)
        sections["extra"] = tuple(extra)
    return Native(data, cites, sections)


def place(data: dict[str, Any], name: str, value: Any) -> None:
    """Put a value at a dotted name."""
    *folders, last = name.split(".")
    for folder in folders:
        data = data.setdefault(folder, {})
    data[last] = value


def overlay(data: dict[str, Any], extra: Mapping[str, Any]) -> None:
    """Lay nested (or dotted) keys over data, keeping what they do not name."""
    for name, value in extra.items():
        below = data.get(name)
        if isinstance(value, Mapping) and isinstance(below, dict):
            overlay(below, value)
        else:
            place(data, name, value)


def need_template(plan: Plan, names: Iterable[str]) -> None:
    """Refuse to write files for a chat template that nothing tells; memory and time do not hang on it, so plans do.

    `names` are those that the framework has; the error shows those that begin as the model's family does. Raises
    Refused.
    """
    if plan.values["template"]:
        return
    model = plan.problem.model
    known = sorted(names)
    like = [name for name in known if name[:4] == model.architecture.family[:4]] or known
    some = ", ".join(like[:_SHOWN]) + (" ..." if len(like) > _SHOWN else "")
    raise Refused(
        "data.template",
        f"nothing says which chat template {model.name} was trained with, and a wrong one spoils it",
        f"set data.template to one of the {len(known)} that {plan.profile.target} has: {some}",
    )


def located(path: str, out_to_spec: str) -> str:
    """A path of the spec as seen from the output folder; absolute ones stay."""
    return posixpath.normpath(posixpath.join(out_to_spec, path))


def is_local(model: str) -> bool:
    """Whether a model's name is a path: ./x, ../x, /x, ~/x. Hub ids are names such as org/name."""
    return model.startswith((".", "/", "~"))


def nearest(version: str, known: Sequence[str]) -> str:
    """The one of `known` (newest first) that stands for a version: itself, the newest before it, or the oldest."""
    wanted = _numbers(version)
    return next((name for name in known if _numbers(name) <= wanted), known[-1])


def mapping_table(keys: Iterable[Key]) -> str:
    """The Markdown table for a README: native key, plan fields, remark."""
    rows = ["| native key | carries | remark |", "|---|---|---|"]
    for key in keys:
        rows.append(f"| `{key.name}` | {', '.join(f'`{name}`' for name in key.fields)} | {key.note} |")
    return "\n".join(rows) + "\n"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(digits) for part in version.split(".") if (digits := "".join(c for c in part if c.isdigit())))
