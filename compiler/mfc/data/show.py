"""The account of a data set, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mfc.data.samples import GENERATES
from mfc.data.summary import Summary
from mfc.lengths import PERCENTS

if TYPE_CHECKING:
    from mfc.planner.plan import Plan
    from mfc.report.bill import Bill

_BAR = 30  # characters


class Account(NamedTuple):
    """What `mfc data` found. `counter` says how tokens were counted."""

    spec: str
    task: str
    files: tuple[str, ...]
    size: int  # bytes of the files
    summary: Summary
    evaluation: Summary | None
    counter: str
    exact: bool
    rows: int  # that training has: good, and drawn where the spec draws
    plan: Plan | None  # by these lengths
    bill: Bill | None
    notes: tuple[str, ...] = ()


def text(account: Account) -> str:
    """The whole account, for a terminal."""
    return "\n".join(_lines(account)) + "\n"


def _lines(account: Account) -> Iterator[str]:
    summary = account.summary
    files = f"{len(account.files)} file{'' if len(account.files) == 1 else 's'}"
    yield f"{account.spec}: {summary.rows:,} rows in {files}, {_judged(summary)}"
    yield from _faults(summary)
    if account.evaluation:
        other = account.evaluation
        yield f"evaluation: {other.rows:,} rows, {_judged(other)}"
        yield from _faults(other)
    if not summary.sequences:
        return
    yield ""
    yield from _lengths(account)
    yield ""
    yield from _limits(account)


def _judged(summary: Summary) -> str:
    if not summary.rows:
        return "nothing to train on"
    if not summary.bad:
        return "all of them good"
    kinds = ", ".join(f"{kind} {number:,}" for kind, number in summary.kinds.items())
    return f"{summary.bad:,} of them bad ({kinds}), which count no further"


def _faults(summary: Summary) -> Iterator[str]:
    for file, place, fault in summary.first:
        yield f"  {file}: {place}: {fault.kind}: {fault.text}"
    if summary.bad > len(summary.first):
        yield "  ... and more"


def _lengths(account: Account) -> Iterator[str]:
    summary, about = account.summary, "" if account.exact else "about "
    pairs = f" in {summary.sequences:,} sequences" if summary.sequences != summary.rows - summary.bad else ""
    yield f"tokens    {about}{summary.tokens:,}{pairs}, {account.counter}"
    what = "prompts" if account.task in GENERATES else "length"
    yield (
        f"{what:<10}mean {summary.mean:,.0f}, median {summary.median:,}, 90 % within {summary.p90:,}, 99 % within "
        f"{summary.p99:,}, longest {summary.lengths.longest if summary.lengths else 0:,} ({summary.longest_at})"
    )
    most = max((one.share for one in summary.histogram), default=1.0)
    for one in summary.histogram:
        bar = "#" * max(round(_BAR * one.share / most), 1 if one.share else 0)
        yield f"  {one.above + 1:>9,} to {one.to:>9,}  {one.share:>6.1%}  {bar}".rstrip()
    if summary.images:
        held = sum(summary.images.values())
        most_of = max(summary.images)
        yield f"images    in {held:,} rows, {most_of} at most, {_seen(account)}"


def _limits(account: Account) -> Iterator[str]:
    summary, prompts = account.summary, account.task in GENERATES
    yield "cut at    rows longer   tokens lost"
    for cut in summary.cuts:
        own = f"   this run's max_{'prompt_' if prompts else ''}length" if cut.max_length == summary.max_length else ""
        yield f"  {cut.max_length:>9,}  {cut.sequences:>8.1%}  {cut.tokens:>12.1%}{own}".rstrip()
    if not prompts:
        waste = ", ".join(f"{share:.0%} at {rows}" for rows, share in summary.padding.items())
        yield f"padding   of a micro-batch drawn at random: {waste}"
        gain = (summary.rows - summary.bad) * max(summary.sequences // max(summary.rows - summary.bad, 1), 1)
        yield (
            f"packing   {summary.sequences:,} sequences would fill {summary.packed_rows:,} rows of "
            f"{summary.max_length:,} tokens: {gain / summary.packed_rows:.1f} to a row, at best"
        )
    if account.plan and account.bill:
        yield from _run(account.plan, account.bill)


def _seen(account: Account) -> str:
    most = account.plan and account.plan.values["image_max_pixels"]
    if not account.plan or not most:
        return "which count no tokens: the model sees none, or is not known"
    vision = account.plan.problem.model.architecture.vision
    return f"each of up to {vision.tokens(most) if vision else 0:,} tokens ({most:,} pixels), by its size"


def _run(plan: Plan, bill: Bill) -> Iterator[str]:
    from mfc.report.text import cost_line, run_line

    if bill.steps and (epochs := plan.problem.spec.train.epochs):
        yield f"epoch     {bill.steps / epochs:,.0f} steps, {plan.values['batch_size']:,} rows each"
    yield f"run       {run_line(plan, bill)}, by the plan for {plan.profile.target} (estimate)"
    if cost := cost_line(bill):
        yield f"cost      {cost}"


def document(account: Account) -> dict[str, Any]:
    """The account for programs. Lengths are tokens, shares are of one."""
    from mfc.report.json import bill_json

    return {
        "schema_version": 1,
        "spec": account.spec,
        "task": account.task,
        "files": list(account.files),
        "bytes": account.size,
        "counted_by": account.counter,
        "exact": account.exact,
        "train": _summary(account.summary),
        "eval": _summary(account.evaluation) if account.evaluation else None,
        "target": account.plan.profile.target if account.plan else None,
        "run": bill_json(account.bill) if account.bill else None,
        "notes": list(account.notes),
    }


def _summary(summary: Summary) -> dict[str, Any]:
    faults = [
        {"file": file, "place": place, "kind": fault.kind, "text": fault.text} for file, place, fault in summary.first
    ]
    lengths: Sequence[int] = summary.lengths.quantiles if summary.lengths else ()
    return {
        "rows": summary.rows,
        "bad": summary.bad,
        "bad_by_kind": dict(summary.kinds),
        "first_bad": faults,
        "sequences": summary.sequences,
        "tokens": summary.tokens,
        "mean": summary.mean,
        "longest_at": summary.longest_at,
        "quantiles": [{"percent": percent, "tokens": one} for percent, one in zip(PERCENTS, lengths, strict=False)],
        "histogram": [one._asdict() for one in summary.histogram],
        "cuts": [one._asdict() for one in summary.cuts],
        "max_length": summary.max_length,
        "padding": {str(rows): share for rows, share in summary.padding.items()},
        "packed_rows": summary.packed_rows,
        "images": {str(number): rows for number, rows in summary.images.items()},
    }
