"""What only GLM-4's fine-tuning demo has: one card in sight, a checkout to start, and the stories of its examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from mfc import api
from mfc.emit.compiled import Compiled
from mfc.errors import CannotFit
from mfc.planner.plan import Plan
from mfc.targets.glm4.forms import FORMS

from tests.targets.cases import over_base
from tests.targets.launching import NASTY, TOLD, launch

EXAMPLES = Path(__file__).parents[2] / "examples"
ONE, FOUR = EXAMPLES / "glm4-9b-lora-1x3090.yaml", EXAMPLES / "glm4-9b-full-4x3090.yaml"
GIB = 2**30


def made(**sections: Any) -> Compiled:
    (one,) = api.compile(over_base("glm4", sections), ["glm4"], out="out")
    return one


def checkout(folder: Path, version: str = "2025.04") -> str:
    script = folder / "a checkout" / FORMS[version].folder / "finetune.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.touch()
    return str(folder / "a checkout")


def test_one_card_holds_what_the_article_bought_more_for() -> None:
    """36 GB are fp32 weights; in bf16 the run needs what the README measured."""
    [one] = api.compile(ONE)
    strategy, memory = one.plan.strategy, one.plan.memory
    assert (strategy.sharding, strategy.micro_batch, strategy.gradient_checkpointing) == ("ddp", 1, True)
    assert strategy.max_length == 512 + 512 + 1
    assert memory.process_bytes == pytest.approx(21_531 * 2**20, rel=0.03)
    assert memory.upper_bytes <= one.plan.budget_bytes
    assert 4 * one.plan.problem.model.total_parameters / GIB == pytest.approx(35.0, abs=0.1)
    config = yaml.safe_load(one.files["train.yaml"])
    assert config["training_args"]["bf16"] is True
    assert config["training_args"]["evaluation_strategy"] == "steps"
    assert config["peft_config"]["target_modules"] == ["query_key_value"]
    assert "torchrun" not in one.files["launch.sh"]


def test_two_rows_on_one_card_need_the_weights_elsewhere() -> None:
    two = api.plan(ONE, overrides=("strategy.micro_batch=2",))
    assert two.fits
    assert (two.strategy.sharding, two.strategy.offload_parameters) == ("zero3", "cpu")
    with pytest.raises(CannotFit):
        api.compile(ONE, overrides=("strategy.micro_batch=2", "strategy.sharding=ddp"))


def test_more_cards_help_under_zero_3_only() -> None:
    one, four = (api.plan(ONE, overrides=(f"hardware.count={n}", "strategy.sharding=ddp")) for n in (1, 4))
    assert held(four, "weights") == held(one, "weights")
    split = api.plan(ONE, overrides=("hardware.count=4", "strategy.sharding=zero3"))
    assert held(split, "weights") < 0.3 * held(one, "weights")


def held(plan: Plan, what: str) -> float:
    return float(plan.memory.components[what])


def test_four_cards_train_all_of_it_with_the_optimizer_in_host_memory() -> None:
    [one] = api.compile(FOUR)
    strategy = one.plan.strategy
    assert (strategy.sharding, strategy.offload_optimizer, strategy.precision) == ("zero3", "cpu", "bf16")
    assert 'enabled": true' in one.files["ds_config.json"]
    for pin in ("strategy.sharding=zero2", "strategy.offload={optimizer: none, parameters: none}"):
        with pytest.raises(CannotFit):
            api.compile(FOUR, overrides=(pin,))


@pytest.mark.parametrize(("given", "seen"), [({}, "0"), ({"CUDA_VISIBLE_DEVICES": "3,5"}, "3")])
def test_the_script_sees_one_card(given: dict[str, str], seen: str, tmp_path: Path) -> None:
    """With two the Trainer would copy the model to both."""
    tools = {"python": TOLD, "torchrun": "exit 1"}
    done = launch(made(), tmp_path / "out", "launch.sh", checkout(tmp_path), tools=tools, **given)
    assert done.returncode == 0, done.stderr
    assert f"CUDA_VISIBLE_DEVICES={seen}" in done.stdout.splitlines()
    script = str(tmp_path / "a checkout" / "finetune" / "finetune.py")
    arguments = [script, "../data", "THUDM/GLM-4-9B-0414", "train.yaml"]
    assert done.stdout.splitlines()[:5] == [str(tmp_path / "out"), *arguments]


def test_several_cards_are_torchruns(tmp_path: Path) -> None:
    one = made(hardware={"count": 4}, train={"method": "full"}, run={"existing": "resume"})
    tools = {"python": "exit 1", "torchrun": TOLD}
    seen = {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}
    done = launch(one, tmp_path / "out", "launch.sh", checkout(tmp_path), tools=tools, **seen)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:3] == ["--standalone", "--nproc_per_node=4"]
    assert done.stdout.splitlines()[4:8] == ["../data", "THUDM/GLM-4-9B-0414", "train.yaml", "yes"]
    assert "CUDA_VISIBLE_DEVICES=0,1,2,3" in done.stdout.splitlines()
    assert (tmp_path / "out" / "output").is_dir()


def test_it_does_not_start_without_the_script_of_its_form(tmp_path: Path) -> None:
    older = made(model="THUDM/glm-4-9b-chat", targets={"glm4": {"version": "2024.12"}})
    assert "usage: bash launch.sh CHECKOUT" in launch(older, tmp_path / "out", "launch.sh").stderr
    done = launch(older, tmp_path / "out", "launch.sh", checkout(tmp_path))
    assert done.returncode == 1
    assert "finetune_demo/finetune.py: check out another commit" in done.stderr


def test_it_never_starts_over_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "out" / "output" / "checkpoint-10").mkdir(parents=True)
    done = launch(made(), tmp_path / "out", "launch.sh", checkout(tmp_path), tools={"python": TOLD})
    assert (done.returncode, done.stdout) == (1, "")
    assert "output holds checkpoints already" in done.stderr


@pytest.mark.parametrize("name", [name for name in NASTY if not set(name) & set("*?[]{}/\n")])
def test_names_stay_words(name: str, tmp_path: Path) -> None:
    one = made(data={"train": f"{name}/train.jsonl"}, run={"output_dir": name})
    done = launch(one, tmp_path / "out", "launch.sh", checkout(tmp_path), tools={"python": TOLD})
    assert done.returncode == 0, done.stderr
    assert f"../{name}" in done.stdout.splitlines()
    assert yaml.safe_load(one.files["train.yaml"])["training_args"]["output_dir"] == name
    assert not list(tmp_path.rglob("pwned"))
