"""The live page: the form, what came of it, and what differs."""

from __future__ import annotations

from typing import Any, NamedTuple

from markupsafe import Markup

from mfc.catalog import gpus, models
from mfc.fields import BY_NAME
from mfc.page import html
from mfc.page.words import asset
from mfc.spec.models import Range
from mfc.target import names
from mfc.ui.state import NOTHING, Asked, Desk, Found, on_disk, since


class Control(NamedTuple):
    """A field of the form. `choices` are suggested, or all that there are where it is `closed`."""

    path: str
    name: str  # a phrase of the page
    value: str
    choices: tuple[str, ...] = ()
    closed: bool = False
    number: bool = False


def page(desk: Desk) -> tuple[str, str]:
    """The page and its content security policy. Raises SpecError where the spec cannot be loaded."""
    style, script = asset("style.css"), asset("ui.js")
    policy = (
        f"default-src 'none'; style-src 'sha256-{html.digest(style)}'; script-src 'sha256-{html.digest(script)}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    found = desk.find(NOTHING)
    text = html.render(
        "ui.html.j2",
        found.sheets,
        title=f"mfc ui: {desk.path.name}",
        style=Markup(style),
        script=Markup(script),
        controls=_controls(desk),
        targets=_targets(desk, found),
        digest=desk.digest(),
        path=str(desk.path),
        changes=_changes(None, found),
    )
    return text, policy


def answer(desk: Desk, wish: Asked, before: Asked | None) -> dict[str, Any]:
    """What the page shows after a change."""
    found = desk.find(wish)
    return {
        "body": html.body(found.sheets, _changes(desk.find(before) if before is not None else None, found)),
        "digest": desk.digest(),
    }


def _changes(before: Found | None, found: Found) -> Markup:
    """How files differ from those before and from those on disk, of which some may not be there yet."""
    unlike = on_disk(found)
    text = html.render(
        "changes.html.j2",
        (),
        since=since(before.files, found.files) if before else [],
        on_disk=[one for one in unlike if one.note != "missing"],
        missing=sum(one.note == "missing" for one in unlike),
        compared=before is not None,
    )
    return Markup(text)


def _controls(desk: Desk) -> tuple[Control, ...]:
    """The form as the spec fills it."""
    spec = desk.loaded().spec
    methods = ("auto", *BY_NAME["method"].values)
    return (
        Control("hardware.gpu", "ui_gpu", spec.hardware.gpu.name, gpus.names()),
        Control("hardware.count", "ui_count", str(spec.hardware.count), number=True),
        Control("hardware.nodes", "ui_nodes", str(spec.hardware.nodes), number=True),
        Control("model", "model", spec.model.id, tuple(one.id for one in models.all_models())),
        Control("train.task", "ui_task", spec.train.task, BY_NAME["task"].values, closed=True),
        Control("train.method", "ui_method", _value(spec.train.method), methods, closed=True),
        Control(
            "data.max_length", "ui_length", _value(spec.data.max_length), ("auto", "2048", "4096", "8192", "16384")
        ),
    )


def _value(value: Any) -> str:
    if isinstance(value, Range):
        return f"{{min: {value.min}, max: {value.max}}}"
    return str(value)


def _targets(desk: Desk, found: Found) -> list[tuple[str, bool]]:
    """Every target, and whether it is planned for."""
    planned = {*(one.plan.profile.target for one in found.plans), *desk.loaded().spec.targets}
    return [(name, name in planned) for name in names()]
