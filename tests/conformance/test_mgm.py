"""What mfc writes for MGM (Mini-Gemini) is accepted by its real script, which then trains with it.

MGM is on no package index: MFC_MGM names a clone of github.com/dvlab-research/MGM, of which the commit that mfc knows
is taken. Without it these tests are skipped; the contract holds the flags always.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from mfc.catalog.models import find
from mfc.memory.mining import mined
from mfc.planner.plan import Plan
from mfc.targets.mgm import facts
from mfc.targets.mgm.keys import OPTIMIZERS

from tests.conformance.contracts import contract_file
from tests.conformance.environments import environment
from tests.conformance.judging import REPOSITORY, Case, compile_all, differences, examples, judge
from tests.conformance.tiny import DRIVERS
from tests.targets.cases import case, good, over_base
from tests.targets.launching import TOLD, launch

CLONE = os.environ.get("MFC_MGM", "")
pytestmark = [
    pytest.mark.framework,
    pytest.mark.skipif(not CLONE, reason="MFC_MGM names no clone of github.com/dvlab-research/MGM"),
]
WHERE, DATE, COMMIT = "mgm-2024.05", "2024-05-04", facts.COMMITS["2024.05"]
HEAD_WIDTH = 1024 + 2 * 2048  # of the projector: numbers that it keeps a token, in mgm_code.py


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package and nothing else, with folders where its towers would lie."""
    into = tmp_path_factory.mktemp("mgm") / "MGM"
    packed = subprocess.run(["git", "-C", CLONE, "archive", COMMIT, "mgm"], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(into, filter="data")
    for tower in (*facts.TOWERS.values(), "zoo/OpenAI/clip"):  # the last one is that of a case
        (into / tower).mkdir(parents=True)
    return into


def test_contract_is_what_the_script_says() -> None:
    script = REPOSITORY / "targets" / "mgm" / "contract" / "extract.py"
    made = environment(WHERE).run(["python", script, CLONE, DATE]).stdout
    assert contract_file("mgm-2024.05").read_text(encoding="utf-8") == made


def planned(plan: Plan) -> dict[str, Any]:
    """What the script has to read back, said in its words."""
    strategy, lora = plan.strategy, plan.strategy.lora
    side = math.isqrt(plan.values["image_max_pixels"])
    vision = plan.problem.model.architecture.vision
    assert vision is not None
    assert vision.mining is not None
    return {
        "version": plan.values["template"],
        "aligns": "language" in strategy.freeze_parts,
        "image_size_aux": side,
        "image_grid": vision.mining.grid,
        "image_global": vision.mining.grid > 1,
        "model_max_length": strategy.max_length,
        "bits": strategy.quantization.bits if strategy.quantization else 16,
        "lora": lora is not None,
        "lora_r": lora.rank if lora else None,
        "lora_alpha": lora.alpha if lora else None,
        "bf16": strategy.precision == "bf16",
        "fp16": strategy.precision == "fp16",
        "gradient_checkpointing": strategy.gradient_checkpointing,
        "per_device_train_batch_size": strategy.micro_batch,
        "gradient_accumulation_steps": strategy.gradient_accumulation,
        "world_size": strategy.world_size,
        "learning_rate": plan.values["learning_rate"],
        "lr_scheduler_type": plan.values["schedule"],
        "optim": OPTIMIZERS[strategy.optimizer],
        "seed": plan.values["seed"],
        "max_grad_norm": plan.values["max_grad_norm"],
        "gradient_clipping": plan.values["max_grad_norm"],
        "zero_stage": strategy.zero_stage,
        "offload_optimizer": strategy.offload_optimizer,
        "offload_parameters": strategy.offload_parameters,
    }


def flags(one: Case, checkout: Path) -> list[str]:
    """The words that the compiled script hands to MGM's."""
    several = {"NODE_RANK": "0", "MASTER_ADDR": "localhost"}
    tools = {"deepspeed": TOLD, "torchrun": TOLD}
    done = launch(one.compiled, one.folder, "train.sh", tools=tools, MGM=str(checkout), **several)
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    start = next(number for number, word in enumerate(told) if word.startswith("mgm/train/"))
    assert (checkout / told[start]).is_file()
    end = next(number for number, word in enumerate(told) if number > start and re.match(r"\w+=", word))
    return told[start + 1 : end]


def verdicts(cases: list[Case], said: list[list[str]], checkout: Path) -> list[dict[str, Any]]:
    os.environ["MGM"] = str(checkout)
    questions = [
        {
            "folder": str(one.folder),
            "world_size": one.compiled.plan.strategy.world_size,
            "flags": words,
        }
        for one, words in zip(cases, said, strict=True)
    ]
    return judge("mgm_driver", WHERE, questions)


def drawn() -> list[tuple[str, Any]]:
    """Every method and stage with every sharding, offload and precision that goes with it."""
    parts = {
        "align": {"method": "full", "freeze_parts": ["vision", "language"]},
        "full": {"method": "full", "freeze_parts": ["vision"]},
        "lora": {"method": "lora", "freeze_parts": "auto", "whole_parts": ["projector"]},
        "qlora": {"method": "qlora", "freeze_parts": "auto", "whole_parts": ["projector"]},
    }
    offloads: dict[str, tuple[Any, ...]] = {
        "zero1": ("none", {"optimizer": "cpu"}),
        "zero2": ("none", {"optimizer": "cpu"}),
        "zero3": ("none", {"optimizer": "cpu"}, {"optimizer": "cpu", "parameters": "cpu"}),
    }
    found: list[tuple[str, Any]] = []
    for number, (part, train) in enumerate(parts.items()):
        for sharding, each in offloads.items():
            for offload in each:
                if part == "qlora" and sharding == "zero3":
                    continue
                spec = {
                    "model": {"id": "./vicuna-7b", "like": "YanweiLi/MGM-7B"},
                    "hardware": {"gpu": "A100 SXM 80GB", "count": 8, "host_memory": "1TiB"},
                    "train": {**train, "precision": ("bf16", "fp16")[number % 2], "projector_learning_rate": 1e-4},
                    "strategy": {"sharding": sharding, "offload": offload},
                }
                found.append((f"{part}-{sharding}-{len(found)}", over_base("mgm", spec)))
    return found


def test_cases_examples_and_drawn_specs_are_accepted(checkout: Path, tmp_path: Path) -> None:
    specs: list[tuple[str, Any]] = [(name, over_base("mgm", case("mgm", name)["spec"])) for name in good("mgm")]
    cases, too_big = compile_all([*specs, *examples("mgm"), *drawn()], "mgm", tmp_path / "compiled")
    assert too_big == {}
    assert len(cases) > 40
    wrong = {}
    said = [flags(one, checkout) for one in cases]
    for one, verdict in zip(cases, verdicts(cases, said, checkout), strict=True):
        if not verdict["accepted"]:
            wrong[one.name] = verdict["reason"]
        elif told := differences(verdict["facts"], planned(one.compiled.plan)):
            wrong[one.name] = told
    assert wrong == {}


def test_the_judge_can_say_no(checkout: Path, tmp_path: Path) -> None:
    [one], _ = compile_all([("good", over_base("mgm", {}))], "mgm", tmp_path / "compiled")
    good_words = flags(one, checkout)
    spoilt = {
        "--image_size_aux": "wide",
        "--lr_scheduler_type": "warmup_stable_decay",
        "--bf16": "perhaps",
        "--deepspeed": "none.json",
        "--per_device_train_batch_size": "3",  # the JSON says otherwise
        "--learning_rate": "fast",
    }
    changed = []
    for name, value in spoilt.items():
        words = list(good_words)
        words[words.index(name) + 1] = value
        changed.append(words)
    changed += [[*good_words, "--eval_strategy", "no"], [*good_words, "--use_liger_kernel", "True"]]
    said = verdicts([one] * len(changed), changed, checkout)
    assert [words for words, verdict in zip(changed, said, strict=True) if verdict["accepted"]] == []


def test_its_own_functions_do_what_is_counted(checkout: Path) -> None:
    """Adapters on the router and the experts; what patch attention keeps; sizes that it cannot reshape."""
    done = environment(WHERE).run(["python", DRIVERS / "mgm_code.py", checkout])
    found = json.loads(done.stdout.splitlines()[-1])
    attention = ["k_proj", "o_proj", "q_proj", "v_proj"]
    assert found["linears"] == {
        "llama": sorted([*attention, "gate_proj", "up_proj", "down_proj"]),
        "mixtral": sorted([*attention, "gate", "w1", "w2", "w3"]),
    }
    for told, kept in found["kept"].items():
        grid, side = map(int, told.split())
        vision = find("YanweiLi/MGM-2B-HD" if grid > 1 else "YanweiLi/MGM-2B").architecture.vision
        assert vision is not None
        projector = 2 * HEAD_WIDTH * vision.tokens(side**2)
        assert kept - projector == pytest.approx(mined(vision, side**2, 1, 2, 2).kept, rel=0.001), told
    assert set(found["refused"].values()) == {True}


RUNS: dict[str, dict[str, Any]] = {
    "first-stage": {"train": {"method": "full", "freeze_parts": ["vision", "language"]}},
    "second-stage": {"train": {"method": "full", "freeze_parts": ["vision"]}, "strategy": {"sharding": "zero3"}},
    "lora": {"train": {"method": "lora", "whole_parts": ["projector"], "lora": {"rank": 4}}},
}


@pytest.mark.parametrize("name", RUNS)
def test_two_real_steps(name: str, checkout: Path, tmp_path: Path) -> None:
    """The compiled folder's own script starts MGM's by DeepSpeed's launcher, on the CPU, with all that is tiny."""
    where, run = environment(WHERE), RUNS[name]
    where.run(["python", DRIVERS / "make_mgm.py", tmp_path])
    towers = {"vision_tower": "openai-clip", "vision_tower_aux": "openclip-convnext-large-d-320"}
    extra = {key: str(tmp_path / folder) for key, folder in towers.items()}
    rows = [{"path": "rows.json", "format": "sharegpt"}]
    spec: dict[str, Any] = {
        "model": {"id": "./tiny", "config": "mgm.json"},
        "hardware": {"gpu": "RTX 3090", "host_memory": "64GiB", "cpu_cores": 2},
        "data": {"train": rows, "max_length": 640, "image": {"max_pixels": 96**2}, "workers": 0},
        "strategy": {"micro_batch": 1, "sharding": "zero2", "attention": "eager", "offload": "none"},
        "run": {"save_every": 2, "log_every": 1},
        "targets": {"mgm": {"template": "plain", "extra": extra}},
    }
    spec["train"] = {**run["train"], "batch_size": 2, "max_steps": 2}
    spec["strategy"] = {**spec["strategy"], "gradient_checkpointing": True, **run.get("strategy", {})}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    [one], _ = compile_all([("run", tmp_path / "run.yaml")], "mgm", tmp_path)
    on_cpu = os.pathsep.join(str(DRIVERS / folder) for folder in ("mgm_on_cpu", "in_order"))
    given = {"PYTHONPATH": on_cpu, "MGM": str(checkout), "MASTER_PORT": str(_free_port())}
    done = where.run(["bash", "train.sh"], env=given, cwd=one.folder, timeout=1200)
    losses = [float(loss) for loss in re.findall(r"'loss': '?([0-9.e+-]+|nan)", done.stdout + done.stderr)]
    assert len(losses) == 2
    assert all(math.isfinite(loss) for loss in losses)
    saved = {path.name for path in (one.folder / "output").iterdir()}
    assert "checkpoint-2" in saved
    assert ("mm_projector.bin" in saved) == (name == "first-stage")
    assert ({"adapter_config.json", "non_lora_trainables.bin"} <= saved) == (name == "lora")


def _free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
