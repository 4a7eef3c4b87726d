"""The law of import: spec, files, spec' and files' are a circle.

What mfc wrote for a spec, read back and written again, is the same but for the reasons, which now say that the spec
has it; and what is written then is the same to the byte when it is read and written once more. Over every case of every
target that can be imported, and over drawn specs. What no file tells is laid over what was read.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml
from mfc import api, emit, imports
from mfc.emit.compiled import Compiled
from mfc.errors import MfcError
from mfc.target import imports as imports_of
from mfc.target import names

from tests.conformance.specs import recipes, specs
from tests.targets import cases

IMPORTED = [name for name in names() if (found := imports_of(name)) and found.whole]
DRAWN = 4  # of which the recipes that it can say
# What no file of a framework's says.
UNTOLD: Mapping[str, tuple[str, ...]] = {
    "model": ("config", "like", "quantized"),
    "data": ("mean_length", "lengths", "image"),
    "strategy": ("headroom",),
    "run": ("launcher",),
}


def untold(spec: Mapping[str, Any], target: str) -> dict[str, Any]:
    """What of a spec no file says."""
    made: dict[str, Any] = {key: spec[key] for key in ("hardware", "objective") if key in spec}
    for section, keys in UNTOLD.items():
        said = spec.get(section)
        if isinstance(said, Mapping) and (found := {key: said[key] for key in keys if key in said}):
            made[section] = found
    targets = spec.get("targets")
    own = targets.get(target) if isinstance(targets, Mapping) else None
    if own:
        made["targets"] = {target: {k: v for k, v in own.items() if k in ("version", "packages", "extra_unchecked")}}
    return made


def again(made: Compiled, spec: Mapping[str, Any], target: str, name: str) -> Compiled:
    """What is written for what the files of a compilation say."""
    emit.write(made, True)
    assert made.spec is not None
    home = made.spec.parent
    hardware = yaml.safe_dump(spec["hardware"], default_flow_style=True, width=10**6)
    one = imports.read(cases.started(made), None, hardware, home)
    told = one.spec.get("model", spec["model"])  # sizes alone may tell no published one
    found = {**one.spec, "model": {"id": told} if isinstance(told, str) else told}
    whole = cases.laid(found, untold(spec, target))
    (home / name).write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
    (back,) = api.compile(home / name, [target], out=made.out)
    return back


def plain(made: Compiled) -> dict[str, list[str]]:
    """The lines of the files, comments left out."""
    return {
        path: [line for line in text.splitlines() if not line.lstrip().startswith("#")]
        for path, text in made.files.items()
    }


@pytest.mark.parametrize(("target", "name"), [(target, name) for target, name in cases.GOOD if target in IMPORTED])
def test_what_was_written_is_read_and_written_again(target: str, name: str, folder: Path) -> None:
    made = cases.compiled(target, name, folder)
    assert made.spec is not None
    back = again(made, yaml.safe_load(made.spec.read_text(encoding="utf-8")), target, "second.yaml")
    assert plain(back) == plain(made)


@pytest.mark.parametrize("target", IMPORTED)
def test_drawn_specs_go_round(target: str, tmp_path: Path) -> None:
    drawn = [spec for _, spec in specs()]
    random.Random(target).shuffle(drawn)
    drawn = [*(spec for _, spec in recipes()), *drawn]
    paths = (tmp_path / str(number) / "run.yaml" for number in range(len(drawn)))
    found = filter(None, map(partial(_compiled, target), drawn, paths))
    for made, spec in islice(found, DRAWN):
        second = again(made, spec, target, "second.yaml")
        assert plain(second) == plain(made)
        third = again(second, spec, target, "third.yaml")
        assert {file: text.replace("third.yaml", "second.yaml") for file, text in third.files.items()} == second.files


def _compiled(target: str, spec: Mapping[str, Any], path: Path) -> tuple[Compiled, Mapping[str, Any]] | None:
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(dict(spec)), encoding="utf-8")
    try:
        (made,) = api.compile(path, [target])
    except MfcError:
        return None
    return made, spec
