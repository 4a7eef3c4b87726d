"""What the ending of a name says of how a checkpoint is stored."""

from __future__ import annotations

import pytest
from mfc.catalog import stored

SAID = {
    "Qwen/Qwen2.5-7B-Instruct-AWQ": ("awq", 4),
    "TechxGenus/Meta-Llama-3-70B-Instruct-GPTQ": ("gptq", 4),
    "Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4": ("gptq", 4),
    "Qwen/Qwen2.5-72B-Instruct-GPTQ-Int8": ("gptq", 8),
    "hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4": ("awq", 4),
    "unsloth/Qwen3-8B-bnb-4bit": ("bnb", 4),
    "Qwen/Qwen3-8B-FP8": ("fp8", 8),
}


@pytest.mark.parametrize("name", SAID)
def test_usual_endings_say_it(name: str) -> None:
    found = stored.ending(name)
    assert found is not None
    assert found.stored is not None
    assert (found.stored.kind, found.stored.bits, found.stored.pre) == (*SAID[name], True)
    assert stored.bare(name) + found.text == name


def test_sixteen_bits_can_be_said() -> None:
    found = stored.ending("unsloth/gpt-oss-20b-BF16")
    assert found is not None
    assert found.stored is None


@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-7B", "meta-llama/Llama-3.1-8B-Instruct", "./awq", "a/gptq-paper"])
def test_other_names_say_nothing(name: str) -> None:
    assert stored.ending(name) is None
    assert stored.bare(name) == name


@pytest.mark.parametrize("name", ["a/b-Int4", "a/b-4bit", "a/b-GGUF", "a/b-w4a16", "a/b-4bit-mlx", "a/b-bnb"])
def test_endings_that_do_not_say_how_are_told(name: str) -> None:
    with pytest.raises(ValueError, match=r"^-"):
        stored.ending(name)
