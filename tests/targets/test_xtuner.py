"""What only XTuner has: shipped presets of DeepSpeed, steps that are micro-steps, rows of its own, how runs end."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mfc import api, emit
from mfc.emit.compiled import Compiled
from mfc.errors import CannotFit, SpecError
from mfc.target import contracts
from mfc.targets import xtuner

from tests.targets.cases import compiled, good, over_base, read
from tests.targets.launching import launch

MIXTRAL = Path(__file__).parents[2] / "examples" / "mixtral-lora-12k-8xa100-40g.yaml"


def made(**sections: Any) -> Compiled:
    (one,) = api.compile(over_base("xtuner", sections), ["xtuner"], out="out")
    return one


def test_mixtral_of_issue_521_fits_under_zero_3() -> None:
    """What the advice of a smaller rank and 11000 tokens could not reach."""
    [one] = api.compile(MIXTRAL)
    strategy = one.plan.strategy
    assert (strategy.sharding, strategy.max_length, strategy.method) == ("zero3", 12288, "lora")
    assert (strategy.offload_optimizer, strategy.offload_parameters) == ("none", "none")
    assert one.plan.memory.load_host_bytes < 150 * 2**30
    assert one.plan.trainable_parameters == pytest.approx(164.6e6, rel=0.001)
    assert "--deepspeed deepspeed_zero3" in one.files["launch.sh"]


@pytest.mark.parametrize("change", [(), ("train.lora.rank=8",), ("data.max_length=11000",), ("data.max_length=2048",)])
def test_mixtral_of_issue_521_cannot_fit_under_zero_2(change: tuple[str, ...]) -> None:
    """No rank and no length helps: the weights alone are twice the card."""
    with pytest.raises(CannotFit, match=r"weights 8\d\.\d+ GiB") as refused:
        api.compile(MIXTRAL, overrides=("strategy.sharding=zero2", *change))
    assert "--set strategy.sharding=auto" in str(refused.value)
    plan = api.plan(MIXTRAL, "xtuner", ("strategy.sharding=zero2", *change))
    assert plan.memory.load_host_bytes > 8 * 4 * 46e9  # each process passes through fp32


@pytest.mark.parametrize("name", [name for name in good("xtuner") if name.startswith("zero")])
def test_shipped_presets_are_used_where_they_say_the_plan(name: str, folder: Path) -> None:
    one = compiled("xtuner", name, folder)
    assert one.plan.strategy.deepspeed
    preset = one.plan.values["deepspeed_preset"]
    assert (preset == "") == ("ds_config.json" in one.files)
    if preset:
        shipped = contracts.load("xtuner-0.2.0")["x-knows"]["deepspeed"][preset]["zero_optimization"]
        assert shipped["stage"] == one.plan.strategy.zero_stage
        assert ("offload_optimizer" in shipped) == (one.plan.strategy.offload_optimizer == "cpu")
        assert ("offload_param" in shipped) == (one.plan.strategy.offload_parameters == "cpu")


def test_every_dead_variable_is_known() -> None:
    """What the contract takes is read by XTuner, written by mfc, or refused with what says it."""
    contract = contracts.load("xtuner-0.2.0")
    mine = {key.name.partition(".")[0] for key in xtuner.KEYS}
    dead = set(contract["properties"]) - set(contract["x-knows"]["read"]) - mine
    assert {clash.key for clash in xtuner.CLASHES} == dead | {"dpo_loss_type", "loss_beta", "SYSTEM", "evaluation_freq"}


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("label_smoothing", 0.1, "set targets.xtuner.extra.model.label_smoothing"),
        ("log_interval", 1, "set run.log_every"),
        ("SYSTEM", "x", "set data.system"),
        ("evaluation_inputs", ["hi"], "set run.samples"),
        ("evaluation_freq", 50, "set run.eval_every"),
        ("max_packed_length", 4096, "set data.max_length or data.packing"),
    ],
)
def test_dead_variables_are_refused(key: str, value: Any, told: str) -> None:
    with pytest.raises(SpecError) as refused:
        made(targets={"xtuner": {"extra": {key: value}}})
    assert told in str(refused.value)


def test_plain_lora_without_deepspeed_holds_an_fp32_base() -> None:
    alone, split = (made(strategy={"sharding": name}).plan for name in ("ddp", "zero2"))
    assert alone.memory.components["weights"] > 1.9 * split.memory.components["weights"]
    assert "xtuner/frozen-base-is-fp32" in [advice.id for advice in alone.warnings]


def test_steps_are_micro_steps() -> None:
    one = made(train={"max_steps": 100}, run={"save_every": 20, "log_every": 5})
    times = one.plan.strategy.gradient_accumulation
    tree = read("train.py", one.files["train.py"])
    assert tree["train_cfg"]["max_iters"] == 100 * times
    assert tree["default_hooks"]["checkpoint"]["interval"] == 20 * times
    assert tree["default_hooks"]["logger"]["interval"] == 5 * times
    assert [part["end"] for part in tree["param_scheduler"]] == [3 * times, 100 * times]


def launched(tmp_path: Path, torchrun: str, **sections: Any) -> subprocess.CompletedProcess[str]:
    return launch(made(**sections), tmp_path / "out", "launch.sh", tools={"torchrun": f"#!/bin/bash\n{torchrun}\n"})


def test_the_launcher_fails_when_training_fails(tmp_path: Path) -> None:
    saves = 'sleep 0.02; mkdir -p output; echo iter_2.pth > output/last_checkpoint; printf "%s\\n" "$@"'
    assert launched(tmp_path, "exit 7").returncode == 7
    silent = launched(tmp_path, "exit 0")
    assert silent.returncode == 1
    assert "without a last checkpoint" in silent.stderr
    whole = launched(tmp_path, saves)
    assert whole.returncode == 0, whole.stderr
    assert {"--nproc_per_node=4", "-m", "xtuner.tools.train", "--launcher", "pytorch"} <= set(whole.stdout.split("\n"))
    assert "holds checkpoints" in launched(tmp_path, saves).stderr
    again = launched(tmp_path, "exit 0", run={"existing": "overwrite"})
    assert again.returncode == 1  # the checkpoint that lies there is the older run's
    resumed = launched(tmp_path, saves, run={"existing": "resume"})
    assert "--resume\niter_2.pth" in resumed.stdout


def rows_of(data: dict[str, Any], task: str = "sft") -> dict[str, Any]:
    """The functions of mfc_rows.py for rows of one kind."""
    functions: dict[str, Any] = {}
    exec(made(train={"task": task}, data=data).files["mfc_rows.py"], functions)
    return functions


def test_rows_become_what_xtuner_reads() -> None:
    pair = rows_of({"format": "auto"}, "dpo")["preference_map_fn"](
        {"prompt": "a", "chosen": "b", "rejected": [{"role": "assistant", "content": "c"}]}
    )
    assert pair == {
        "prompt": [{"role": "user", "content": "a"}],
        "chosen": [{"role": "assistant", "content": "b"}],
        "rejected": [{"role": "assistant", "content": "c"}],
    }
    talk = [{"from": "system", "value": "s"}, {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    chat = rows_of({"format": "sharegpt"})["sharegpt_map_fn"]
    answer = {"conversation": [{"system": "s", "input": "q", "output": "a"}]}
    assert chat({"conversations": [{"from": "gpt", "value": "hello"}, *talk]}) == answer


def test_renamed_rows_become_what_xtuner_reads() -> None:
    roles = {"key": "who", "content": "said", "user": "u", "assistant": "a"}
    chat = rows_of({"format": "messages", "columns": {"messages": "talk", "system": "sys"}, "roles": roles})
    talk = [{"who": "u", "said": "q"}, {"who": "a", "said": "x"}]
    turn = {"system": "s", "input": "q", "output": "x"}
    assert chat["messages_map_fn"]({"sys": "s", "talk": talk}) == {"conversation": [turn]}
    asked = rows_of({"format": "alpaca", "columns": {"prompt": "q", "query": "more", "response": "x"}})["alpaca_map_fn"]
    assert asked({"q": "a", "more": "b", "x": "c"}) == {
        "conversation": [{"system": "", "input": "a\nb", "output": "c"}]
    }
    text = rows_of({"format": "text", "columns": {"text": "body"}}, "pretrain")["text_map_fn"]
    assert text({"body": " t "}) == {"conversation": [{"input": "", "output": "t", "need_eos_token": False}]}
    pair = rows_of({"format": "auto", "columns": {"chosen": "good", "rejected": "bad"}}, "dpo")["preference_map_fn"]
    assert pair({"prompt": "p", "good": "g", "bad": "b"})["chosen"] == [{"role": "assistant", "content": "g"}]


def test_alpaca_rows_end_in_no_empty_line() -> None:
    alpaca = rows_of({"format": "alpaca"})["alpaca_map_fn"]
    for given in ({"input": ""}, {}):
        told = alpaca({"instruction": "q", "output": "a", **given})
        assert told == {"conversation": [{"system": "", "input": "q", "output": "a"}]}


@pytest.mark.parametrize("form", ["sharegpt", "messages", "alpaca"])
def test_a_system_prompt_is_for_chats_that_have_none(form: str) -> None:
    function = rows_of({"format": form, "system": "be brief"})[f"{form}_map_fn"]
    said = {"sharegpt": ("from", "value", "human", "gpt"), "messages": ("role", "content", "user", "assistant")}
    row: dict[str, Any]
    own: dict[str, Any]
    if form == "alpaca":
        row, own = {"instruction": "q", "output": "a"}, {}
    else:
        who, what, user, answers = said[form]
        turns = [{who: user, what: "q"}, {who: answers, what: "a"}]
        column = {"sharegpt": "conversations", "messages": "messages"}[form]
        row, own = {column: turns}, {column: [{who: "system", what: "s"}, *turns]}
    assert function(row)["conversation"][0]["system"] == "be brief"
    if own:
        assert function(own)["conversation"][0]["system"] == "s"


def test_emit_takes_what_it_makes(tmp_path: Path) -> None:
    [one] = api.compile(over_base("xtuner", {}), ["xtuner"], out=tmp_path / "out")
    emit.write(one)
    assert os.access(tmp_path / "out" / "launch.sh", os.X_OK)
