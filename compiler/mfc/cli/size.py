"""`mfc size`: which cards a spec needs, or which models its cards can train."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

import click

from mfc import api
from mfc.cli import options
from mfc.errors import CannotFit, SpecError
from mfc.resolve import ANY

if TYPE_CHECKING:
    from mfc.size.attempts import Attempts, Fitting
    from mfc.spec.load import LoadedSpec

T = TypeVar("T")
_ROWS = 20


@click.command()
@click.argument("spec")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@options.target
@options.overrides
@options.as_format
@click.option("-v", "--verbose", is_flag=True, help=f"Every row, not the first {_ROWS} alone.")
def command(
    spec: str, names: tuple[str, ...], target: str | None, overrides: tuple[str, ...], form: str, verbose: bool
) -> int:
    """Say which cards of the catalogue, and how many, SPEC fits on: hours, and with hardware.price the cost.

    For a spec with `model: any` it says which models its hardware can train, how and how long. NAME keeps to cards (or
    models) whose name contains it. A file of prices keeps to the cards that it lists.
    """
    from mfc.report.prices import prices
    from mfc.size.attempts import Attempts

    loaded = api.load(spec, overrides)
    asked = loaded.spec.model.id == ANY
    name = target or _target(loaded, asked)
    attempts = Attempts(loaded, name, prices(loaded) if loaded.spec.hardware.price is not None else {})
    tell = _models if asked else _cards
    return tell(loaded, name, attempts, names, form, verbose)


def _target(loaded: LoadedSpec, asked: bool) -> str:
    """The target to plan for: the first of the spec, else the most used."""
    from mfc.target import commonest

    return next(iter(loaded.spec.targets), None) or (commonest()[0] if asked else api.planned_for(loaded)[0])


def _cards(loaded: LoadedSpec, target: str, attempts: Attempts, names: Sequence[str], form: str, verbose: bool) -> int:
    from mfc.size import cards, show

    several = isinstance(loaded.spec.hardware.price, str)
    asked = cards.candidates(attempts.prices, names, several)
    if not asked:
        raise SpecError(f"error: no card whose name contains {' or '.join(names)}; mfc gpus lists all")
    found = _found(cards.offers(loaded, attempts, asked), len(asked))
    if names or several or not found:  # somebody wants these very cards, or no single machine will do
        rest = [gpu for gpu in asked if gpu not in [offer.gpu for offer in found]]
        found += _found(cards.clusters(loaded, attempts, rest), len(rest))
    offers = cards.ranked(found)
    if form == "json":
        fitting = [one for offer in offers for one in offer.fitting]
        print(options.dump(show.report_json(loaded.name, target, len(asked), fitting)))
        return 0 if offers else CannotFit.exit_code
    if not offers:
        most = f"{cards.NODES[-1]} machines with {cards.COUNTS[-1]} of one"
        print(f"{loaded.name} for {target}: fits on none of {len(asked)} kinds of cards, nor on {most}")
        return CannotFit.exit_code
    print(f"{loaded.name} for {target}: fits on {len(offers)} of {len(asked)} kinds of cards\n")
    header, rows = show.offers_table(offers if verbose or names else offers[:_ROWS])
    _tell(header, rows, len(offers), offers[0].fitting[0])
    return 0


def _models(loaded: LoadedSpec, target: str, attempts: Attempts, names: Sequence[str], form: str, verbose: bool) -> int:
    from mfc.report.text import count
    from mfc.size import models, show

    asked = models.candidates(names)
    if not asked:
        raise SpecError(f"error: no model whose id contains {' or '.join(names)}; mfc models lists all")
    found = models.ranked(_found(models.trainable(loaded, attempts, asked), len(asked)))
    if form == "json":
        print(options.dump(show.report_json(loaded.name, target, len(asked), found)))
        return 0 if found else CannotFit.exit_code
    hardware = loaded.spec.hardware
    machine = f"{hardware.count * hardware.nodes} x {hardware.gpu.name}"
    print(f"{loaded.name} for {target}: {machine} can train {len(found)} of {len(asked)} models that differ in shape")
    if not found:
        return CannotFit.exit_code
    for method in dict.fromkeys(one.strategy.method for one in reversed(found)):
        largest = next(one for one in found if one.strategy.method == method)
        print(f"  {method}: up to {count(largest.parameters)} ({largest.model})")
    print()
    header, rows = show.models_table(found if verbose or names else found[:_ROWS])
    _tell(header, rows, len(found), found[0])
    return 0


def _tell(header: Sequence[str], rows: Sequence[Sequence[str]], number: int, first: Fitting) -> None:
    from mfc.size import show

    print(options.table(rows, header))
    if len(rows) < number:
        print(f"... and {number - len(rows)} more, with -v; NAME keeps to some")
    print()
    print("\n".join(line for note in show.notes(first) for line in textwrap.wrap(note, options.width())))


def _found(tried: Iterable[T | None], number: int) -> list[T]:
    """What there is, with a bar of progress where somebody looks."""
    if not sys.stderr.isatty():
        return [one for one in tried if one is not None]
    with click.progressbar(tried, length=number, label="planning", file=sys.stderr) as bar:
        return [one for one in bar if one is not None]
