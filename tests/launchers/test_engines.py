"""What all engines share: who they are, what they refuse, and that the start script is all they start."""

from __future__ import annotations

import typing
from pathlib import Path

import pytest
from mfc.errors import SpecError
from mfc.launchers import ENGINES, engine
from mfc.launchers.job import GIB, label
from mfc.spec.models import LauncherSpec

from tests.launchers.cases import TABLE, compiled, on

every_engine = pytest.mark.parametrize("name", ENGINES)
SETTINGS = LauncherSpec.model_fields.keys() - {"engine"}


def test_the_spec_knows_the_engines() -> None:
    assert typing.get_args(LauncherSpec.model_fields["engine"].annotation) == ENGINES


@every_engine
def test_an_engine_is_whole(name: str) -> None:
    found = engine(name)
    assert name == found.NAME
    assert found.TITLE
    assert found.USES <= SETTINGS


def test_no_engine_is_named_by_a_target() -> None:
    targets = Path(__file__).parents[2] / "targets"
    sources = [path for suffix in ("py", "j2") for path in targets.rglob(f"*.{suffix}")]
    named = [path for path in sources if {"slurm", "skypilot", "kubeflow"} & {*path.read_text("utf-8").lower().split()}]
    assert named == []


@pytest.mark.parametrize("name", TABLE["refused"])
def test_it_refuses(name: str) -> None:
    case = TABLE["refused"][name]
    with pytest.raises(SpecError) as refused:
        compiled(case["launcher"], case.get("spec"), case.get("target", "llamafactory"), case.get("out", "run/x"))
    for text in case["says"]:
        assert text in str(refused.value)


def test_nothing_is_added_for_torchrun() -> None:
    assert compiled("torchrun").files == compiled({}).files
    assert compiled({}).launch == "bash launch.sh"


def test_arguments_are_told() -> None:
    words = ["../../train.py", "--name", "it's", ""]
    assert (
        compiled({"arguments": words}, target="deepspeed").launch
        == "bash launch.sh ../../train.py --name 'it'\"'\"'s' ''"
    )


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("run-xtuner", "run-xtuner"),
        ("My Run (7B)_v2!-ms-swift", "my-run-7b-v2-ms-swift"),
        ("7b-llamafactory", "mfc-7b-llamafactory"),
        ("训练", "mfc"),
        ("x" * 60, "x" * 40),
    ],
)
def test_names_are_labels_of_dns(name: str, wanted: str) -> None:
    assert label(name) == wanted


def test_offload_asks_for_host_memory() -> None:
    """As much as the plan needs, and never more than the node has."""
    plan = on("slurm", 2, offload=True).plan
    need = plan.memory.host_bytes_per_node
    asked = int(on("slurm", 2, offload=True).files["job.sbatch"].partition("--mem=")[2].partition("G")[0]) * GIB
    assert plan.strategy.offload_optimizer == "cpu"
    assert 1.1 * need <= asked <= 1024 * GIB
    plain = on("slurm", 2)  # stages 1 and 2 pass what trains through the host, for each rank, when they start
    assert (
        int(plain.files["job.sbatch"].partition("--mem=")[2].partition("G")[0]) * GIB
        >= plain.plan.memory.load_host_bytes
    )
