"""minimind: memory against counts of its own code and public reports; its parsers, given a checkout.

MFC_MINIMIND and MFC_MINIMIND2 name checkouts of the two states; the tests that need one are not collected without it.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import shlex
import subprocess
import sys
import types
from pathlib import Path
from typing import Any, NoReturn

import pytest
from mfc import api
from mfc.catalog import hf_config
from mfc.catalog.architecture import Architecture
from mfc.catalog.models import find
from mfc.memory.formats import formats
from mfc.memory.forward import saved
from mfc.memory.inputs import Trains
from mfc.memory.optimizers import reach
from mfc.memory.shape import shape
from mfc.memory.stack import Stack
from mfc.memory.static import _inputs
from mfc.planner.plan import Plan
from mfc.strategy import Lora, Strategy
from mfc.target import get

from tests.targets.cases import case, compiled, good
from tests.targets.launching import TOLD, launch

REPOSITORY = Path(__file__).parents[2]
GIB = 2**30
VOCAB = 6400
CHECKOUTS = {
    version: Path(os.environ[name])
    for version, name in (("3", "MFC_MINIMIND"), ("2", "MFC_MINIMIND2"))
    if os.environ.get(name)
}
TARGET = get("minimind")

# Saved tensors of the real model code under bf16 autocast, by hooks of autograd: bytes a token, and MiB of 16-bit
# copies of weights. (version, model, layers where they are not the model's own, method)
SAVED = {
    ("2", "minimind2-small", 0, "full"): (244_044, 49),
    ("2", "minimind2", 0, "full"): (664_716, 198),
    ("2", "minimind2-moe", 0, "full"): (600_028, 277),
    ("3", "minimind-3", 0, "full"): (438_442, 122),
    ("3", "minimind-3-moe", 0, "full"): (475_578, 378),
    ("3", "minimind-3", 16, "full"): (840_554, 234),
    ("3", "minimind-3", 0, "lora"): (289_414, 120),
    ("2", "minimind2", 0, "lora"): (444_552, 197),
}


def model(name: str, layers: int) -> Architecture:
    found = find(name).architecture
    return found._replace(blocks=((layers, found.blocks[0][1]),)) if layers else found


@pytest.mark.parametrize(("version", "name", "layers", "method"), SAVED)
def test_what_waits_for_the_backward_pass_is_what_the_code_saves(
    version: str, name: str, layers: int, method: Any
) -> None:
    architecture, stack = model(name, layers), TARGET.profile(version, {}).stack
    rank = TARGET.profile(version, {}).always["lora_rank"]
    strategy = Strategy(
        task="sft",
        method=method,
        precision="fp16",
        sharding="ddp",
        world_size=1,
        max_length=2048,
        micro_batch=1,
        gradient_accumulation=1,
        gradient_checkpointing=False,
        attention="sdpa",
        loss="plain",
        optimizer="adamw",
        lora=Lora(rank, rank, targets="q_proj,o_proj") if method == "lora" else None,
    )
    left = _left(architecture, strategy, stack)
    softmax = 4 * VOCAB  # fp32
    each = (left.sequence + left.final - left.batch) / strategy.max_length + softmax
    told, copies = SAVED[version, name, layers, method]
    assert each == pytest.approx(told, rel=0.08)
    assert (left.fixed + left.casts) / 2**20 == pytest.approx(copies, rel=0.03)


def _left(architecture: Architecture, strategy: Strategy, stack: Stack) -> Any:
    given = _inputs(architecture, strategy, stack, formats(strategy, stack))
    figure = shape(architecture, stack.fused_experts)
    return saved(figure, given, Trains(figure.parameters, 0, reach(strategy, figure.depth), ()))


def plan(**changes: Any) -> Plan:
    """The article's spec with other sections; `micro` is the micro-batch and, times `steps`, the batch."""
    micro, steps = changes.pop("micro", 6), changes.pop("steps", 1)
    spec = {
        "model": "jingyaogong/MiniMind2",
        "hardware": "RTX 4090",
        "data": {"train": "sft_2048.jsonl", "max_length": 2048},
        "train": {"method": "full", "batch_size": micro * steps},
        "strategy": {"micro_batch": micro},
        "run": {"save_every": 100},
        "targets": {"minimind": {"version": "2"}},
    }
    return api.plan({**spec, **changes}, "minimind")


