"""GRPO and PPO planned whole: the seeds among the examples, and what each choice costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mfc
import pytest
from mfc.errors import CannotExpress, SpecError
from mfc.memory import prepare
from mfc.memory.costs import between
from mfc.memory.engine import engine
from mfc.memory.overhead import workspace_bytes
from mfc.planner.costing import run_of
from mfc.planner.plan import Plan

EXAMPLES = Path(__file__).parents[2] / "examples"
GIB = 2**30


def grpo(rollout: dict[str, Any] | None = None, **changes: Any) -> Plan:
    train = {"task": "grpo", "rollout": {"rewards": ["accuracy"], **(rollout or {})}, **changes.pop("train", {})}
    spec = {
        "model": "Qwen/Qwen2.5-7B-Instruct",
        "hardware": {"gpu": "A100 SXM 80GB", "count": 4, "host_memory": "512GiB"},
        "train": train,
        **changes,
    }
    return mfc.plan(spec, "ms-swift")


def test_few_cards_colocate() -> None:
    plan = mfc.plan(EXAMPLES / "qwen2-7b-grpo-4x3090.yaml", "ms-swift")
    assert plan.fits
    assert plan.values["rollout_mode"] == "colocate"
    assert plan.values["batch_size"] == 64
    assert plan.strategy.max_length == 512 + 1024
    share = plan.values["rollout_share"]
    assert share.utilization < 0.9
    assert share.peak_bytes == plan.memory.upper_bytes <= plan.budget_bytes
    because = plan.decisions["rollout_mode"].because
    assert "colocate on 4 GPUs: " in because
    assert "server on 2 of 4 GPUs: " in because
    assert "server on 1 of 4 GPUs cannot be: " in because  # 64 answers do not divide over three cards
    server = next(one for one in plan.alternatives if one.changes.get("rollout_gpus") == 2)
    assert server.seconds_per_step > plan.speed.seconds_per_step


def test_a_server_as_the_article_pins_it() -> None:
    plan = mfc.plan(EXAMPLES / "qwen2-7b-grpo-3xa10.yaml", "ms-swift")
    assert plan.fits
    strategy = plan.strategy
    assert (plan.values["rollout_mode"], plan.values["rollout_gpus"]) == ("server", 1)
    assert plan.values["rollout_share"].utilization == 0.9
    assert (strategy.sharding, strategy.micro_batch, strategy.gradient_accumulation) == ("zero3", 7, 8)
    assert strategy.world_size == 2
    assert strategy.lora is not None
    assert strategy.lora.rank == 16


def test_colocated_the_article_cannot_be() -> None:
    sets = ("train.rollout.mode=colocate", "train.rollout.gpus=auto", "train.batch_size=168")
    plan = mfc.plan(EXAMPLES / "qwen2-7b-grpo-3xa10.yaml", "ms-swift", sets)
    assert not plan.fits
    assert plan.limited_by == "rollout"
    share = plan.values["rollout_share"]
    assert share.generating_bytes > plan.budget_bytes
    assert "0.9 of 21.97 GiB = 19.78 GiB" in plan.decisions["rollout_share"].because
    edits = [dict(one.set) for one in plan.relaxations]
    assert {"train.rollout.gpu_memory_utilization": "auto"} in edits
    assert {"train.rollout.mode": "auto"} in edits


def test_left_free_three_cards_colocate() -> None:
    free = ("train.rollout.gpus", "train.rollout.gpu_memory_utilization", "strategy.sharding", "strategy.micro_batch")
    sets = [*(f"{path}=auto" for path in free), "train.batch_size=126"]
    plan = mfc.plan(EXAMPLES / "qwen2-7b-grpo-3xa10.yaml", "ms-swift", sets)
    assert plan.fits
    assert plan.values["rollout_mode"] == "colocate"
    assert plan.values["rollout_share"].sleep_level > 0


def test_sleeping_weights_wait_on_the_host_or_are_dropped() -> None:
    known = grpo({"sleep": True, "mode": "colocate"}, hardware={"gpu": "L40S", "count": 4, "host_memory": "512GiB"})
    share = known.values["rollout_share"]
    assert share.sleep_level == 1
    assert share.host_bytes >= 4 * 2 * known.problem.model.total_parameters / share.tensor_parallel
    unknown = grpo({"sleep": True, "mode": "colocate"}, hardware={"gpu": "L40S", "count": 4})
    assert unknown.values["rollout_share"].sleep_level == 2
    assert unknown.values["rollout_share"].host_bytes == 0


def test_side_by_side_training_and_share_add_up() -> None:
    plan = grpo({"sleep": False, "mode": "colocate"})
    share = plan.values["rollout_share"]
    assert share.sleep_level == 0
    taken = share.utilization * plan.problem.hardware.gpu.usable_bytes
    assert plan.memory.components["vLLM"] == pytest.approx(taken + GIB / 2, rel=1e-3)
    assert sum(plan.memory.components.values()) == plan.memory.process_bytes
    assert plan.memory.upper_bytes == share.stepping_bytes
    assert plan.memory.moments["generation"] == share.generating_bytes


def test_only_answers_have_logits() -> None:
    pins = {"sharding": "ddp", "micro_batch": 4, "gradient_checkpointing": True, "loss": "plain", "attention": "sdpa"}
    logits = []
    for answer in (512, 1024):
        plan = grpo({"max_completion_length": answer}, data={"max_length": 2048}, strategy=pins)
        at = {name: size for name, size in plan.memory.moments.items() if name == "loss backward"}
        logits.append(at["loss backward"])
    step = 4 * 512 * plan.problem.model.architecture.vocab
    assert logits[1] - logits[0] > 8 * step


def test_a_reference_is_held_only_by_full_training_with_a_penalty() -> None:
    small: dict[str, Any] = {"model": "Qwen/Qwen2.5-1.5B-Instruct"}
    assert grpo(train={"method": "full"}, **small).strategy.reference_model
    assert not grpo({"beta": 0}, train={"method": "full"}, **small).strategy.reference_model
    assert not grpo(**small).strategy.reference_model


def test_ppo_holds_four_models() -> None:
    spec = {
        "model": "Qwen/Qwen2.5-0.5B-Instruct",
        "hardware": {"gpu": "A100 SXM 80GB"},
        "train": {"task": "ppo", "method": "full", "rollout": {"rewards": ["org/reward"]}},
        "strategy": {"micro_batch": 1, "sharding": "ddp", "gradient_checkpointing": True},
    }
    plan = mfc.plan(spec, "ms-swift")
    rollout = plan.strategy.rollout
    assert rollout is not None
    assert (len(rollout.scoring), rollout.critic, plan.strategy.reference_model) == (1, 1.0, True)
    alone = mfc.plan({**spec, "train": {"method": "full"}}, "ms-swift")
    more = plan.memory.components["weights"] - alone.memory.components["weights"]
    # Reference and reward model in 16 bit, and the critic's own weights, which train as the policy's do.
    assert more == 2 * 2 * plan.problem.model.total_parameters + alone.memory.components["weights"]
    assert plan.memory.components["optimizer"] == 2 * alone.memory.components["optimizer"]


def test_generation_is_part_of_the_step() -> None:
    plan = grpo()
    assert plan.speed.parts["decode"] > 0
    assert plan.speed.seconds_per_step > plan.speed.parts["decode"]


@pytest.mark.parametrize(
    ("rollout", "hardware", "said"),
    [
        ({"mode": "server"}, {"gpu": "A100 SXM 80GB"}, "cannot be split so"),
        ({"gpus": 3}, {"gpu": "A100 SXM 80GB", "count": 4, "nodes": 2, "interconnect": {"inter": "200Gbps"}}, "whole"),
        ({"max_prompt_length": 2048, "max_completion_length": 1}, {"gpu": "A100 SXM 80GB"}, ""),
    ],
)
def test_splits_that_cannot_be(rollout: dict[str, Any], hardware: dict[str, Any], said: str) -> None:
    if not said:
        assert grpo(rollout, hardware=hardware).strategy.max_length == 2049
        return
    with pytest.raises(SpecError) as error:
        grpo(rollout, hardware=hardware)
    assert said in str(error.value)


def test_a_target_that_cannot_generate_so_says_so() -> None:
    with pytest.raises(CannotExpress) as error:
        grpo({"engine": "vllm"}, train={"task": "ppo", "rollout": {"rewards": ["org/r"], "engine": "vllm"}})
    assert "has no colocate or server rollouts for task ppo; it knows native" in str(error.value)


BIG: dict[str, Any] = {
    "model": "Qwen/Qwen2.5-7B-Instruct",
    "hardware": {"gpu": "A100 SXM 80GB", "count": 8, "host_memory": "1TiB"},
    "data": {"max_length": 2048},
}


def pinned(sharding: str, method: str = "full", version: str = "4.6.0", **rollout: Any) -> Plan:
    spec = {
        **BIG,
        "train": {"task": "grpo", "method": method, "batch_size": 64, "rollout": {"rewards": ["accuracy"], **rollout}},
        "strategy": {"sharding": sharding, "optimizer": "adamw", "micro_batch": 1, "offload": "none"},
        "targets": {"ms-swift": {"version": version}},
    }
    return mfc.plan(spec, "ms-swift")


def gathered(plan: Plan) -> float:
    return float(plan.values["rollout_share"].gathered_bytes)


def test_weights_are_gathered_a_layer_at_a_time() -> None:
    total = 2 * grpo().problem.model.total_parameters
    for sharding, method in [("zero3", "full"), ("fsdp2", "full"), ("zero3", "lora"), ("fsdp2", "lora")]:
        assert 0 < gathered(pinned(sharding, method, mode="colocate")) < 0.5 * total
    assert gathered(pinned("zero2", mode="colocate")) == 0
    # FSDP2's shards of what trains are fp32
    wide, narrow = (gathered(pinned(sharding, mode="colocate")) for sharding in ("fsdp2", "zero3"))
    assert wide == pytest.approx(2 * narrow)


@pytest.mark.parametrize(
    ("version", "whole"), [("3.11.3", False), ("3.12.0", True), ("3.12.5", True), ("3.12.6", False), ("4.0.0", False)]
)
def test_some_versions_gather_everything_at_once(version: str, whole: bool) -> None:
    plan = pinned("zero3", version=version, mode="colocate")
    assert (gathered(plan) > 2 * plan.problem.model.total_parameters) == whole


def test_weights_are_handed_over_beside_all_of_training() -> None:
    plan = pinned("zero2", mode="colocate", sleep=True)
    share, kept = plan.values["rollout_share"], plan.values["rollout_share"].kept_bytes
    weights = 2 * plan.problem.model.total_parameters / share.tensor_parallel
    assert not share.offload
    assert share.handing_bytes == pytest.approx(kept + weights + GIB / 2, abs=2)
    assert plan.memory.moments["hand-over"] == share.handing_bytes
    assert plan.memory.upper_bytes == share.peak_bytes


def test_a_server_is_sent_copies() -> None:
    plan = pinned("zero2", mode="server", gpus=4)
    assert gathered(plan) == 512 * 2**20
    assert plan.memory.moments["hand-over"] == plan.values["rollout_share"].handing_bytes


@pytest.mark.parametrize(
    ("sharding", "kept", "twice"),
    [("zero2", 2 + 4 / 8, 2), ("zero3", (2 + 4 + 2) / 8, 2 / 8), ("fsdp2", 0, 0), ("ddp", 0, 0)],
)
def test_what_parking_leaves_on_the_card(sharding: str, kept: float, twice: float) -> None:
    """Flat groups and masters of DeepSpeed's stay, and ZeRO-3's shard of gradients; bytes per trained number."""
    model = {"model": "Qwen/Qwen2.5-1.5B-Instruct"}
    spec = {**BIG, **model, "strategy": {"sharding": sharding, "optimizer": "adamw", "micro_batch": 1}}
    plan = mfc.plan({**spec, "train": {"method": "full", "batch_size": 64}}, "ms-swift")
    prepared = prepare(run_of(plan.strategy, plan.problem, plan.profile))
    held, numbers = between(prepared), plan.problem.model.total_parameters
    always = prepared.outside + prepared.placement.buffers + workspace_bytes(plan.problem.hardware.gpu)
    assert held.parked / prepared.factor - always == pytest.approx(kept * numbers, rel=1e-6, abs=1)
    assert held.twice / prepared.factor == pytest.approx(twice * numbers)
    assert held.idle > held.parked


def test_a_reward_model_counts_at_its_own_size() -> None:
    spec = {
        "model": "Qwen/Qwen2.5-0.5B-Instruct",
        "hardware": "1x RTX 3060",
        "train": {"task": "grpo", "batch_size": 8, "rollout": {"engine": "native", "rewards": ["accuracy"]}},
        "data": {"max_length": 768},
    }
    assert mfc.plan(spec, "ms-swift").fits
    judged = mfc.plan(spec, "ms-swift", ["train.rollout.rewards=[Qwen/Qwen2.5-32B-Instruct]"])
    assert not judged.fits
    assert judged.memory.process_bytes > 60 * GIB
    unknown = mfc.plan(spec, "ms-swift", ["train.rollout.rewards=[./judge]"])
    assert any(warning.id == "rollout/sizes-of-rewards-are-assumed" for warning in unknown.warnings)


def test_quantised_weights_are_served_as_they_are() -> None:
    plan = grpo(
        {"mode": "colocate"}, train={"method": "qlora", "rollout": {"mode": "colocate", "rewards": ["accuracy"]}}
    )
    assert plan.fits
    share = plan.values["rollout_share"]
    assert share.sleep_level != 2
    made = engine(plan.problem.model.architecture, 2048, 1, 1, plan.strategy.quantization)
    assert made.weights < 0.6 * 2 * plan.problem.model.total_parameters
    with pytest.raises(SpecError, match=r"before ms-swift 4\.1"):
        mfc.plan(
            {
                **BIG,
                "train": {"task": "grpo", "method": "qlora", "rollout": {"mode": "colocate", "rewards": ["accuracy"]}},
                "targets": {"ms-swift": {"version": "4.0.4"}},
            },
            "ms-swift",
        )


def test_an_engine_may_cross_nodes_where_the_spec_says_so() -> None:
    hardware = {"gpu": "H100 SXM", "count": 4, "nodes": 2, "interconnect": {"inter": "400Gbps"}}
    plan = grpo({"mode": "colocate", "tensor_parallel": 8}, hardware=hardware, model="Qwen/Qwen2.5-32B-Instruct")
    assert plan.values["rollout_share"].tensor_parallel == 8
    assert any(warning.id == "sharing/engines-cross-nodes" for warning in plan.warnings)


@pytest.mark.parametrize("mode", ["colocate", "server"])
def test_alternatives_are_told_with_their_rollouts(mode: str) -> None:
    """Whatever else is chosen, answers are generated and the engine keeps what it keeps."""
    made = grpo({"mode": mode})
    share = made.values["rollout_share"]
    others = [one for one in made.alternatives if "rollout_mode" not in one.changes]
    assert others
    assert made.speed.parts["decode"] > 0
    for one in others:
        assert one.seconds_per_step > made.speed.parts["decode"]
        assert one.upper_bytes >= (share.generating_bytes if mode == "colocate" else 0)
