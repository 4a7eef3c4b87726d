"""The speed model moves the right way with every knob, and its parts are what the formulas say."""

from __future__ import annotations

from typing import Any

import pytest
from mfc.catalog import gpus
from mfc.catalog.architecture import Architecture, Attention, Block, Mlp, Moe
from mfc.catalog.gpu import Link
from mfc.catalog.parameters import count
from mfc.memory import Stack
from mfc.speed import Machines, Speed, constants
from mfc.speed.roofline import prepare
from mfc.speed.work import adapter_work, work
from mfc.strategy import Lora, Quantization, Strategy

ATTENTION = Attention("gqa", 32, 8, 128, 128)
LLAMA = Architecture("llama", 4096, 128256, ((32, Block(ATTENTION, Mlp(14336))),), tied=False)
MIXTRAL = Architecture("mixtral", 4096, 32000, ((32, Block(ATTENTION, Moe(8, 2, 14336))),), tied=False)
QWEN_MOE = Architecture(
    "qwen3_moe", 2048, 151936, ((48, Block(Attention("gqa", 32, 4, 128, 128), Moe(128, 8, 768))),), tied=False
)
FULL = Strategy("sft", "full", "bf16", "zero2", 4, 4096, 2, 4, True, "flash", "plain", "adamw")
LORA = FULL._replace(method="lora", lora=Lora(16, 32))
QLORA = LORA._replace(method="qlora", quantization=Quantization(4))
SINGLE = LORA._replace(sharding="ddp", world_size=1)
SMALL = FULL._replace(micro_batch=1, gradient_accumulation=1, max_length=512)
PCIE = Machines(gpus.find("RTX 4090"), 4)
NVLINK = Machines(gpus.find("A100 SXM 80GB"), 4)


def speed(strategy: Strategy, machines: Machines = PCIE, model: Architecture = LLAMA, **knobs: Any) -> Speed:
    return prepare(model, strategy, machines, **knobs).speed()


SLOWER: dict[str, tuple[Strategy, dict[str, Any]]] = {
    "longer sequences": (LORA, {"max_length": 8192}),
    "more sequences": (LORA, {"micro_batch": 4}),
    "more accumulation": (LORA, {"gradient_accumulation": 8}),
    "recomputation": (LORA._replace(gradient_checkpointing=False), {"gradient_checkpointing": True}),
    "all weights trained": (LORA, {"method": "full", "lora": None}),
    "adapters on every linear": (LORA._replace(lora=Lora(16, 32, targets="q_proj,v_proj")), {"lora": Lora(16, 32)}),
    "DoRA": (LORA, {"lora": Lora(16, 32, variant="dora")}),
    "a quantised base": (SINGLE, {"method": "qlora", "quantization": Quantization(4)}),
    "eager attention": (LORA, {"attention": "eager"}),
    "a plain loss": (LORA._replace(loss="fused"), {"loss": "plain"}),
    "fp32": (LORA, {"precision": "fp32"}),
    "a reference model's pass": (LORA, {"task": "kto"}),
    "pairs": (LORA, {"task": "simpo"}),
    "a vocabulary": (LORA._replace(task="reward"), {"task": "dpo"}),
    "zero2 after zero1": (FULL._replace(sharding="zero1"), {"sharding": "zero2"}),
    "zero3 after zero2": (FULL, {"sharding": "zero3"}),
    "optimizer offload": (FULL, {"offload_optimizer": "cpu"}),
    "optimizer on disk": (FULL._replace(offload_optimizer="cpu"), {"offload_optimizer": "nvme"}),
    "parameter offload": (FULL._replace(sharding="zero3"), {"offload_parameters": "cpu"}),
    "a 32-bit optimizer": (FULL._replace(optimizer="adamw_8bit"), {"optimizer": "adamw"}),
    "more trained layers": (FULL._replace(method="freeze", trainable_layers=4), {"trainable_layers": 8}),
}


@pytest.mark.parametrize("what", SLOWER)
def test_takes_longer(what: str) -> None:
    strategy, change = SLOWER[what]
    assert speed(strategy._replace(**change)).seconds_per_step > speed(strategy).seconds_per_step


FASTER: dict[str, tuple[Strategy, dict[str, Any]]] = {
    "NVLink": (FULL._replace(sharding="zero3"), {"intra": Link("nvlink", 300e9)}),
    "a faster chip": (LORA, {"gpu": gpus.find("H100")}),
    "no other node": (FULL._replace(world_size=8), {"gpus_per_node": 8, "nodes": 1, "inter": None}),
}