def test_six_samples_of_2048_tokens_take_half_a_card() -> None:
    one = plan()
    assert one.fits
    assert 10 * GIB < one.memory.process_bytes < 12 * GIB
    # 9962 MiB of tensors and 16 of workspaces: a step of its own loop, traced on fake tensors
    assert one.memory.allocated_bytes == pytest.approx(9978 * 2**20, rel=0.03)


def test_twelve_still_fit_and_sixteen_do_not() -> None:
    assert plan(micro=12).fits
    assert not plan(micro=16).fits


def test_splitting_a_step_changes_no_learning_rate() -> None:
    two = [plan(micro=6, steps=4), plan(micro=4, steps=6)]
    assert [one.values["gradient_accumulation"] for one in two] == [4, 6]
    assert len({one.values["learning_rate"] for one in two}) == 1
    assert two[1].memory.process_bytes < two[0].memory.process_bytes
    alone = plan(micro=6)  # six samples a step: less, by the root of 6 / 16
    assert alone.values["learning_rate"] == pytest.approx(two[0].values["learning_rate"] * (6 / 16) ** 0.5, rel=0.05)


def test_the_example_tells_the_article_so() -> None:
    (one,) = api.compile(REPOSITORY / "examples" / "minimind2-sft-2048-rtx4090.yaml")
    assert one.plan.fits
    assert one.plan.memory.process_bytes < 12 * GIB
    assert one.plan.values["gradient_accumulation"] == 4


def test_128_rows_of_512_tokens_nearly_fill_24_gb_with_8_layers_and_overflow_with_12(tmp_path: Path) -> None:
    short = {"train": "a.jsonl", "max_length": 512}
    eight = plan(model="jingyaogong/MiniMind2-Small", data=short, micro=128)
    card = eight.problem.hardware.memory_bytes
    assert eight.fits
    assert 0.85 * card < eight.memory.process_bytes < card
    row = {"model_type": "minimind", "hidden_size": 512, "num_hidden_layers": 12, "num_attention_heads": 8}
    rest = {"num_key_value_heads": 2, "intermediate_size": 1408, "vocab_size": VOCAB, "use_moe": False}
    (tmp_path / "config.json").write_text(json.dumps({**row, **rest}), encoding="utf-8")
    assert hf_config.from_file(tmp_path).architecture.tied
    twelve = plan(model={"id": "./m", "config": str(tmp_path / "config.json")}, data=short, micro=128)
    assert not twelve.fits
    assert twelve.memory.allocated_bytes > card


def test_a_run_of_grpo_that_took_6_to_7_gb_lies_between_short_prompts_and_the_longest() -> None:
    peaks = []
    for prompt in (64, 512):
        rollout = {"num_generations": 8, "max_completion_length": 256, "rewards": ["internlm/internlm2-1_8b-reward"]}
        one = plan(
            model="jingyaogong/minimind-3",
            hardware="RTX 3090",
            data={"train": "a.jsonl", "max_length": prompt + 256},
            train={"task": "grpo", "method": "full", "batch_size": 8, "rollout": rollout},
            strategy={"micro_batch": 8},
            targets={"minimind": {"version": "3"}},
        )
        assert one.fits
        peaks.append(max(one.memory.moments.values()) / 1e9)
    assert peaks[0] < 7.2
    assert peaks[0] == pytest.approx(6.0, rel=0.1)
    assert 7.2 < peaks[1] < 9


