"""Every published model: its dimensions give its published parameter count."""

from __future__ import annotations

import pytest
from mfc.catalog import models
from mfc.catalog.architecture import Architecture, Moe
from mfc.catalog.parameters import count
from mfc.errors import SpecError

ROWS = models.rows()


def stored_count(arch: Architecture, stored: tuple[str, ...]) -> int:
    """Parameters of the checkpoint: the model, and what `stored` says it holds beyond it."""
    counted = count(arch)
    total = counted.total
    if "head" in stored:
        total += arch.vocab * arch.hidden
    if "mtp" in stored:  # the last block once more, a linear that joins two hidden states, three norms
        total += counted.blocks[arch.groups[-1]].total + 2 * arch.hidden**2 + 3 * arch.hidden
    if "mtp_embeddings" in stored:
        total += 2 * arch.vocab * arch.hidden
    return total


def test_there_are_enough_models_and_each_id_stands_once() -> None:
    names = [name.lower() for row in ROWS for name in models.ids(row)]
    assert len(ROWS) >= 240
    assert len(names) == len(set(names))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row["id"]))
def test_counts_agree_with_what_was_published(row: dict[str, object]) -> None:
    model = models.find(str(row["id"]))
    assert stored_count(model.architecture, model.stored) == pytest.approx(model.published, rel=1e-3)
    assert model.source in ("hub", "card", "paper", "gguf", "parts")
    assert model.architecture.max_positions > 0


@pytest.mark.parametrize(
    ("asked", "found", "instruct"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-7B-Instruct", True),
        ("Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-7B", False),
        ("qwen2.5-7b-instruct", "Qwen/Qwen2.5-7B-Instruct", True),
        ("meta-llama/llama-3.1-8b", "meta-llama/Llama-3.1-8B", False),
        ("Qwen3-8B", "Qwen/Qwen3-8B", True),
        ("Qwen/Qwen3-8B-Base", "Qwen/Qwen3-8B-Base", False),
        ("gpt-oss-20b", "openai/gpt-oss-20b", True),
    ],
)
def test_find(asked: str, found: str, instruct: bool) -> None:
    model = models.find(asked)
    assert (model.id, model.instruct) == (found, instruct)


def test_a_local_path_is_taken_for_its_last_folder_only_when_told() -> None:
    path = "/data/checkpoints/Qwen2.5-7B-Instruct/"
    assert models.find(path, local=True).id == "Qwen/Qwen2.5-7B-Instruct"
    with pytest.raises(SpecError):
        models.find(path)


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [
        ("Qwen/Qwen2.5-7B-Instuct", "Qwen/Qwen2.5-7B-Instruct"),
        ("llama-3.1-8b-instrct", "meta-llama/Llama-3.1-8B-Instruct"),
    ],
)
def test_an_unknown_model_names_the_nearest_and_the_way_out(asked: str, nearest: str) -> None:
    with pytest.raises(SpecError, match="is not in the catalogue") as error:
        models.find(asked)
    assert nearest in str(error.value)
    assert f"model: {{id: {asked}, config: path/to/config.json}}" in str(error.value)


@pytest.mark.parametrize("asked", ["", " ", "/", "Qwen", "7B", ".*", "parameters"])
def test_a_part_of_a_name_is_not_a_model(asked: str) -> None:
    with pytest.raises(SpecError):
        models.find(asked)


def test_all_models_lists_every_id() -> None:
    found = models.all_models()
    assert len(found) == sum(len(models.ids(row)) for row in ROWS)
    assert all(model.architecture.layers > 0 for model in found)
    assert any(isinstance(block.ffn, Moe) for model in found for _, block in model.architecture.blocks)


SMALLER = {
    "Qwen/Qwen3-30B-A3B": ("Qwen/Qwen3-14B", "Qwen/Qwen3-8B", "Qwen/Qwen3-4B", "Qwen/Qwen3-1.7B", "Qwen/Qwen3-0.6B"),
    "meta-llama/Llama-3.1-70B-Instruct": ("meta-llama/Llama-3.1-8B-Instruct",),
    "Qwen/Qwen3-0.6B": (),
    "org/strange-7B": (),
}


@pytest.mark.parametrize("name", SMALLER)
def test_smaller_ones_differ_by_their_size_alone(name: str) -> None:
    assert models.smaller(name) == SMALLER[name]
