"""The commands as a user types them: what they print, what they write, and their exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import mfc
import pytest
from mfc.cli import main
from mfc.fields import MEANING

SPEC = """\
model: Qwen/Qwen2.5-7B-Instruct
hardware: {gpu: L40S, count: 2}
data: {path: train.jsonl, max_length: 2048}
train: {method: lora, batch_size: 32}
targets: [llamafactory]
"""
ROOMY = """\
model: meta-llama/Llama-3.1-8B-Instruct
hardware: {gpu: A100 PCIe 40GB, count: 4, host_memory: 256GiB}
data: {path: train.jsonl, max_length: {min: 1024, max: 16384}}
train: {method: auto, batch_size: 32}
targets: [llamafactory, xtuner, ms-swift]
"""


def run(*args: str | Path) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(arg) for arg in args])
    assert isinstance(stop.value.code, int)
    return stop.value.code


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.yaml").write_text(SPEC, encoding="utf-8")
    return Path("spec.yaml")


ZERO3_INT8 = ("train.method=qlora", "train.quantization.bits=8", "strategy.sharding=zero3")
CODES = {
    "fits": (["plan", "spec.yaml"], 0, "fits"),
    "does not fit": (["plan", "spec.yaml", "--set", "train.method=full"], 3, "nothing fits"),
    "pins that exclude each other": (
        ["plan", "spec.yaml", "--set", "strategy.sharding=zero1", "--set", "strategy.offload.parameters=cpu"],
        2,
        "strategy.sharding: zero1 and strategy.offload.parameters: cpu cannot go together",
    ),
    "a pin the hardware lacks": (
        ["plan", "spec.yaml", "--set", "hardware.gpu=T4", "--set", "train.precision=bf16"],
        2,
        "train.precision: bf16 is impossible here",
    ),
    "a task the target lacks": (["compile", "spec.yaml", "--set", "train.task=grpo"], 4, "targets that can:"),
    "an unknown target": (["compile", "spec.yaml", "-t", "llamafactry"], 2, "did you mean 'llamafactory'?"),
    "an unknown target in the spec": (
        ["plan", "spec.yaml", "--set", "targets=[llamafactry]"],
        2,
        "--set targets=[llamafactry]: error: unknown target llamafactry",
    ),
    "a brand instead of a GPU": (["plan", "spec.yaml", "--set", "hardware.gpu=RTX"], 2, "not in the catalogue"),
    "a GPU that others fill": (["plan", "spec.yaml", "--set", "hardware.gpu_reserved=48GiB"], 2, "leaves nothing"),
    "an unknown GPU": (["plan", "spec.yaml", "--set", "hardware.gpu=RTX 4091"], 2, "Nearest: RTX 4090"),
    "an unknown model": (["plan", "spec.yaml", "--set", "model=Qwen/Qwen2.5-8B"], 2, "config: path/to/config.json"),
    "an unknown field": (["explain", "spec.yaml", "shardin"], 2, "did you mean sharding"),
    "an unknown key of a target": (
        ["explain", "spec.yaml", "per_device_trian_batch_size"],
        2,
        "did you mean per_device",
    ),
    "an unknown command": (["complie", "spec.yaml"], 2, "did you mean 'compile'?"),
    "no such file": (["compile", "spek.yaml"], 2, "did you mean spec.yaml?"),
    "a batch that does not divide": (
        ["plan", "spec.yaml", "--set", "train.batch_size=33"],
        2,
        "train.batch_size: 33 is impossible here",
    ),
    "a pin and a section that exclude each other": (
        ["plan", "spec.yaml", *(x for each in ZERO3_INT8 for x in ("--set", each))],
        2,
        "train.quantization: {bits: 8} and strategy.sharding: zero3 cannot go together",
    ),
    "adapters on nothing": (
        ["plan", "spec.yaml", "--set", "train.lora.targets=[zz]"],
        2,
        "--set train.lora.targets=[zz]: error",
    ),
}


@pytest.mark.parametrize("case", CODES)
def test_exit_codes_and_what_is_said(case: str, spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args, code, said = CODES[case]
    assert run(*args) == code
    shown = capsys.readouterr()
    assert said in shown.out + shown.err
    assert [path.name for path in spec.absolute().parent.iterdir()] == ["spec.yaml"], "nothing may be written"


def test_compile_writes_checks_and_keeps(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compile", spec, "--check") == 1
    assert run("compile", spec) == 0
    assert run("compile", spec, "--check") == 0
    assert run("check", "--no-cache", spec) == 0
    config = Path("spec/llamafactory/train.yaml")
    text = config.read_text(encoding="utf-8")
    config.write_text(text + "# by hand\n", encoding="utf-8")
    assert run("compile", spec) == 1
    assert config.read_text(encoding="utf-8").endswith("# by hand\n")
    assert run("compile", spec, "--force") == 0
    assert config.read_text(encoding="utf-8") == text
    capsys.readouterr()
    assert run("compile", spec, "--set", "data.max_length=1024", "--diff") == 1
    assert "+cutoff_len: 1024" in capsys.readouterr().out


def test_plans_as_json(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan", spec, "--target", "deepspeed", "--format", "json") == 0
    (plan,) = json.loads(capsys.readouterr().out)["plans"]
    assert plan["fits"]
    assert plan["target"] == "deepspeed"
    assert plan["strategy"]["micro_batch"] * plan["strategy"]["gradient_accumulation"] * 2 == 32


def test_several_targets_are_one_experiment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(ROOMY, encoding="utf-8")
    together = mfc.compile(path)
    for name in MEANING:
        assert len({one.plan.values.get(name) for one in together}) == 1, name
    # One at a time gives the same: the experiment is that of all targets that the spec names.
    assert [mfc.compile(path, [one.target])[0].files for one in together] == [one.files for one in together]
    assert run("compile", path) == 0
    assert "the same on all: method" in capsys.readouterr().out


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    assert "mfc COMMAND --help" in capsys.readouterr().out
    assert run("--version") == 0
    assert capsys.readouterr().out == f"mfc {mfc.__version__}\n"


LISTS = (("gpus", "RTX 4090"), ("models", "Qwen/Qwen2.5-7B"), ("targets", "deepspeed"), ("rules", "precision/"))


@pytest.mark.parametrize(("command", "word"), LISTS)
def test_lists(command: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command) == 0
    assert word in capsys.readouterr().out
    assert run(command, "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)


def test_a_gpu_says_where_its_figures_are_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("gpus", "910B4") == 0
    assert "\nAscend 910B4: " in capsys.readouterr().out


@pytest.mark.parametrize("command", ["gpus", "models", "rules"])
def test_a_list_of_nothing_is_an_error(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "zzz") == 2
    assert "'zzz'" in capsys.readouterr().err


SCHEMAS = {
    "spec": "mfc spec",
    "plan": "",
    "deepspeed-0.18.4": "DeepSpeed 0.18.4",
    "deepspeed": "DeepSpeed 0.19.8",
    "llamafactory": "LLaMA-Factory 0.9.5",
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("schema", name) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["$schema"].endswith("2020-12/schema")
    assert SCHEMAS[name] in document["title"]


EXPLAINED = {
    "a plan field": (["micro_batch"], "micro_batch: "),
    "a field of the spec": (["strategy.offload.optimizer"], "offload_optimizer: none"),
    "a native key": (["per_device_train_batch_size"], "carries  micro_batch\nmicro_batch: "),
    "a nested native key": (["stage", "--target", "deepspeed"], "carries  sharding\nsharding: "),
    "a key of one of two": (["lora_alpha", "--set", "targets=[llamafactory, xtuner]"], "== xtuner 0.2.0"),
}


@pytest.mark.parametrize("case", EXPLAINED)
def test_explain_takes_any_name(case: str, spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args, said = EXPLAINED[case]
    assert run("explain", spec, *args) == 0
    assert said in capsys.readouterr().out
