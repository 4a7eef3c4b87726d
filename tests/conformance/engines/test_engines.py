"""The engines themselves take what is written for them, and say what the contracts say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.contracts import contract_file
from tests.conformance.environments import environment
from tests.launchers.cases import NODES, TABLE, compiled, on
from tests.launchers.test_documents import FILES

HERE = Path(__file__).parent
VERSIONS = {"kubeflow": "kubeflow-2.3.0", "skypilot": "skypilot-0.14.1", "ray": "ray-2.60.0"}
RICH: dict[str, dict[str, Any]] = {
    "skypilot": {"image": "a/b:1", "extra": {"resources": {"use_spot": True, "disk_size": 500}, "envs": {"A": "b"}}},
    "kubeflow": {"extra": {"spec": {"suspend": True, "trainer": {"env": [{"name": "A", "value": "b"}]}}}},
    "ray": {"extra": {"accelerator_type": "H100", "resources_per_worker": {"rack": 1}}},
}
# What an engine's own reader has to find wrong, so that its silence means something.
SPOILT = {
    "skypilot": ("num_nodes: 64", "nodes: 64"),
    "kubeflow": ("numNodes: 64", "nodes: 64"),
    "ray": ("'num_workers': 64", "'workers': 64"),
}


@pytest.mark.framework
@pytest.mark.parametrize("engine", VERSIONS)
def test_the_engine_takes_its_file(engine: str, tmp_path: Path) -> None:
    settings = {**TABLE["settings"].get(engine, {}), **RICH[engine]}
    made = [*(on(engine, nodes) for nodes in NODES), compiled({"engine": engine, **settings})]
    texts = [one.files[FILES[engine]] for one in made]
    texts.append(on(engine, 64).files[FILES[engine]].replace(*SPOILT[engine]))
    paths = []
    for number, text in enumerate(texts):
        folder = tmp_path / "a" / "b" / str(number)
        folder.mkdir(parents=True)
        (folder / FILES[engine]).write_text(text, encoding="utf-8")
        paths.append(folder / FILES[engine])
    where = environment(VERSIONS[engine])
    done = where.run(["python", HERE / "judge.py", engine, *paths], cwd=paths[0].parent, env={"HOME": str(tmp_path)})
    *good, spoilt = json.loads(done.stdout.splitlines()[-1])
    assert good == [None] * len(good)
    assert spoilt is not None


@pytest.mark.framework
@pytest.mark.parametrize("engine", ["kubeflow", "skypilot"])
def test_the_contract_is_what_the_engine_says(engine: str, tmp_path: Path) -> None:
    done = environment(VERSIONS[engine]).run(["python", HERE / "schema.py", engine], env={"HOME": str(tmp_path)})
    assert done.stdout == contract_file(VERSIONS[engine]).read_text(encoding="utf-8")
