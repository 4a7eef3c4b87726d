"""What only MGM has: a checkout to start in, classes by the words of a path, towers on disk, nodes by hostfile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mfc import api
from mfc.catalog.parameters import adapters
from mfc.emit.compiled import Compiled
from mfc.errors import CannotFit
from mfc.planner.plan import Plan
from mfc.targets.mgm import facts

from tests.targets.cases import over_base
from tests.targets.launching import NASTY, TOLD, launch

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL, HIGH = EXAMPLES / "mini-gemini-2b-full-4x4090.yaml", EXAMPLES / "mini-gemini-2b-hd-full-4x4090.yaml"
SIX, TEN = EXAMPLES / "mini-gemini-8x7b-lora-6x4090.yaml", EXAMPLES / "mini-gemini-8x7b-lora-10x3090.yaml"
WHOLE = ("train.method=full", "train.freeze_parts=[vision]", "train.whole_parts=[]")
GIB = 2**30
TOOLS = {"deepspeed": TOLD, "torchrun": TOLD}
NODES = {"hardware": {"gpu": "A100 SXM 80GB", "count": 8, "nodes": 2, "interconnect": {"inter": "200Gbps"}}}


def made(**sections: Any) -> Compiled:
    (one,) = api.compile(over_base("mgm", sections), ["mgm"], out="out")
    return one


@pytest.fixture
def checkout(tmp_path: Path) -> str:
    for tower in facts.TOWERS.values():
        (tmp_path / "a checkout" / tower).mkdir(parents=True)
    return str(tmp_path / "a checkout")


def test_it_starts_in_its_checkout_with_whole_paths(tmp_path: Path, checkout: str) -> None:
    done = launch(made(), tmp_path / "out", "train.sh", "--logging_steps", "1", tools=TOOLS, MGM=checkout)
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert told[:6] == [checkout, "--num_gpus", "4", "--master_port", "29500", "mgm/train/train_mem.py"]
    flags = dict(zip(told[6::2], told[7::2], strict=False))
    assert flags["--model_name_or_path"] == str(tmp_path / "model_zoo/LLM/gemma/gemma-2b-it")
    assert flags["--pretrain_mm_mlp_adapter"] == str(tmp_path / "work_dirs/MGM-2B-Pretrain/mm_projector.bin")
    assert flags["--image_folder"] == str(tmp_path / "data/MGM-Finetune")
    assert flags["--deepspeed"] == str(tmp_path / "out/ds_config.json")
    assert flags["--output_dir"] == str(tmp_path / "out/output")
    assert f"PYTHONPATH={checkout}" in told
    assert told.index("--logging_steps") < len(told) - 1 - told[::-1].index("--logging_steps")


def test_gpus_in_sight_are_deepspeeds_to_find(tmp_path: Path, checkout: str) -> None:
    seen = {"CUDA_VISIBLE_DEVICES": "2,3,4,5", "MGM": checkout}
    done = launch(made(), tmp_path / "out", "train.sh", tools=TOOLS, **seen)
    assert done.stdout.splitlines()[1] == "--master_port"


@pytest.mark.parametrize(
    ("spec", "folder", "built"),
    [
        ({}, "mistral runs", "mistral"),
        ({"id": "./vicuna-7b", "like": "YanweiLi/MGM-7B"}, "gemma runs", "gemma"),
        ({"id": "./mixtral-8x7b", "like": "YanweiLi/MGM-8x7B"}, "Mistral", "mistral"),
    ],
)
def test_folders_above_the_model_choose_its_class_too(
    spec: dict[str, str], folder: str, built: str, tmp_path: Path, checkout: str
) -> None:
    hardware = {"gpu": "H200", "count": 8, "host_memory": "2TiB"}
    done = launch(made(model=spec, hardware=hardware), tmp_path / folder / "out", "train.sh", tools=TOOLS, MGM=checkout)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"would be built as {built}" in done.stderr


def test_it_does_not_start_without_its_towers(tmp_path: Path) -> None:
    done = launch(made(), tmp_path / "out", "train.sh", tools=TOOLS, MGM=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no tower model_zoo/OpenAI/clip-vit-large-patch14-336" in done.stderr


def test_it_never_goes_on_from_what_it_was_not_told_to(tmp_path: Path, checkout: str) -> None:
    (tmp_path / "out" / "output" / "checkpoint-10").mkdir(parents=True)
    done = launch(made(), tmp_path / "out", "train.sh", tools=TOOLS, MGM=checkout)
    assert (done.returncode, done.stdout) == (1, "")
    assert "holds checkpoints already" in done.stderr
    resumed = launch(made(run={"existing": "resume"}), tmp_path / "out", "train.sh", tools=TOOLS, MGM=checkout)
    assert resumed.returncode == 0


def test_a_hostfile_starts_all_nodes_from_one(tmp_path: Path, checkout: str) -> None:
    one = made(**NODES, targets={"mgm": {"packages": {"torch": "2.1.2"}}})
    (tmp_path / "hosts").write_text("a slots=8\nb slots=8\n")
    given = {"HOSTFILE": str(tmp_path / "hosts"), "MGM": checkout}
    done = launch(one, tmp_path / "out", "train.sh", tools=TOOLS, **given)
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert told[1:3] == ["--hostfile", str(tmp_path / "hosts")]
    assert f"DS_ENV_FILE={tmp_path}/out/deepspeed.env" in told
    named = (tmp_path / "out" / "deepspeed.env").read_text()
    assert named == "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True\n"


def test_engines_start_each_node_by_itself(tmp_path: Path, checkout: str) -> None:
    given = {"NODE_RANK": "1", "MASTER_ADDR": "10.0.0.1", "MGM": checkout}
    done = launch(made(**NODES), tmp_path / "out", "train.sh", tools=TOOLS, **given)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:4] == ["--nnodes=2", "--node_rank=1", "--nproc_per_node=8"]
    assert "set MGM" in launch(made(), tmp_path / "out", "train.sh").stderr


@pytest.mark.parametrize("name", [name for name in NASTY if "\n" not in name])
def test_names_stay_words(name: str, tmp_path: Path, checkout: str) -> None:
    one = made(data={"train": [{"path": f"{name}/rows.json", "format": "sharegpt"}]}, run={"output_dir": name})
    done = launch(one, tmp_path / "out", "train.sh", tools=TOOLS, MGM=checkout)
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert told[told.index("--image_folder") + 1] == str(tmp_path / name)
    assert told[told.index("--output_dir") + 1] == str(tmp_path / "out" / name)
    assert not list(tmp_path.rglob("pwned"))


def held(plan: Plan, what: str) -> float:
    """One part of the moment at which most is held, in GiB."""
    return float(plan.memory.components[what]) / GIB


@pytest.mark.parametrize("sharding", ["zero1", "zero2", "zero3"])
@pytest.mark.parametrize("offload", ["none", "auto"])
def test_no_stage_holds_eight_rows_of_the_small_model(sharding: str, offload: str) -> None:
    """What fills the cards is neither weights nor states: logits of 256,000 words, and attention to the map."""
    pins = (f"strategy.sharding={sharding}", f"strategy.offload={offload}", "strategy.micro_batch=8")
    plan = api.plan(SMALL, overrides=pins)
    assert not plan.fits
    assert held(plan, "logits") == pytest.approx(8 * 12 * 256_000 * 2048 / GIB)
    assert held(plan, "activations") > 8 * 755 / 1024
    assert held(plan, "logits") + held(plan, "activations") > 2 * 23.5


def test_one_row_at_a_time_fits_the_small_model() -> None:
    [one] = api.compile(SMALL)
    strategy = one.plan.strategy
    assert (strategy.micro_batch, strategy.gradient_accumulation, strategy.offload_optimizer) == (1, 32, "cpu")
    assert one.plan.memory.upper_bytes < one.plan.budget_bytes
    smaller = api.plan(SMALL, overrides=("data.image.max_pixels=147456",))
    saved = held(one.plan, "activations") - held(smaller, "activations")
    assert saved == pytest.approx((755.6 - 191.4) / 1024, rel=0.05)


def test_hd_is_a_matter_of_pixels_or_of_tokens() -> None:
    [one] = api.compile(HIGH)
    assert "  --image_size_aux 1344" in one.files["train.sh"].splitlines()
    assert "  --image_global True" in one.files["train.sh"].splitlines()
    whole = ("data.image.max_pixels=2359296",)
    full = api.plan(HIGH, overrides=whole)
    assert not full.fits
    assert {"data.image.max_pixels": 1806336} in [dict(one.set) for one in full.relaxations]
    assert held(full, "activations") - held(one.plan, "activations") > 0.8
    assert api.plan(HIGH, overrides=(*whole, "data.max_length=3328")).fits


@pytest.mark.parametrize(("example", "cards"), [(SIX, 6), (TEN, 10)])
def test_the_large_model_trains_by_adapters_on_everything(example: Path, cards: int) -> None:
    [one] = api.compile(example)
    plan, strategy = one.plan, one.plan.strategy
    assert (strategy.world_size, strategy.sharding, strategy.method) == (cards, "zero3", "lora")
    assert strategy.offload_parameters == "cpu"
    assert strategy.lora is not None
    chosen = adapters(
        plan.problem.model.architecture,
        strategy.lora,
        fused_experts=False,
        expert_adapters=False,
        freeze_parts=strategy.unadapted,
    )
    assert {each.linear.name: each.linear.count for each in chosen} == {
        **dict.fromkeys(("q_proj", "k_proj", "v_proj", "o_proj", "gate"), 32),
        **dict.fromkeys(("w1", "w2", "w3"), 256),
    }
    assert sum(each.parameters for each in chosen) == 242_225_152


def test_six_cards_are_too_near_without_host_memory_and_ten_are_not() -> None:
    pin = ("strategy.offload.parameters=none",)
    six, ten = api.plan(SIX, overrides=pin), api.plan(TEN, overrides=pin)
    assert not six.fits
    assert ten.fits
    assert held(six, "weights") == pytest.approx(2 * 47.23e9 / 6 / GIB, rel=0.01)
    assert ten.speed.seconds_per_step > 2 * api.plan(TEN).speed.seconds_per_step


def test_the_large_model_whole_takes_two_tib_of_host_memory() -> None:
    plan = api.plan(SIX, overrides=WHOLE)
    assert not plan.fits
    assert {"hardware.host_memory": "2048GiB"} in [dict(one.set) for one in plan.relaxations]
    assert plan.memory.host_bytes_per_node > 16 * 47e9
    with pytest.raises(CannotFit, match="host memory is too small"):
        api.compile(SIX, overrides=WHOLE)


def test_qlora_of_the_large_model_needs_larger_cards() -> None:
    plan = api.plan(SIX, overrides=("train.method=qlora",))
    assert not plan.fits
    assert held(plan, "weights") == pytest.approx(24.1, abs=0.1)