@pytest.mark.parametrize("what", FASTER)
def test_takes_less_on_better_machines(what: str) -> None:
    strategy, change = FASTER[what]
    nodes = strategy.world_size // 4
    machines = PCIE._replace(nodes=nodes, inter=Link("network", 3e9) if nodes > 1 else None)
    better = machines._replace(**change)
    assert speed(strategy, better).seconds_per_step < speed(strategy, machines).seconds_per_step


STACKS: dict[str, tuple[Strategy, Stack, Stack]] = {
    "the foreach optimizer": (FULL._replace(sharding="ddp"), Stack(), Stack(optimizer_foreach=True)),
    "fp32 activations": (
        QLORA._replace(sharding="ddp", world_size=1),
        Stack(autocast=False, kbit_fp32=False),
        Stack(autocast=False),
    ),
    "unpacking through fp16": (QLORA, Stack(), Stack(kbit_everything=True)),
    "a loss fused on whole logits": (LORA._replace(loss="fused"), Stack(), Stack(fused_loss="logits")),
}


@pytest.mark.parametrize("what", STACKS)
def test_the_stack_tells(what: str) -> None:
    strategy, fast, slow = STACKS[what]
    assert speed(strategy, stack=slow).seconds_per_step > speed(strategy, stack=fast).seconds_per_step


def test_a_loop_over_experts_takes_the_cpu_longer_than_grouped_products() -> None:
    def launch(stack: Stack, machines: Machines = NVLINK) -> float:
        return speed(FULL, machines, QWEN_MOE, stack=stack).parts["launch"]

    grouped, looped = launch(Stack()), launch(Stack(fused_experts=False))
    assert looped > 5 * grouped
    assert launch(Stack(), Machines(gpus.find("T4"), 4)) > 5 * grouped  # grouped products need compute capability 8.0


def test_adapters_on_fused_experts_are_added_to_the_weights_whole() -> None:
    with_experts, without = Stack(), Stack(expert_adapters=False)
    assert speed(LORA, model=QWEN_MOE, stack=with_experts).parts["merge"] > 0
    assert "merge" not in speed(LORA, model=QWEN_MOE, stack=without).parts
    found = adapter_work(QWEN_MOE, Lora(8, 16))
    assert found.merged == 16 * found.merged_active == 48 * 128 * 3 * 2048 * 768


def test_a_padding_mask_rules_out_the_flash_kernel_in_sdpa() -> None:
    def attention(micro_batch: int, mask: bool) -> float:
        strategy = LORA._replace(attention="sdpa", micro_batch=micro_batch)
        return speed(strategy, mean_tokens=1024, stack=Stack(padding_mask=mask)).parts["attention"]

    slower = constants.FLASH / constants.EFFICIENT / constants.CAUSAL
    assert attention(4, mask=True) == pytest.approx(attention(4, mask=False) * slower)
    assert attention(1, mask=True) == attention(1, mask=False)  # one row has no padding


