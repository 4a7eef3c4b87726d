"""Names of folders and of copies, and the published models that they are taken for."""

from __future__ import annotations

import random

import pytest
from mfc.catalog import copies, models

COPIES = {
    "../models/Mistral-7B-Instruct-v0.3": "mistralai/Mistral-7B-Instruct-v0.3",
    "model/Llama-3-8B-Instruct": "meta-llama/Meta-Llama-3-8B-Instruct",
    "/data/Llama-2-13b-chat/": "meta-llama/Llama-2-13b-chat-hf",
    "out/Qwen2.5-3B-Instruct-sft_1e-5/v0-20250510-185809/checkpoint-155": "Qwen/Qwen2.5-3B-Instruct",
    "/hub/models--Qwen--Qwen2.5-VL-72B-Instruct/snapshots/5d8e171e5ee6": "Qwen/Qwen2.5-VL-72B-Instruct",
    "modelscope/qwen/Qwen1___5-0___5B": "Qwen/Qwen1.5-0.5B",
    "someone/Meta-Llama-3-8B-Instruct-GPTQ": "meta-llama/Meta-Llama-3-8B-Instruct",
    "someone/DeepSeek-V3-bf16": "deepseek-ai/DeepSeek-V3",
}
OTHERS = (
    *(
        "Qwen/Qwen2.5-Omni-7B",
        "Qwen/Qwen2-Audio-7B-Instruct",
        "deepseek-ai/DeepSeek-R1-Distill-Other-9B",
        "$2",
        "",
        "/",
    ),
    *("someone/Qwen2.5-7B-VL", "someone/Llama-3-8B-MoE-4x8B", "out/checkpoint-5", "microsoft/Phi-3.5-vision-instruct"),
)


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_told_by_its_name(name: str) -> None:
    found = copies.find(name)
    assert found is not None
    assert found.id == COPIES[name]


@pytest.mark.parametrize("name", OTHERS)
def test_another_model_is_not(name: str) -> None:
    assert copies.find(name) is None


def test_a_published_name_in_any_folder_is_that_model() -> None:
    every = [entry.id for entry in models.all_models()]
    for name in random.Random(0).sample(every, 40):
        bare = name.rpartition("/")[2]
        known = models.known(bare)
        assert known is not None
        for path in (bare, f"/data/{bare}", f"../{bare}/checkpoint-100", f"a/{bare.replace('.', '___')}"):
            found = copies.find(path)
            assert found is not None, path
            assert found.architecture == known.architecture, path
