"""Chat templates: which one a framework has for a model, by its own list. Compiling needs one, planning does not."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from mfc.catalog.stored import bare
from mfc.errors import Refused

if TYPE_CHECKING:
    from mfc.planner.plan import Plan
    from mfc.problem import Model

_SHOWN = 8  # names in an error
_ALIKE = 5  # letters that a likely template has in common with a model, from the first on
_SIZE = re.compile(r"(?<![a-z\d])e?\d+([._]\d+)?[bm](?![a-z\d])(-a\d+([._]\d+)?b)?|(?<=x)\d+b", re.IGNORECASE)


class Match(NamedTuple):
    """What a list has for a model, and which id of the list told it."""

    found: str
    listed: str


class Listed:
    """A framework's list: what it has for which Hub ids, and what that says of other models."""

    def __init__(self, ids: Mapping[str, Iterable[str]]) -> None:
        self._by: tuple[dict[str, set[tuple[str, str]]], ...] = ({}, {}, {})
        for found, names in ids.items():
            for name in names:
                for table, key in zip(self._by, _keys(name), strict=True):
                    table.setdefault(key, set()).add((found, name))

    def match(self, names: Iterable[str]) -> Match | None:
        """What the list has for a model: under one of its ids, the last part of one, or another size of it.

        None where the list says nothing, or several things.
        """
        for name in names:
            for table, key in zip(self._by, _keys(name), strict=True):
                told = table.get(key, set())
                if len({found for found, _ in told}) == 1:
                    return Match(*min(told))
        return None


@lru_cache(maxsize=8192)
def _keys(name: str) -> tuple[str, str, str]:
    """A name as it is, its last part without how it is stored, and that without its size."""
    # Meta once put its name before Llama's, and no longer does.
    last = bare(name.rstrip("/").rpartition("/")[2].lower()).removeprefix("meta-")
    return name.lower(), last, _SIZE.sub("*", last)


def need_template(plan: Plan, templates: Mapping[str, Iterable[str]]) -> None:
    """Refuse to write files for a chat template that nothing tells; memory and time do not hang on it, so plans do.

    `templates` are those that the framework has, with the ids of models that have them; the error shows likely ones.
    Raises Refused.
    """
    if plan.values["template"]:
        return
    model, target = plan.problem.model, plan.profile.target
    like = likely(templates, (*model.known_as, model.architecture.family))
    some = f"; the likeliest are {', '.join(like)}" if like else ""
    raise Refused(
        "data.template",
        f"nothing says which chat template {model.name} was trained with, and a wrong one spoils it",
        f"set targets.{target}.template to one of the {len(templates)} that {target} has{some}",
    )


def likely(templates: Mapping[str, Iterable[str]], names: Iterable[str]) -> list[str]:
    """Templates that are called like a model, the nearest first, then those of its maker's other models."""
    names = tuple(names)
    own = [_plain(name.rpartition("/")[2]) for name in names]
    makers = {name.partition("/")[0].lower() for name in names if name.count("/") == 1} - {"."}
    alike = {name: max(_common(_plain(name), each) for each in own) for name in templates}
    made = {name for name, ids in templates.items() if makers & {each.partition("/")[0].lower() for each in ids}}
    near = [name for name in templates if alike[name] >= _ALIKE or name in made]
    return sorted(near, key=lambda name: (-alike[name], len(name), name))[:_SHOWN]


def blind(
    template: str, seeing: Collection[str], templates: Mapping[str, Iterable[str]], model: Model, own: str, then: str
) -> str | None:
    """Why a template does not suit a model: it takes no pictures where they are, or takes some that the model cannot.

    `seeing` are the templates for models that see, `own` is the framework's for this one, where it has one, and `then`
    is what the framework does.
    """
    sees = model.architecture.vision is not None
    if template not in templates or sees == (template in seeing):
        return None
    fitting = {name: ids for name, ids in templates.items() if (name in seeing) == sees}
    like = likely(fitting, (*model.known_as, model.architecture.family))[:3]
    instead = f"its own is {own}" if own in fitting else f"the likeliest are {', '.join(like)}" if like else ""
    if sees:
        why = f"{template} takes no pictures, which rows of {model.name} hold"
        instead = f"{instead}{', and ' if instead else ''}where no row holds one, set data.image.share: 0"
    else:
        why = f"{template} is for models that take pictures, and {model.name} takes none"
    return f"{why}: {then}" + (f"; {instead}" if instead else "")


def _common(one: str, other: str) -> int:
    """Letters that two names begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (left, right) in pairs if left != right), min(len(one), len(other)))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
