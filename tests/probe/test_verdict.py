"""What a probe makes of its run: the verdicts of tests/cases/probe.yaml, and rows that are like the user's."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from mfc.probe import runner

from tests.tables import table

CASES = table(Path(__file__).parents[1] / "cases" / "probe.yaml")
GIB = 2**30


def size(gib: float) -> int:
    return round(gib * GIB)


@pytest.mark.parametrize("name", CASES["cases"])
def test_verdict(name: str, tmp_path: Path) -> None:
    base, case = CASES["base"], CASES["cases"][name]
    what = {
        "spec": "run.yaml",
        "target": "llamafactory 0.9.5",
        **{f"{key}_bytes": size(base[key]) for key in ("card", "budget", "predicted", "upper")},
        "set": base["set"],
        "relaxations": [{**one, "upper_bytes": size(one["upper"])} for one in base["relaxations"]],
    }
    if "torch" in case:
        for rank, part in enumerate((1.0, 0.9)):  # the other card takes less
            allocated, reserved, outside = (size(part * gib) for gib in case["torch"])
            card = {"uuid": f"GPU-{rank}", "total": size(24), "used": reserved // 2, "ooms": 0}
            card |= {"allocated": allocated, "reserved": reserved, "outside": outside}
            died = case.get("died", "") if rank == 0 else ""
            said = {"rank": str(rank), "devices": {f"cuda:{rank}": card}, "out_of_memory": died}
            (tmp_path / f"host-{rank}.json").write_text(json.dumps(said), encoding="utf-8")
    seen = runner.measured(str(tmp_path))
    verdict, lines, record = runner.judged(what, case.get("code", 0), seen, size(case.get("nvidia-smi", 0)))
    text = "\n".join(lines)
    assert verdict == case["verdict"], text
    assert [one for one in case["says"] if one not in text] == [], text
    if "keeps" in case:
        kept = {key: value / GIB for key, value in record.items() if key.startswith("probe_")}
        assert case["keeps"].items() <= {key: round(value, 2) for key, value in kept.items()}.items()
        assert bool(case["keeps"]) == bool(kept)


@pytest.mark.parametrize(
    ("row", "theirs", "made"),
    [
        ({"prompt": "p"}, {}, {"prompt": "p"}),
        ({"prompt": "p"}, {"prompt": "q", "solution": "4"}, {"prompt": "p", "solution": "4"}),
        ({"prompt": "p"}, {"prompt": [{"role": "user"}]}, {"prompt": [{"role": "user", "content": "p"}]}),
        ({"images": ["<<picture>>"]}, {"image": "a.jpg"}, {"image": "<<picture>>"}),
        ({"images": ["<<picture>>"]}, {"images": ["a.jpg"]}, {"images": ["<<picture>>"]}),
        (
            {"prompt": "p", "chosen": "c", "rejected": "r"},
            {"chosen": [{}], "rejected": [{}]},
            {
                "chosen": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "c"}],
                "rejected": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "r"}],
            },
        ),
    ],
)
def test_rows_are_like_the_users(row: Any, theirs: Any, made: Any) -> None:
    turns = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}
    assert runner.like(row, theirs, turns) == made


@pytest.mark.parametrize("text", ['{"a": 1}\n{"a": 2}\n', '[{"a": 1}, {"a": 2}]', '\ufeff\n  {"a": 1}'])
def test_the_first_row_of_a_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "rows").write_text(text, encoding="utf-8")
    assert runner.first_row(str(tmp_path / "rows")) == {"a": 1}


@pytest.mark.parametrize("text", ["", "[]", "a,b\n1,2\n", "[1]"])
def test_a_file_that_tells_no_row(text: str, tmp_path: Path) -> None:
    (tmp_path / "rows").write_text(text, encoding="utf-8")
    assert runner.first_row(str(tmp_path / "rows")) == {}
    assert runner.first_row(str(tmp_path / "none")) == {}


def test_words_are_as_many_as_asked() -> None:
    made = runner.filled({"a": ["<<7 words>>", "x"], "b": "say: <<3 words>>!"}, random.Random(0), iter([]))
    assert len(made["a"][0].split()) == 7
    assert len(made["b"].split()) == 4


def test_pictures_are_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = Path(runner.make_picture(9, random.Random(0))).read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert (int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")) == (9, 9)
