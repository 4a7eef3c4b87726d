"""minimind: the command line of one of its own trainers, plain PyTorch with data parallelism and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mfc.beside import is_local
from mfc.memory.stack import Moments, Preferences, Stack
from mfc.profile import Profile
from mfc.target.outputs import File, Lowered, Start, native

from . import facts
from .keys import ELSEWHERE, KEYS
from .rules import RULES

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

__all__ = ["ELSEWHERE", "KEYS", "NAME", "RULES", "TITLE", "UNMODELLED", "VERSIONS", "lower", "profile"]

NAME = "minimind"
TITLE = "minimind"
VERSIONS = facts.VERSIONS
UNMODELLED = frozenset({"use_compile", "rollout_engine"})

# train_distillation.py: 16-bit logits and a copy of what is scored, kept by the loop; the teacher's in fp32, a copy,
# and those of the step before; then both of the labelled tokens, at most all, in softmax and kl_div, in fp32 terms.
_TAUGHT = Moments(26, reference=16, forward=8, made=34)
# Bytes of one loss, read in the loops: DPO's reference scores before the policy runs and its 16-bit logits stay, GRPO's
# runs afterwards and without autocast, PPO's before any step. log_softmax casts to fp32 first, and copies a slice.
_LOSSES = Preferences(
    dpo=(Moments(16, forward=12), Moments(16, forward=12)),
    grpo=(Moments(14, reference=18, forward=10), Moments(14, reference=18, forward=10)),
    ppo=(Moments(14, forward=10), Moments(14, forward=10)),
    distill=(_TAUGHT, _TAUGHT),
)
_SCORES = 12.0  # fp32 logits of the reference, a copy of the slice, and what log_softmax makes of it


def stack(version: str) -> Stack:
    """How the loops use memory (model/model_minimind.py, trainer/train_full_sft.py).

    Weights are fp32 under autocast, nothing is recomputed, `repeat_kv` makes all heads, batches have no mask, the loop
    holds the logits through backward, and torch's AdamW steps foreach.
    """
    return Stack(
        name=f"{NAME} {version}",
        trainable_fp32=True,
        frozen_fp32=True,
        optimizer_foreach=True,
        keeps_outputs=True,
        preferences=_LOSSES,
        answer_logits="never",
        reference_as_policy=True,
        critic_fp32=True,
        scores_at_once=_SCORES,
        eager_tasks=("ppo",),  # prompts of several lengths bring a mask (Attention.forward: torch.all(mask == 1))
        fused_experts=False,
        fused_blocks="never",
        stream_in_place=True,
        norms_round_last=version == facts.NEW,
        expands_kv=True,
        padding_mask=False,
        expandable_segments=True,
        known=True,  # a step of its own loop, traced, lies within 1 %; what is said to fill 24 GB takes 21 GiB
    )


def profile(version: str, packages: Mapping[str, str | None]) -> Profile:
    """What the scripts of one code state can say."""
    new = version == facts.NEW
    return Profile(
        target=NAME,
        version=version,
        stack=stack(version),
        supports={
            "task": ("sft", "pretrain", "dpo", "grpo", "ppo", "distill") if new else ("sft", "pretrain", "dpo"),
            "method": ("full", "lora"),
            "precision": ("bf16", "fp16") if new else ("fp16",),
            "schedule": ("cosine",),
            "preference_loss": ("sigmoid",),
            "loss_type": ("grpo", "cispo"),
            **({"grpo_rollout": ("native",), "ppo_rollout": ("native",), "critic": ("policy",)} if new else {}),
            "existing": ("fail", "resume", "overwrite") if new else ("fail", "overwrite"),
            "report_to": ("none", "swanlab") if new else ("none", "wandb"),
        },
        packages=packages,
        notes={
            "task": "train_agent.py's tools and turns are nothing that a spec can say"
            if new
            else "minimind2 generates no answers, and its train_distillation.py fails at softmax(hidden_size=-1)",
            "method": "its weights are never quantised",
            "precision": "weights are fp32 under autocast"
            + ("" if new else ", to which minimind2 gives no dtype: float16 whatever --dtype says"),
            "sharding": "it has plain data parallelism alone",
            "gradient_checkpointing": "nothing is recomputed: micro-batch and length are all there is",
            "packing": "every sample is padded to max_length",
            "schedule": "a cosine to a tenth of the learning rate",
        },
        fresh=("pretrain",),
        always=facts.always(version if version in VERSIONS else VERSIONS[0]),
    )


def lower(plan: Plan, extra: Mapping[str, Any], out_to_spec: str) -> Lowered:
    """One script, which starts the trainer from inside its checkout."""
    made = native(KEYS, plan, out_to_spec, extra)
    version, script = plan.profile.version, facts.script(plan.strategy)
    cites = {
        "script": ("task", "method"),
        "existing": ("existing",),
        "PYTORCH_CUDA_ALLOC_CONF": ("allocator",),
        "CUDA_VISIBLE_DEVICES": ("hardware.devices",),
    }
    suffix = facts.suffix(plan.problem.model.architecture)
    names = (f"{script}.py", f"{facts.writes(script, version)}{suffix}.pth", f"{facts.reads(script)}{suffix}.pth")
    paths = [name for name in ("data_path", "reward_model_path") if name in made.data]
    paths = [name for name in paths if name == "data_path" or is_local(made.data[name])]
    launch = File(
        "train.sh",
        made.data,
        "train.sh.j2",
        contract=f"{NAME}-{script}-{version}",
        said=made,
        cites=cites,
        sections={
            "names": names,
            "devices": (",".join(map(str, plan.problem.hardware.devices)),),
            "paths": tuple(paths),
            "beside": ("weights",) if facts.looks_beside(script, version) else (),
        },
        executable=True,
    )
    return Lowered((launch,), Start("train.sh"))