def test_larger_micro_batches_are_worth_it() -> None:
    rates = [speed(LORA._replace(micro_batch=n, gradient_accumulation=8 // n)).tokens_per_second for n in (1, 2, 4, 8)]
    assert rates == sorted(rates)


def test_shorter_rows_take_less_and_padding_is_not_counted_as_tokens() -> None:
    short = speed(LORA, mean_tokens=1024)
    full = speed(LORA)
    assert short.seconds_per_step < full.seconds_per_step
    assert short.tokens_per_second < full.tokens_per_second
    assert speed(LORA._replace(micro_batch=1), mean_tokens=1024).tokens_per_second > short.tokens_per_second


def test_fused_kernels_save_traffic() -> None:
    fused = Stack(fused_blocks="always")
    assert speed(LORA, stack=fused).parts["elementwise"] < speed(LORA).parts["elementwise"]


def test_the_open_form_agrees_with_the_whole_answer() -> None:
    model = prepare(LLAMA, LORA, PCIE)
    assert model.at(LORA.micro_batch, LORA.gradient_accumulation) == model.speed().seconds_per_step
    other = LORA._replace(micro_batch=3, gradient_accumulation=5)
    assert model.at(3, 5) == pytest.approx(speed(other).seconds_per_step)


def test_a_step_lies_between_its_largest_part_and_their_sum() -> None:
    for strategy in (FULL, LORA, QLORA, FULL._replace(sharding="zero3", offload_parameters="cpu")):
        answer = speed(strategy)
        assert max(answer.parts.values()) < answer.seconds_per_step <= sum(answer.parts.values()) * (1 + 1e-9)
        tokens = strategy.micro_batch * strategy.gradient_accumulation * strategy.world_size * strategy.max_length
        assert answer.tokens_per_second == pytest.approx(tokens / answer.seconds_per_step)


@pytest.mark.parametrize(
    ("strategy", "machines", "bound"),
    [
        (LORA._replace(micro_batch=4), NVLINK, "compute"),
        (SMALL._replace(sharding="zero3"), PCIE, "communication"),
        (
            FULL._replace(offload_optimizer="cpu", gradient_accumulation=1, max_length=512, micro_batch=1),
            NVLINK,
            "offload",
        ),
        (SINGLE._replace(micro_batch=1, max_length=128), Machines(gpus.find("H100")), "launch"),
    ],
)
def test_says_what_bounds_it(strategy: Strategy, machines: Machines, bound: str) -> None:
    assert speed(strategy, machines).bound_by == bound


def test_work_counts_what_a_token_meets() -> None:
    attention = 4096 * 4096 * 2 + 2 * 4096 * 1024
    dense, sparse = work(LLAMA), work(MIXTRAL)
    assert dense.active == dense.stored == 32 * (attention + 3 * 4096 * 14336)
    assert sparse.active == 32 * (attention + 2 * 3 * 4096 * 14336 + 4096 * 8)
    assert sparse.stored == 32 * (attention + 8 * 3 * 4096 * 14336 + 4096 * 8)
    assert dense.head == 4096 * 128256
    assert dense.score_width == 32 * 2 * 4096
    assert dense.modules == 32 * 7


def test_adapter_work_follows_the_targets() -> None:
    found = adapter_work(LLAMA, Lora(8, 16, targets="q_proj,v_proj"))
    assert found.numbers == 8 * 32 * (4096 + 4096 + 4096 + 1024)
    assert (found.in_features, found.out_features, found.modules) == (32 * 8192, 32 * 5120, 64)


def test_full_training_takes_six_flops_a_number_and_token_and_recomputation_two() -> None:
    peak = 312e12
    rate = peak * constants.MATMUL["ampere"] / (1 + constants.BALANCE * peak / 2039e9)
    strategy = FULL._replace(gradient_accumulation=1)
    tokens = strategy.micro_batch * strategy.max_length
    seconds = speed(strategy, NVLINK).parts["matmul"]
    assert seconds == pytest.approx(8 * work(LLAMA).active * tokens / rate)


def test_every_catalogued_generation_has_a_rate() -> None:
    assert {gpu.generation for gpu in gpus.all_gpus()} == set(constants.MATMUL)
    for gpu in gpus.all_gpus():
        assert 0.2 < speed(SINGLE, Machines(gpu)).seconds_per_step < 3000


LLAMA_NUMBERS = count(LLAMA).total
OFFLOADED = FULL._replace(sharding="zero3", offload_optimizer="cpu")


def test_what_an_offloaded_step_takes() -> None:
    """Gradients go down in fp32, weights come back unless they stay on the host, and the host's memory limits Adam."""
    share = LLAMA_NUMBERS / 4
    link = NVLINK.gpu.host_link.bytes_per_second * constants.HOST_LINK
    host = 4 * share * constants.CPU_STEP_BYTES / constants.HOST_BANDWIDTH
    down, back = 4 * share / link, 2 * share / link
    unpinned = back / constants.PAGEABLE  # stage 3 casts weights anew, and nobody pins them
    for strategy, expected in (
        (OFFLOADED, host + down + unpinned),
        (OFFLOADED._replace(offload_parameters="cpu"), host + down),
        (OFFLOADED._replace(sharding="zero2"), host + down + back),
    ):
        assert speed(strategy, NVLINK).parts["offload"] == pytest.approx(expected)


def test_the_host_s_step_goes_by_the_formats_of_fsdp() -> None:
    wide, narrow = (
        speed(OFFLOADED._replace(sharding="fsdp2", precision=precision), NVLINK).parts["offload"]
        for precision in ("fp32", "pure_bf16")
    )
    assert wide == pytest.approx(2 * narrow)
