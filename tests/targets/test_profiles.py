"""What the targets' profiles say of memory, where it differs from a plain trainer."""

from mfc import api

LOGITS = 2 * 4096 * 152064  # two sequences of 4096 tokens, Qwen2.5's vocabulary


def logits_bytes(task: str, target: str | None) -> int:
    spec = {
        "model": "Qwen/Qwen2.5-7B-Instruct",
        "hardware": "A100 SXM 80GB",
        "data": {"path": "a.jsonl", "format": "preference", "max_length": 4096},
        "train": {"task": task, "batch_size": 8},
        "strategy": {"micro_batch": 1, "attention": "sdpa", "gradient_checkpointing": True, "loss": "plain"},
    }
    return api.plan(spec, target).memory.components.get("logits", 0)


def test_a_reward_model_with_a_value_head_makes_whole_logits() -> None:
    """bf16 logits and their fp32 copy at the end of the forward pass, and nothing behind them."""
    assert logits_bytes("reward", None) == 0
    assert logits_bytes("reward", "llamafactory") == 6 * LOGITS
    assert logits_bytes("dpo", "llamafactory") >= 10 * LOGITS
