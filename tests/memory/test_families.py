"""Families unlike Llama against peaks that `benchmarks.count.families` traced: autocast, nothing checkpointed."""

from __future__ import annotations

import pytest
from mfc.catalog import hf_config, models
from mfc.catalog.architecture import Mlp
from mfc.memory import Run, Stack, prepare
from mfc.strategy import Lora, Strategy

# Two sequences of 2048 tokens; peak bytes, cuBLAS workspaces included, by transformers 5.23.0 and torch 2.13.0.
TRACED: list[tuple[str, Lora | None, int]] = [
    ("microsoft/phi-1_5", None, 28421972480),  # GELU written out, fp32 LayerNorm output, partial rotary
    ("microsoft/phi-1_5", Lora(8, 16), 22806845440),
    ("bigcode/starcoder2-3b", None, 34422713856),  # LayerNorm returns fp32: each linear keeps a 16-bit copy
    ("stabilityai/stablelm-3b-4e1t", None, 35988805632),  # the same with a gated MLP and partial rotary
    ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", Lora(8, 16, variant="dora"), 34340256768),  # both results in 16 bit
]


@pytest.mark.parametrize(("model", "lora", "peak"), TRACED)
def test_peak_is_that_of_the_real_code(model: str, lora: Lora | None, peak: int) -> None:
    config = next(row["config"] for row in models.rows() if row["id"] == model)
    strategy = Strategy(
        task="sft",
        method="lora" if lora else "full",
        precision="bf16",
        sharding="ddp",
        world_size=1,
        max_length=2048,
        micro_batch=2,
        gradient_accumulation=1,
        gradient_checkpointing=False,
        attention="sdpa",
        loss="plain",
        optimizer="adamw",
        packing=True,
        lora=lora,
    )
    run = Run(hf_config.read(config).architecture, strategy, None, 1, Stack())
    assert prepare(run).allocated(2) == pytest.approx(peak, rel=0.002)


def test_gelu_written_out_is_read_from_the_config() -> None:
    phi = {"model_type": "phi", "hidden_size": 64, "intermediate_size": 256, "vocab_size": 100}
    phi |= {"num_hidden_layers": 1, "num_attention_heads": 4}
    for more, written in (({}, True), ({"hidden_act": "gelu_pytorch_tanh"}, False)):
        ffn = hf_config.read(phi | more).architecture.blocks[0][1].ffn
        assert isinstance(ffn, Mlp)
        assert ffn.written_gelu is written
