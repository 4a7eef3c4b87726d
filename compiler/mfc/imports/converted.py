"""A converted run for people and programs: what is the same, and what differs and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mfc.emit import quote
from mfc.fields import field
from mfc.imports.table import columns, value
from mfc.report import json
from mfc.report.text import gib, seconds, show
from mfc.spec.marks import printable

if TYPE_CHECKING:
    from mfc.imports.convert import Converted
    from mfc.planner.plan import Plan


def text(one: Converted) -> str:
    """The table of what differs in fact."""
    return "\n".join(_lines(one)) + "\n"


def _lines(one: Converted) -> Iterator[str]:
    source, plan = one.source, one.plan
    yield (
        f"{printable(source.file)}: from {source.title} {source.version} "
        f"to {one.title} {plan.profile.version}: {'fits' if plan.fits else 'DOES NOT FIT'}"
    )
    if one.same:
        yield ""
        told = [name for name in one.same if field(name).result or field(name).relaxed]
        more = f", and {len(one.same) - len(told)} more" if len(told) < len(one.same) else ""
        yield f"the same: {', '.join(f'{name} {printable(show(one.same[name]))}' for name in told)}{more}"
    if source.plan is None:
        yield ""
        yield f"as it is, {source.title}'s run cannot be planned, so the two are not compared:"
        yield from (f"  {printable(line)}" for line in source.refused.splitlines())
    if one.loosened:
        yield ""
        yield f"{one.title} cannot say, so it is left out or done otherwise"
        for each in one.loosened:
            now = f", now {show(each.after)}" if each.after is not None else ""
            yield f"  {each.path} {printable(show(each.before))}{now}: {printable(each.why)}"
    if one.shifts:
        yield ""
        yield f"differs ({source.title}, {one.title}, why)"
        yield from columns([(each.field, show(each.before), show(each.after), each.because) for each in one.shifts])
    if one.defaults:
        yield ""
        yield f"said in the files, as {one.title}'s own default is another (key, default, value)"
        yield from columns([(each.key, show(each.usual), show(each.value), "") for each in one.defaults])
    if one.own:
        yield ""
        yield f"left behind: keys of {source.title}'s own"
        yield from columns(
            [(row.key, value(row.value), row.why or "no field of a spec says it", "") for row in one.own]
        )
    yield ""
    yield from columns([("", "memory per GPU", "a step", ""), *_figures(one)])
    for note in source.notes:
        yield f"note: {printable(note)}"
    for warning in plan.warnings:
        yield f"warning: {printable(warning.message)} [{warning.id}]"


def _figures(one: Converted) -> Iterator[tuple[str, str, str, str]]:
    for title, plan in ((one.source.title, one.source.plan), (one.title, one.plan)):
        if plan:
            yield (title, gib(plan.memory.process_bytes), seconds(plan.speed.seconds_per_step), "")


def document(one: Converted) -> dict[str, Any]:
    """All of it as plain data. Sizes are bytes, times seconds."""
    source = one.source
    return {
        "schema_version": 1,
        "file": source.file,
        "from": {"target": source.target, "version": source.version, **_predicted(source.plan)},
        "to": {"target": one.target, "version": one.plan.profile.version, **_predicted(one.plan)},
        "spec": quote.plain(one.spec),
        "same": json.plain(one.same),
        "cannot_say": [json.plain(each._asdict()) for each in one.loosened],
        "differs": [json.plain(each._asdict()) for each in one.shifts],
        "other_defaults": [json.plain(each._asdict()) for each in one.defaults],
        "left_behind": [{"key": row.key, "value": row.value, "why": row.why} for row in one.own],
        "notes": list(source.notes),
        "warnings": [{"id": warning.id, "message": warning.message} for warning in one.plan.warnings],
    }


def _predicted(plan: Plan | None) -> dict[str, Any]:
    if plan is None:
        return {}
    return {
        "fits": plan.fits,
        "peak_bytes": plan.memory.process_bytes,
        "upper_bytes": plan.memory.upper_bytes,
        "seconds_per_step": plan.speed.seconds_per_step,
    }
