"""XTuner's config, launcher and refusals; XTuner V1's."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mfc import api, emit
from mfc.emit.compiled import Compiled
from mfc.errors import CannotExpress, CannotFit
from mfc.target import contracts, get
from mfc.target.keys import mapping_table, native

ROOT = Path(__file__).parents[2]
MIXTRAL = ROOT / "examples" / "mixtral-lora-12k-8xa100-40g.yaml"
SPEC: dict[str, Any] = {
    "model": "Qwen/Qwen2.5-7B-Instruct",
    "hardware": {"gpu": "A100-80G", "count": 4, "host_memory": "1TiB"},
    "data": {"train": "data/train.jsonl", "format": "messages", "max_length": 2048},
    "train": {"batch_size": 32},
}
FLASH = {"xtuner": {"packages": {"flash-attn": "2.8.3"}}}
TARGETS = ("xtuner", "xtuner-v1")
NASTY = ["it's", '"; touch pwned; "', "$(touch pwned)", "a\\b", "{{ x }}", "é漢字", "#x: y", "a\nb"]


def made(target: str = "xtuner", **sections: Any) -> Compiled:
    spec = {key: {**SPEC[key], **sections.pop(key, {})} if isinstance(SPEC[key], dict) else SPEC[key] for key in SPEC}
    [one] = api.compile({**spec, **sections}, [target], out="out")
    return one


def data(one: Compiled) -> dict[str, Any]:
    return native(get(one.target).KEYS, one.plan).data


def settings(one: Compiled) -> dict[str, Any]:
    """The variables of the config that hold literals."""
    found = {}
    for node in ast.parse(one.files["train.py"]).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found


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


@pytest.mark.parametrize(
    ("target", "change", "said", "others"),
    [
        ("xtuner", {"model": "Qwen/Qwen3-8B"}, "does not know qwen3", "llamafactory"),
        ("xtuner", {"model": "THUDM/glm-4-9b-chat-hf"}, "no chat template for", "llamafactory"),
        ("xtuner", {"model": "google/gemma-2-9b-it"}, "no chat template for", "llamafactory"),
        ("xtuner", {"data": {"template": "qwen9"}}, "no chat template qwen9", ""),
        ("xtuner", {"data": {"eval": 0.02}}, "does not evaluate", "llamafactory"),
        ("xtuner", {"train": {"epochs": 1.5}}, "whole epochs", "llamafactory"),
        ("xtuner", {"train": {"task": "kto"}, "data": {"format": "auto"}}, "no task kto", "llamafactory"),
        ("xtuner", {"train": {"task": "reward"}, "data": {"format": "auto"}}, "a reserved token", "llamafactory"),
        ("xtuner", {"data": {"train": [{"path": "a.jsonl", "weight": 2}, {"path": "b.jsonl"}]}}, "by weight", ""),
        ("xtuner", {"strategy": {"sharding": "fsdp2"}}, "no sharding fsdp2", "xtuner-v1"),
        ("xtuner-v1", {}, "no method lora", "xtuner"),
        ("xtuner-v1", {"train": {"task": "dpo", "method": "full"}}, "no task dpo", "xtuner"),
        ("xtuner-v1", {"train": {"method": "full"}, "model": "meta-llama/Llama-3.1-8B"}, "no model code", "xtuner"),
    ],
)
def test_what_it_cannot_say_names_who_can(target: str, change: dict[str, Any], said: str, others: str) -> None:
    with pytest.raises(CannotExpress, match=said) as refused:
        made(target, **change)
    assert others in str(refused.value)


@pytest.mark.parametrize(
    ("strategy", "preset"),
    [
        ({"sharding": "zero1"}, "deepspeed_zero1"),
        ({"sharding": "zero2"}, "deepspeed_zero2"),
        ({"sharding": "zero3"}, "deepspeed_zero3"),
        ({"sharding": "zero3", "offload": {"optimizer": "cpu", "parameters": "cpu"}}, "deepspeed_zero3_offload"),
        ({"sharding": "zero3", "offload": {"optimizer": "cpu", "parameters": "none"}}, None),
        ({"sharding": "zero2", "offload": {"optimizer": "cpu"}}, "deepspeed_zero2_offload"),
    ],
)
def test_shipped_presets_are_used_where_they_say_the_plan(strategy: dict[str, Any], preset: str | None) -> None:
    one = made(strategy=strategy)
    assert (f"--deepspeed {preset or 'ds_config.json'} " in one.files["launch.sh"]) == (one.plan.strategy.deepspeed)
    assert ("ds_config.json" in one.files) == (preset is None)
    if preset:
        shipped = contracts.load("xtuner-0.2.0")["x-knows"]["deepspeed"][preset]["zero_optimization"]
        assert shipped["stage"] == one.plan.strategy.zero_stage
        assert ("offload_optimizer" in shipped) == (one.plan.strategy.offload_optimizer == "cpu")
        assert ("offload_param" in shipped) == (one.plan.strategy.offload_parameters == "cpu")


def test_fp16_on_a_bf16_card_needs_a_json_of_its_own() -> None:
    one = made(strategy={"sharding": "zero2"}, train={"precision": "fp16"})
    assert '"fp16": {\n    "enabled": true' in one.files["ds_config.json"]
    assert "train_batch_size" not in one.files["ds_config.json"]


def test_split_sequences_have_their_sampler_and_the_batch_is_held() -> None:
    one = made(
        data={"max_length": 32768, "packing": True},
        train={"batch_size": 8},
        strategy={"sequence_parallel": 4, "attention": "flash"},
    )
    assert settings(one)["accumulative_counts"] == 8  # 8 rows on one group of four, one row at a time
    assert settings(one)["sequence_parallel_size"] == 4
    assert "SequenceParallelSampler" in one.files["train.py"]
    assert "VarlenAttnArgsToMessageHubHook" in one.files["train.py"]
    assert settings(one)["use_varlen_attn"] is True
    assert one.plan.strategy.deepspeed


def test_packed_samples_are_kept_apart_where_flash_attention_is_there() -> None:
    assert settings(made(data={"packing": True}, targets=FLASH))["use_varlen_attn"] is True
    plain = made(data={"packing": True})
    assert settings(plain)["use_varlen_attn"] is False
    assert "xtuner/packed-samples-see-each-other" in [advice.id for advice in plain.plan.warnings]


def test_plain_lora_without_deepspeed_holds_an_fp32_base() -> None:
    alone, split = (made(strategy={"sharding": name}).plan for name in ("ddp", "zero2"))
    assert alone.memory.components["weights"] > 1.9 * split.memory.components["weights"]
    assert "xtuner/frozen-base-is-fp32" in [advice.id for advice in alone.warnings]


def test_masters_are_never_lost_to_flash_attention() -> None:
    small: dict[str, Any] = {"model": "Qwen/Qwen2.5-0.5B-Instruct", "train": {"method": "full"}}
    plan = made(**small, strategy={"sharding": "ddp"}, targets=FLASH).plan
    assert plan.strategy.attention == "sdpa"
    assert data(made(**small, strategy={"sharding": "ddp"}))["model"]["llm"]["torch_dtype"] == "torch:float32"


@pytest.mark.parametrize(("sharding", "norm"), [("ddp", None), ("zero2", 0)])
def test_clipping_can_be_switched_off(sharding: str, norm: float | None) -> None:
    one = made(strategy={"sharding": sharding}, train={"optim": {"max_grad_norm": 0}})
    clip = data(one)["optim_wrapper"]["clip_grad"]
    assert (clip and clip["max_norm"]) == norm


def test_steps_are_micro_steps() -> None:
    one = made(train={"max_steps": 100}, run={"save_every": 20, "log_every": 5})
    times = one.plan.strategy.gradient_accumulation
    tree = data(one)
    assert tree["train_cfg"]["max_iters"] == 100 * times
    assert tree["default_hooks"]["checkpoint"]["interval"] == 20 * times
    assert tree["default_hooks"]["logger"]["interval"] == 5 * times
    assert [part["end"] for part in tree["param_scheduler"]] == [3 * times, 100 * times]


@pytest.mark.parametrize("target", TARGETS)
def test_every_key_is_cited_and_every_decision_carried(target: str) -> None:
    one = made(target, train={"method": "full"})
    module = get(target)
    carried = {field for key in module.KEYS for field in key.fields}
    decided = [field for field in one.plan.decisions if one.plan.values[field] is not None]
    elsewhere = vars(module)["ELSEWHERE"]
    assert [field for field in decided if field not in carried and field not in elsewhere] == []


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("text", NASTY)
def test_strings_stay_in_their_place(target: str, text: str, tmp_path: Path) -> None:
    safe = text.replace("\n", "_")
    one = made(target, train={"method": "full"}, run={"output_dir": safe}, data={"train": f"{safe}.jsonl"})
    ast.parse(one.files["train.py"])
    assert repr(f"../{safe}.jsonl") in one.files["train.py"]
    subprocess.run(["bash", "-n"], input=one.files["launch.sh"], text=True, check=True)


def launched(tmp_path: Path, stand_in: str, **sections: Any) -> subprocess.CompletedProcess[str]:
    """The launcher, with a stand-in for torchrun."""
    one = made(**sections)
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    for name, text in one.files.items():
        (out / name).write_text(text, encoding="utf-8")
    tools = tmp_path / "bin"
    tools.mkdir(exist_ok=True)
    (tools / "torchrun").write_text(f"#!/usr/bin/env bash\n{stand_in}\n", encoding="utf-8")
    (tools / "torchrun").chmod(0o755)
    env = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", str(out / "launch.sh")], capture_output=True, text=True, check=False, env=env, cwd="/"
    )


def test_the_launcher_fails_when_training_fails(tmp_path: Path) -> None:
    saves = 'sleep 0.02; mkdir -p output; echo iter_2.pth > output/last_checkpoint; printf "%s\\n" "$@"'
    assert launched(tmp_path, "exit 7").returncode == 7
    silent = launched(tmp_path, "exit 0")
    assert silent.returncode == 1
    assert "without a last checkpoint" in silent.stderr
    good = launched(tmp_path, saves)
    assert good.returncode == 0, good.stderr
    assert {"--nproc_per_node=4", "-m", "xtuner.tools.train", "--launcher", "pytorch"} <= set(good.stdout.split("\n"))
    assert "holds checkpoints" in launched(tmp_path, saves).stderr
    again = launched(tmp_path, "exit 0", run={"existing": "overwrite"})
    assert again.returncode == 1  # the checkpoint that lies there is the older run's
    resumed = launched(tmp_path, saves, run={"existing": "resume"})
    assert "--resume\niter_2.pth" in resumed.stdout


def test_v1_writes_its_own_config() -> None:
    spec = {"model": "Qwen/Qwen3-8B", "train": {"method": "full"}, "data": {"packing": True}}
    one = made("xtuner-v1", **spec, hardware={"count": 8})
    trainer = data(one)["trainer"]
    assert trainer["loss_cfg"]["mode"] == "chunk"
    assert trainer["load_from"] == trainer["tokenizer_path"] == "Qwen/Qwen3-8B"
    assert trainer["global_batch_size"] == 32
    assert trainer["lr_cfg"]["lr_min"] == 0.0
    assert one.plan.strategy.sharding == "fsdp2"
    assert "-m xtuner.v1.train.cli.sft --config train.py" in one.files["launch.sh"]
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(one.files["train.py"]))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert {"TrainerConfig", "FSDPConfig", "CELossConfig", "get_model_config_from_hf"} <= calls


@pytest.mark.parametrize("target", TARGETS)
def test_users_keys_are_checked(target: str, tmp_path: Path) -> None:
    key = {"xtuner": "log_level", "xtuner-v1": "trainer.global_batch_size"}[target]
    with pytest.raises(Exception, match="written by mfc"):
        made(target, train={"method": "full"}, targets={target: {"extra": {key: "x"}}})


@pytest.mark.parametrize("target", TARGETS)
def test_the_readme_has_the_table_of_keys(target: str) -> None:
    text = (ROOT / "targets" / target.replace("-", "_") / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- keys: .* -->\n(.*)<!-- end -->", text, re.DOTALL)
    assert found
    assert found[1] == mapping_table(get(target).KEYS)


def test_rows_become_what_xtuner_reads() -> None:
    one = made(train={"task": "dpo"}, data={"format": "auto"})
    assert "from mfc_rows import preference_map_fn" in one.files["train.py"]
    rows: dict[str, Any] = {}
    exec(one.files["mfc_rows.py"], rows)
    pair = rows["preference_map_fn"](
        {"prompt": "a", "chosen": "b", "rejected": [{"role": "assistant", "content": "c"}]}
    )
    assert pair == {
        "prompt": [{"role": "user", "content": "a"}],
        "chosen": [{"role": "assistant", "content": "b"}],
        "rejected": [{"role": "assistant", "content": "c"}],
    }
    talk = [{"from": "system", "value": "s"}, {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    chat = rows["sharegpt_map_fn"]({"conversations": [{"from": "gpt", "value": "hello"}, *talk]})
    assert chat == {"conversation": [{"system": "s", "input": "q", "output": "a"}]}


def test_emit_takes_what_it_makes(tmp_path: Path) -> None:
    [one] = api.compile(SPEC, ["xtuner"], out=tmp_path / "out")
    emit.write(one)
    assert os.access(tmp_path / "out" / "launch.sh", os.X_OK)
