"""A first spec says what the machine is, whatever it is, and loads."""

from __future__ import annotations

from pathlib import Path

import pytest
from mfc import target
from mfc.errors import SpecError
from mfc.machine import Card, Machine, drafting
from mfc.resolve import resolve
from mfc.spec.load import load

from tests.machine.machines import GIB, drawn, known

TARGETS = [target.get(name) for name in target.commonest()]
NAMES = (
    "data/train.jsonl",
    "a b.json",
    "it's.jsonl",
    "#1.jsonl",
    "数据.jsonl",
    "null",
    "1e3",
    "a: b",
    "{x}",
    "~",
    "*x",
)


@pytest.mark.parametrize("seed", range(40))
def test_it_loads_and_means_the_machine(seed: int, tmp_path: Path) -> None:
    machine, data = drawn(seed), NAMES[seed % len(NAMES)]
    wishes = drafting.Wishes("Qwen/Qwen2.5-0.5B", data=data)
    found = drafting.cards_for(machine, wishes)
    named = drafting.installed(machine, TARGETS) or TARGETS[:1]
    file = tmp_path / "spec.yaml"
    file.write_text(drafting.spec(machine, found, wishes, named), encoding="utf-8")
    loaded = load(file)
    hardware = resolve(loaded, hub_cache=False).hardware
    assert hardware.gpu.name == known(found.chosen[0].name)
    assert hardware.gpus_per_node == len(found.chosen)
    assert {card.name for card in found.chosen} == {found.chosen[0].name}
    assert [one.path for one in loaded.spec.data.train] == [data]
    assert list(loaded.spec.targets) == [one.NAME for one in named]
    room = min(card.memory_bytes - card.used_bytes for card in found.chosen)
    assert hardware.memory_bytes <= max(room, 0) + drafting.IDLE
    if len(found.chosen) < len(machine.cards):
        assert loaded.spec.hardware.devices == tuple(card.number for card in found.chosen)
        assert len(found.notes) == len(machine.cards) - len(found.chosen)
    if machine.host_memory_bytes:
        assert hardware.host_memory_bytes is not None
        assert 0 <= machine.host_memory_bytes - hardware.host_memory_bytes < GIB


def test_cards_in_use_are_left_to_others() -> None:
    cards = tuple(Card(number, "Tesla T4", 15 * GIB, used) for number, used in enumerate((14 * GIB, 0, GIB // 2)))
    found = drafting.cards_for(Machine(cards=cards), drafting.Wishes("m"))
    assert [card.number for card in found.chosen] == [1, 2]
    assert found.notes == ("card 0, Tesla T4, is left out: 14.0 GiB of it are in use",)
    text = drafting.spec(Machine(cards=cards), found, drafting.Wishes("m"), TARGETS[:1])
    assert "  devices: [1, 2]\n" in text
    assert "  gpu_reserved: 0.5GiB " in text


def test_without_cards_it_says_what_to_do() -> None:
    with pytest.raises(SpecError, match="nothing there; say what the run will have: --gpu"):
        drafting.cards_for(Machine(notes=("nothing there",)), drafting.Wishes("m"))
    assert drafting.cards_for(Machine(), drafting.Wishes("m", gpu="4090", gpu_count=4)).gpu_count == 4
    one = Machine(cards=(Card(0, "Tesla T4", 15 * GIB, 0),))
    with pytest.raises(SpecError, match="--count 2: there are 1 Tesla T4 that nobody uses"):
        drafting.cards_for(one, drafting.Wishes("m", gpu_count=2))


def test_of_two_targets_for_one_package_the_version_decides() -> None:
    both = [target.get("xtuner"), target.get("xtuner-v1")]
    for version, name in (("0.2.0", "xtuner"), ("1.0.1", "xtuner-v1"), ("1.2", "xtuner-v1")):
        found = drafting.installed(Machine(packages={"xtuner": version}), both)
        assert [one.NAME for one in found] == [name]


def test_nvme_is_offered_and_not_taken(tmp_path: Path) -> None:
    machine = Machine(cards=(Card(0, "Tesla T4", 15 * GIB, 0),), nvme=tmp_path)
    wishes = drafting.Wishes("Qwen/Qwen2.5-0.5B")
    text = drafting.spec(machine, drafting.cards_for(machine, wishes), wishes, TARGETS[:1])
    assert f"\n  # nvme: {tmp_path} " in text
