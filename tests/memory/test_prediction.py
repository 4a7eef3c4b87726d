"""What holds for every prediction, whatever the numbers are."""

from __future__ import annotations

from typing import Any

import pytest
from mfc.catalog import gpus, hf_config
from mfc.memory import Run, Stack, predict, prepare
from mfc.strategy import Lora, Quantization, Strategy

LLAMA = hf_config.read(
    {
        "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "tie_word_embeddings": False,
    }
).architecture  # fmt: skip
BASE = Strategy(
    task="sft",
    method="full",
    precision="bf16",
    sharding="ddp",
    world_size=1,
    max_length=2048,
    micro_batch=1,
    gradient_accumulation=1,
    gradient_checkpointing=True,
    attention="flash",
    loss="plain",
    optimizer="adamw",
    packing=True,
)
LORA: dict[str, Any] = {"method": "lora", "lora": Lora(16, 32.0)}
QLORA: dict[str, Any] = {"method": "qlora", "lora": Lora(16, 32.0), "quantization": Quantization(4)}
A100 = gpus.find("A100 80GB SXM")
CASES: dict[str, dict[str, Any]] = {
    "full": {},
    "pure bf16": {"precision": "pure_bf16"},
    "fp32": {"precision": "fp32"},
    "no checkpointing": {"gradient_checkpointing": False},
    "eager": {"attention": "eager"},
    "fused loss": {"loss": "fused"},
    "varying length": {"packing": False, "attention": "sdpa"},
    "dpo": {"task": "dpo", "reference_model": True},
    "reward": {"task": "reward"},
    "freeze": {"method": "freeze", "trainable_layers": 2},
    "accumulation": {"gradient_accumulation": 8},
    "8-bit optimizer": {"optimizer": "adamw_8bit"},
    "paged optimizer": {"optimizer": "paged_adamw_8bit"},
    "lora": LORA,
    "dora": {"method": "lora", "lora": Lora(16, 32.0, variant="dora")},
    "qlora": QLORA,
    "ddp": LORA | {"world_size": 8},
    "zero1": {"sharding": "zero1", "world_size": 8},
    "zero2": {"sharding": "zero2", "world_size": 8},
    "zero2 offload": {"sharding": "zero2", "world_size": 8, "offload_optimizer": "cpu"},
    "zero3": {"sharding": "zero3", "world_size": 8},
    "zero3 offload": {"sharding": "zero3", "world_size": 8, "offload_optimizer": "cpu", "offload_parameters": "cpu"},
    "fsdp2": {"sharding": "fsdp2", "world_size": 8},
    "fsdp2 qlora": QLORA | {"sharding": "fsdp2", "world_size": 8},
    "sequence parallel": {"sharding": "zero3", "world_size": 8, "sequence_parallel": 4, "max_length": 32768},
}


def run(case: str, micro_batch: int = 1, **changes: Any) -> Run:
    strategy = BASE._replace(**CASES[case], micro_batch=micro_batch, **changes)
    return Run(LLAMA, strategy, A100, min(8, strategy.world_size), Stack())


@pytest.mark.parametrize("case", CASES)
def test_components_sum_to_the_process(case: str) -> None:
    memory = predict(run(case))
    assert sum(memory.components.values()) == memory.process_bytes
    assert memory.allocated_bytes < memory.process_bytes <= memory.held_bytes
    assert memory.allocated_bytes < memory.upper_bytes <= memory.held_bytes
    assert memory.moment in memory.moments
    assert max(memory.moments.values()) == pytest.approx(memory.process_bytes, abs=16)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("micro_batch", [1, 3, 16])
def test_predict_and_prepare_are_one(case: str, micro_batch: int) -> None:
    memory, prepared = predict(run(case, micro_batch)), prepare(run(case))
    assert prepared.allocated(micro_batch) == pytest.approx(memory.allocated_bytes, abs=2)
    whole = prepare(run(case), every=True)
    for name, size in (("process", memory.process_bytes), ("upper", memory.upper_bytes), ("held", memory.held_bytes)):
        figure = getattr(prepared, name)(micro_batch)
        assert figure == pytest.approx(size, abs=32)
        assert getattr(whole, name)(micro_batch) == figure  # no peak was passed over


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("share", [0.5, 0.9, 0.95, 1.0])
def test_largest_micro_batch_is_the_largest(case: str, share: float) -> None:
    prepared = prepare(run(case))
    budget = share * A100.memory_bytes
    largest = prepared.largest_micro_batch(budget)
    if largest:
        assert prepared.upper(largest) <= budget * (1 + 1e-9)
    assert prepared.upper(largest + 1) > budget


