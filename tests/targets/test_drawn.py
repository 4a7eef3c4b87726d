"""Drawn settings of a target end in files, or in an error that its user can mend: never in a fault of mfc's."""

from __future__ import annotations

import random
from typing import Any

import pytest
from mfc import api
from mfc.emit.compiled import Compiled
from mfc.errors import Fault, MfcError, SpecError
from mfc.spec import native
from mfc.target import get, names
from mfc.versions import before, numbers

from tests.targets.cases import over_base

NAMES = ("a", "b", "a.b", "a.b.c", "class", "_x-1", "x" * 300)
ODD = ("", ".", "²", "٣", "-x", "a b", "A=b", "a..b", "\x00", "😀")
VALUES: tuple[Any, ...] = (None, True, 1, 2.5, -0.0, 10**40, "", "text", "nul\x00", [], {}, [[1, {"a": 2}]], [None])
VERSIONS = ("4", "0", "main", "²", "٤", "1.2rc1", "9999999999999", "1.", "4.57.0.dev0", "2.8.3+cu128", "v1", "1-2")


def tree(draw: random.Random, own: tuple[str, ...], depth: int = 0) -> dict[str, Any]:
    """Keys that are odd, nested, dotted or a target's own."""
    keys = draw.choices((*NAMES, *own) if draw.random() < 0.8 else ODD, k=draw.randint(0, 3))
    deeper = [depth < 3 and draw.random() < 0.4 for _ in keys]
    return {
        key: tree(draw, own, depth + 1) if deep else draw.choice(VALUES) for key, deep in zip(keys, deeper, strict=True)
    }


def versions(draw: random.Random, own: tuple[str, ...]) -> str:
    """A version: odd, a target's own, or near one of those."""
    near = [f"{draw.choice(own)}{end}" for end in ("", ".1", "rc1", ".post1", "+local", "x")]
    near.append(f"{numbers(draw.choice(own))[0]}.{draw.randint(0, 30)}")
    return draw.choice((*VERSIONS, *near, *near))


def tried(name: str, settings: dict[str, Any]) -> list[Compiled | MfcError]:
    """What comes of a target's base with these settings."""
    try:
        return api.compile_each(api.load(over_base(name, {"targets": {name: settings}})), [name], out="out")
    except SpecError as error:
        return [error]


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("seed", range(4))
def test_settings(name: str, seed: int) -> None:
    draw, target = random.Random(f"{name} {seed}"), get(name)
    own = tuple(key.name for key in draw.sample(target.KEYS, 3))
    for _ in range(4):
        settings: dict[str, Any] = {}
        for section in ("extra", "extra_unchecked"):
            if draw.random() < 0.5:
                settings[section] = tree(draw, own)
        if draw.random() < 0.4:
            settings["version"] = versions(draw, target.VERSIONS)
        if draw.random() < 0.4:
            package = draw.choice(("transformers", "torch", "deepspeed", "flash-attn", "liger-kernel"))
            settings["packages"] = {package: draw.choice((None, *VERSIONS, "4.57.1", "5.23.0", "2.8.3"))}
        (made,) = tried(name, settings)
        assert not isinstance(made, Fault), (settings, str(made))


@pytest.mark.parametrize("seed", range(200))
def test_nested_keys_are_the_dotted_ones(seed: int) -> None:
    """Trees and the dotted names of their leaves are one; joining is a union of leaves, and taking away undoes it."""
    draw = random.Random(seed)

    def drawn(depth: int = 0) -> dict[str, Any]:
        keys = draw.sample("abcd", draw.randint(1, 3))
        return {key: drawn(depth + 1) if depth < 3 and draw.random() < 0.5 else draw.randint(0, 9) for key in keys}

    one, other = drawn(), drawn()
    values = {path: at(one, path) for path in native.leaves(one)}
    assert native.nested(values) == native.nested(one) == one
    assert native.without(one, one) == {}
    if not native.clash(one, other):
        both = native.joined(one, other)
        assert {*native.leaves(both)} == {*native.leaves(one), *native.leaves(other)}
        assert native.without(both, other) == one


def at(data: Any, path: str) -> Any:
    for part in path.split("."):
        data = data[part]
    return data


@pytest.mark.parametrize("keys", [{"a": 1, "a.b": 2}, {"a.b": 1, "a": {"b": 2}}, {"": 1}, {"a..b": 1}, {"²": 1}])
def test_what_is_no_tree(keys: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"given twice|is none"):
        native.nested(keys)


def test_numbers_of_a_release() -> None:
    assert numbers("4.57.1") == numbers("4.57.1rc2") == numbers("4.57.1+cu128") == (4, 57, 1)
    assert before("0.9.4+cu128", "0.9.5")
    assert not before("5.0.0.dev0", "5")
