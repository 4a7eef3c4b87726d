"""DeepSpeed's offload against what its own engine holds on fake tensors (counted by benchmarks.count.offload)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mfc.catalog import hf_config
from mfc.memory import Run, Stack, overhead
from mfc.memory.prepared import Prepared, prepare
from mfc.strategy import Strategy

COUNTED = json.loads((Path(__file__).parent / "data" / "offload.json").read_text(encoding="utf-8"))
ROWS = COUNTED["rows"]
GIB = 1 << 30


def name_of(row: dict[str, Any]) -> str:
    offloaded = "+".join(part for part in ("optimizer", "parameters") if row[part]) or "nothing"
    return f"{row['shape']} stage {row['stage']} on {row['ranks']}, {offloaded}, accumulation {row['accumulation']}"


def run_of(row: dict[str, Any]) -> Run:
    shape = COUNTED["shapes"][row["shape"]]
    config = {
        "model_type": "llama",
        "hidden_size": shape["hidden"],
        "intermediate_size": shape["width"],
        "num_hidden_layers": row["layers"],
        "vocab_size": shape["vocab"],
        "num_attention_heads": shape["hidden"] // 128,
        "num_key_value_heads": shape["kv"] // 128,
        "tie_word_embeddings": False,
    }
    strategy = Strategy(
        task="sft",
        method="full",
        precision="bf16",
        sharding=f"zero{row['stage']}",  # type: ignore[arg-type]
        world_size=row["ranks"],
        max_length=COUNTED["tokens"],
        micro_batch=1,
        gradient_accumulation=row["accumulation"],
        gradient_checkpointing=True,
        attention="flash",
        loss="plain",
        optimizer="adamw",
        packing=True,
        offload_optimizer="cpu" if row["optimizer"] else "none",
        offload_parameters="cpu" if row["parameters"] else "none",
    )
    return Run(hf_config.read(config).architecture, strategy, None, row["ranks"], Stack())


def prepared_of(row: dict[str, Any]) -> Prepared:
    return prepare(run_of(row), every=True)


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_tensors_on_the_card(row: dict[str, Any]) -> None:
    """Not less than counted, and at most half a GiB and a fifth more: live weights count up to their limit."""
    predicted = prepared_of(row).allocated(1) - overhead.workspace_bytes(None)
    counted = max(row["card"].values())
    assert 0.98 * counted <= predicted <= 1.2 * counted + 0.5 * GIB


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_host(row: dict[str, Any]) -> None:
    counted = row["host"]
    assert prepared_of(row).placement.host == pytest.approx(counted, rel=0.05, abs=0.1 * GIB)


@pytest.mark.parametrize("row", [row for row in ROWS if row["stage"] == 3], ids=name_of)
def test_blocks_on_the_card(row: dict[str, Any]) -> None:
    """Between a GPU that keeps pace with the host and one that lags by two layers' passes."""
    made = prepared_of(row)
    predicted = max(made.reserved(1))
    least, most = row["reserved"]["0"], row["reserved"]["300"]
    assert 0.9 * least <= predicted <= 1.25 * most + GIB