MORE = [
    ("full", "no checkpointing"),
    ("lora", "full"),
    ("qlora", "lora"),
    ("zero3", "zero2"),
    ("zero2", "zero1"),
    ("zero2 offload", "zero2"),
    ("zero3 offload", "zero3"),
    ("8-bit optimizer", "full"),
    ("fused loss", "full"),
]


@pytest.mark.parametrize(("less", "more"), MORE)
def test_levers_save_memory(less: str, more: str) -> None:
    assert predict(run(less, 4)).allocated_bytes <= predict(run(more, 4)).allocated_bytes


def test_the_mask_of_packed_rows_is_one_for_all_layers() -> None:
    flash, sdpa = (
        prepare(run("full", attention=kernel, max_length=131072)._replace(stack=Stack(packing_mask=True)))
        for kernel in ("flash", "sdpa")
    )
    assert sdpa.allocated(1) - flash.allocated(1) == 32 * 2**30  # 2 bytes x 131072^2, as the loss runs backward


def test_offload_moves_states_to_the_host() -> None:
    """Stage 2 keeps 18 bytes per trained parameter and GPU share on the host, before pinned rounding."""
    plain, offloaded = predict(run("zero2")), predict(run("zero2 offload"))
    assert offloaded.host_bytes_per_node - plain.host_bytes_per_node >= 18 * 8_030_261_248


def test_free_blocks_never_count_beyond_the_card() -> None:
    """What changing lengths leave behind is given back before memory runs out; what tensors need is not."""
    roomy = predict(run("varying length", 8)._replace(gpu=None))
    card = predict(run("varying length", 8))
    assert card.process_bytes < roomy.process_bytes
    assert card.allocated_bytes == roomy.allocated_bytes


@pytest.mark.parametrize("optimizer", ["muon"])
def test_what_is_not_modelled_is_said(optimizer: str) -> None:
    memory = predict(run("full", optimizer=optimizer))
    assert memory.confidence == "unmodelled"
    assert optimizer in " ".join(memory.reasons)


@pytest.mark.parametrize("sharding", ["ddp", "fsdp2"])
def test_loading_counts_scales_once(sharding: Any) -> None:
    def load(double: bool) -> int:
        quantization = Quantization(4, double=double)
        strategy = BASE._replace(**QLORA | {"sharding": sharding, "world_size": 8, "quantization": quantization})
        return predict(Run(LLAMA, strategy, A100, 8, Stack())).load_gpu_bytes

    quantised = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    assert load(False) - load(True) == pytest.approx(quantised * (4 / 64 - 1 / 64 - 4 / (64 * 256)), abs=1)


@pytest.mark.parametrize("micro_batch", [1, 4])
def test_offloaded_inputs_wait_on_the_host(micro_batch: int) -> None:
    """All but one of the layers' inputs leave the card, and are counted where they go."""
    plain = run("lora", micro_batch)
    offloading = plain._replace(strategy=plain.strategy._replace(offload_activations="cpu"))
    here, there = predict(plain), predict(offloading)
    inputs = 2 * plain.architecture.layers * plain.architecture.hidden * plain.strategy.max_length * micro_batch
    assert there.host_bytes_per_node - here.host_bytes_per_node == inputs * plain.gpus_per_node
    assert 0.8 * inputs < here.allocated_bytes - there.allocated_bytes <= inputs


def _kept(stack: Stack, **changes: Any) -> float:
    strategy = BASE._replace(**QLORA | {"gradient_checkpointing": False} | changes)
    return prepare(Run(LLAMA, strategy, A100, 1, stack)).static.step.course.phases[1].activations


def test_quantised_linears_return_what_they_read() -> None:
    """Beside norms in fp32 gate, up and activation are fp32 too: 2 bytes more a number."""
    narrow, wide = _kept(Stack(kbit_fp32=False)), _kept(Stack(kbit_fp32=True))
    assert wide - narrow >= 32 * 2048 * 3 * 2 * 14336


@pytest.mark.parametrize(
    ("changes", "saved"),
    [({}, 2 * 2 * 128256 * 4096), ({"precision": "fp16"}, 0), ({"sharding": "fsdp2", "world_size": 2}, 0)],
    ids=["bf16", "fp16", "sharded"],
)
def test_embedding_and_head_cast_back_beside_four_bit_weights(changes: dict[str, Any], saved: int) -> None:
    plain, narrow = (
        prepare(Run(LLAMA, BASE._replace(**QLORA | changes), A100, 2, Stack(kbit_narrows=narrows)))
        for narrows in (False, True)
    )
    adapters = plain.static.states.trained
    assert plain.static.states.base - narrow.static.states.base == saved
    assert plain.static.states.weight - narrow.static.states.weight == (2 if saved else 0)
    assert narrow.static.states.trained == adapters
