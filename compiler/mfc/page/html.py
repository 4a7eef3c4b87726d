"""The page as text: templates filled with sheets. Everything is escaped, and no style or script but its own may act."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from mfc._version import __version__
from mfc.page import view
from mfc.page.sheet import Refused, Sheet
from mfc.page.words import HERE, LANGUAGES, asset, clean, named, said, shown
from mfc.report import text

if TYPE_CHECKING:
    from mfc.page.words import Said


def report(title: str, found: Sequence[Sheet | Refused]) -> str:
    """The whole page, alike for alike sheets. `title` is what the window is called."""
    style = asset("style.css")
    policy = f"default-src 'none'; style-src 'sha256-{digest(style)}'; base-uri 'none'; form-action 'none'"
    return render("report.html.j2", found, title=title, style=Markup(style), policy=policy)


def body(found: Sequence[Sheet | Refused], changes: Markup) -> str:
    """What the live page shows of its sheets: with buttons that try a change of the spec, and how files differ."""
    return render("body.html.j2", found, changes=changes)


def digest(source: str) -> str:
    """What a content security policy calls an inline style or script."""
    return base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()


def render(template: str, found: Sequence[Sheet | Refused], **values: Any) -> str:
    """A template of this folder filled with sheets and other values."""
    given = {
        "sheets": [one for one in found if isinstance(one, Sheet)],
        "refused": [one for one in found if isinstance(one, Refused)],
        "specs": list(dict.fromkeys(one.spec for one in found)),
        "live": "changes" in values,
        **values,
    }
    return environment().get_template(template).render(given)


@cache
def environment() -> jinja2.Environment:
    """The environment of the templates: whatever is no markup of theirs is escaped."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) else clean(value),
    )
    made.globals.update(
        both=lambda key, **values: shown(said(key, **values)),
        named=lambda kind, name: shown(named(kind, name)),
        languages=LANGUAGES,
        version=__version__,
        view=view,
        text=text,
    )
    made.filters.update(
        both_of=shown,
        one=_one,
        gib=text.gib,
        seconds=text.seconds,
        number="{:g}".format,
        kind=_kind,
        value=text.show,
        data=_data,
    )
    return made


def _one(both: Said, language: str) -> str:
    """One of two languages, for what can hold but one."""
    return both.zh if language == "zh" else both.en


def _data(edits: Mapping[str, Any]) -> str:
    """Changes of a spec as a button carries them."""
    return json.dumps({path: text.show(value) for path, value in edits.items()})


def _kind(component: str) -> str:
    """The class of a component, whose colour the style says."""
    return "k-" + component.replace(" ", "-").lower()
