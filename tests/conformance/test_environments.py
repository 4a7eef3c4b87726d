"""The oracle environment holds what its list says."""

from __future__ import annotations

import json

import pytest

from tests.conformance.environments import Environment, EnvironmentFailed, pinned

LOOK = """
import importlib.metadata, json
print(json.dumps({name: importlib.metadata.version(name) for name in ("torch", "transformers", "peft")}))
"""


@pytest.mark.framework
def test_oracle_versions(oracle: Environment) -> None:
    found = json.loads(oracle.run(["python", "-c", LOOK]).stdout)
    wanted = pinned("oracle")
    assert {name: version.split("+")[0] for name, version in found.items()} == {name: wanted[name] for name in found}


@pytest.mark.framework
def test_a_failing_command_says_what_failed(oracle: Environment) -> None:
    with pytest.raises(EnvironmentFailed, match="no such wheel"):
        oracle.run(["python", "-c", "raise SystemExit('no such wheel')"])
