"""Mutation testing of the rules and of what writes files: small faults put in one by one, and whether tests notice.

    python -m venv mutation && mutation/bin/pip install -c constraints.txt -e '.[dev]' cosmic-ray
    mutation/bin/python -m tests.mutation --sample 300

The operators are cosmic-ray's. Tests are collected once; each mutant is a fork of that process in which the code of the
functions is exchanged, so a mutant costs the tests that it takes to notice it, those named like its module first.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import pytest
from _pytest.runner import runtestprotocol

ROOT = Path(__file__).parent.parent
CORE = ROOT / "compiler" / "mfc"
# Folder of the core -> the tests that ought to notice.
PARTS = {"rules": ["tests/rules", "-k", "core or engine"], "emit": ["tests/emit", "-k", "not hostile"]}
# One fault of each kind; cosmic-ray has every pair of operators, which tell little more.
OPERATORS = (
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_GtE", "LtE_Gt", "Gt_LtE", "GtE_Lt")),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("Add_Sub", "Sub_Add", "Mul_FloorDiv", "Div_Mul", "FloorDiv_Mul")),
    *("AddNot", "ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue"),
    *("NumberReplacer", "ZeroIterationForLoop", "ReplaceUnaryOperator_Delete_Not", "ReplaceContinueWithBreak"),
)
SECONDS = 60  # of CPU: an endless loop is noticed too


class Mutant(NamedTuple):
    """One small fault: a file, an operator and which of its places."""

    file: Path
    operator: str
    occurrence: int


def mutants(part: str) -> Iterator[Mutant]:
    """All mutants of a folder."""
    for file in sorted((CORE / part).glob("*.py")):
        tree = _tree(file)
        for operator in OPERATORS:
            visitor = _visitor(operator, sys.maxsize)
            visitor.walk(tree)
            yield from (Mutant(file, operator, number) for number in range(visitor._count))


def source(mutant: Mutant) -> str:
    """The text of the file with the fault in it."""
    visitor = _visitor(mutant.operator, mutant.occurrence)
    return str(visitor.walk(_tree(mutant.file)).get_code())


def _visitor(operator: str, occurrence: int) -> Any:
    mutating, plugins = import_module("cosmic_ray.mutating"), import_module("cosmic_ray.plugins")
    return mutating.MutationVisitor(occurrence, plugins.get_operator(f"core/{operator}")())


def _tree(file: Path) -> Any:
    return import_module("cosmic_ray.ast").get_ast(file.read_text(encoding="utf-8"))


def put_in(mutant: Mutant) -> None:
    """Exchange the code of every function of the file, and its constants, in this process."""
    name = ".".join(("mfc", *mutant.file.relative_to(CORE).with_suffix("").parts)).removesuffix(".__init__")
    module = sys.modules[name]
    whole = compile(source(mutant), str(mutant.file), "exec", dont_inherit=True)
    fresh = {_place(code): code for code in _codes(whole)}
    for function in [one for one in gc.get_objects() if isinstance(one, FunctionType)]:
        old = function.__code__
        if old.co_filename == str(mutant.file) and (new := fresh.get(_place(old))):
            function.__code__ = new
    space: dict[str, Any] = {"__name__": name, "__file__": str(mutant.file), "__package__": module.__package__}
    exec(whole, space)
    for key, value in space.items():
        constant = isinstance(value, (int, float, str, dict, set, frozenset, tuple)) and not key.startswith("__")
        if constant and repr(value) != repr(vars(module).get(key)) and "object at 0x" not in repr(value):
            setattr(module, key, value)


def _place(code: CodeType) -> tuple[str, int]:
    """By which code is known again; its qualified name is there from Python 3.11 on."""
    return getattr(code, "co_qualname", code.co_name), code.co_firstlineno


def _codes(code: CodeType) -> Iterator[CodeType]:
    for item in code.co_consts:
        if isinstance(item, CodeType):
            yield item
            yield from _codes(item)


class Loop:
    """In place of running the tests once: run them for each mutant until one fails."""

    def __init__(self, drawn: list[Mutant]) -> None:
        self.drawn = drawn
        self.survived: list[Mutant] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        assert self._passes(session.items, None), "the tests fail without any mutant"
        for number, mutant in enumerate(self.drawn, 1):
            stem = mutant.file.stem
            ordered = sorted(session.items, key=lambda item: stem not in item.nodeid.replace("-", "_"))
            started, passed = time.monotonic(), self._passes(ordered, mutant)
            if passed:
                self.survived.append(mutant)
            word = "SURVIVED" if passed else "killed"
            where = mutant.file.relative_to(CORE)
            print(f"{number} {word} {where} {mutant[1]} {mutant[2]} {time.monotonic() - started:.0f}s", flush=True)
            if passed:
                print(difference(mutant), flush=True)
        return True

    def _passes(self, items: list[pytest.Item], mutant: Mutant | None) -> bool:
        child = os.fork()
        if child:
            return os.waitpid(child, 0)[1] == 0
        try:
            signal.setitimer(signal.ITIMER_PROF, SECONDS if mutant else 0)
            if mutant:
                put_in(mutant)
            for item, after in zip(items, [*items[1:], None], strict=True):
                if any(report.failed for report in runtestprotocol(item, log=False, nextitem=after)):
                    os._exit(1)
            os._exit(0)
        except BaseException:
            os._exit(1)


def difference(mutant: Mutant) -> str:
    """The lines that a mutant changes."""
    old, new = mutant.file.read_text(encoding="utf-8").splitlines(), source(mutant).splitlines()
    return "\n".join(
        f"    {number}: {one.strip()}\n    {number}: {other.strip()}"
        for number, (one, other) in enumerate(zip(old, new, strict=True), 1)
        if one != other
    )


def main() -> None:
    """Draw mutants of each part and print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=300, help="how many mutants, in both parts together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("parts", nargs="*", default=list(PARTS))
    asked = parser.parse_args()
    every = {part: list(mutants(part)) for part in asked.parts}
    total = sum(map(len, every.values()))
    for part, found in every.items():
        drawn = random.Random(asked.seed).sample(found, min(len(found), asked.sample * len(found) // total))
        loop = Loop(drawn)
        code = pytest.main([*PARTS[part], "-q", "-p", "no:xdist", "-o", "addopts=--import-mode=importlib"], [loop])
        killed = len(drawn) - len(loop.survived)
        print(f"{part}: {killed} of {len(drawn)} killed, of {len(found)} mutants that there are (exit {int(code)})")


if __name__ == "__main__":
    main()