def test_the_script_starts_inside_the_checkout_and_links_the_weights(folder: Path, tmp_path: Path) -> None:
    one, checkout = compiled("minimind", "minimind2", folder), tmp_path / "checkout"
    (checkout / "trainer").mkdir(parents=True)
    (checkout / "out").mkdir()
    tools = {"python": TOLD}
    done = launch(one, tmp_path / "a", "train.sh", "--device", "cpu", tools=tools, MINIMIND=str(checkout))
    assert done.stdout.splitlines()[0] == str(checkout / "trainer")
    assert "--device\ncpu\n" in done.stdout
    linked = tmp_path / "a" / "output" / "pretrain_768.pth"
    assert not linked.is_symlink()  # there is nothing to link: the trainer says so itself
    (checkout / "out" / "pretrain_768.pth").touch()
    launch(one, tmp_path / "a", "train.sh", tools=tools, MINIMIND=str(checkout))
    assert linked.resolve() == checkout / "out" / "pretrain_768.pth"
    (tmp_path / "a" / "output" / "full_sft_768.pth").touch()
    done = launch(one, tmp_path / "a", "train.sh", tools=tools, MINIMIND=str(checkout))
    assert "weights of another run" in done.stderr


def version_of(name: str) -> str:
    """The state of the code that a case is about."""
    said = case("minimind", name).get("spec", {}).get("targets", {}).get("minimind", {})
    return str(said.get("version", TARGET.VERSIONS[0]))


def flags(script: str) -> tuple[str, list[str]]:
    """The trainer and the flags of a script, with what the shell makes of paths left as it is."""
    lines = script.splitlines()
    begin, end = lines.index("flags=("), lines.index(")")
    words = [word for line in lines[begin + 1 : end] for word in shlex.split(line, comments=True)]
    (trainer,) = {word for word in script.split() if word.startswith("train_") and word.endswith(".py")}
    return trainer, words


def parser(file: Path) -> argparse.ArgumentParser:
    """The script's own parser: its statements that make it are run, and nothing else."""

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise ValueError(message)

    made: list[ast.stmt] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign | ast.Expr) and isinstance(node.value, ast.Call):
            called = ast.unparse(node.value.func)
            if called in ("argparse.ArgumentParser", "parser.add_argument"):
                made.append(node)
    made.sort(key=lambda node: node.lineno)
    torch = types.SimpleNamespace(cuda=types.SimpleNamespace(is_available=lambda: True))
    space: dict[str, Any] = {"argparse": types.SimpleNamespace(ArgumentParser=Parser), "torch": torch}
    exec(compile(ast.Module(made, []), str(file), "exec"), space)
    found: argparse.ArgumentParser = space["parser"]
    return found


if CHECKOUTS:

    @pytest.mark.parametrize("name", [name for name in good("minimind") if version_of(name) in CHECKOUTS])
    def test_its_own_parser_takes_the_flags(name: str, folder: Path) -> None:
        one = compiled("minimind", name, folder)
        checkout = CHECKOUTS[one.plan.profile.version]
        trainer, words = flags(one.files["train.sh"])
        taken = parser(checkout / "trainer" / trainer).parse_args(words)
        assert taken.batch_size >= 1
        assert taken.dtype in ("bfloat16", "float16")

    @pytest.mark.parametrize("version", CHECKOUTS)
    def test_contracts_are_what_the_scripts_say(version: str, tmp_path: Path) -> None:
        extract = TARGET.folder / "contract" / "extract.py"
        committed = sorted((REPOSITORY / "schemas" / "contracts").glob(f"minimind-*-{version}.json"))
        ran = [json.loads(file.read_text(encoding="utf-8"))["x-mfc"]["source"] for file in committed]
        _, commit, date = ran[0].split(", ")
        arguments = [str(CHECKOUTS[version]), version, commit.removeprefix("commit "), date, str(tmp_path)]
        subprocess.run([sys.executable, str(extract), *arguments], check=True)
        assert {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()} == {
            file.name: file.read_text(encoding="utf-8") for file in committed
        }
