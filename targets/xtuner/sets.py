"""The data sets of XTuner's configs read back: where they lie, and the layout that a map function reads.

Source: xtuner/dataset/map_fns/dataset_map_fns and dataset/huggingface.py of 0.2.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mfc import rows
from mfc.beside import is_local
from mfc.target.importing import Beside, Place

from . import codecs as x
from . import facts, pictures


def _columns(prompt: str, response: str, query: str = "", system: str = "") -> dict[str, Any]:
    said = {"prompt": prompt, "query": query, "response": response, "system": system}
    return {"format": "alpaca", "columns": {name: column for name, column in said.items() if column}}


# XTuner's functions and the rows that they read. Those with a system prompt of their own are told by the second.
_MAPS: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "openai_map_fn": ({"format": "messages"}, ""),
    "pretrain_map_fn": ({"format": "text"}, ""),
    "alpaca_map_fn": ({"format": "alpaca"}, ""),
    "alpaca_zh_map_fn": (_columns("instruction_zh", "output_zh", "input_zh"), ""),
    "wizardlm_map_fn": ({"format": "sharegpt"}, ""),
    "default_map_fn": (_columns("input", "output"), ""),
    "stack_exchange_map_fn": (_columns("question", "response"), ""),
    "openorca_map_fn": (_columns("question", "response", system="system_prompt"), ""),
    "medical_map_fn": ({"format": "alpaca"}, "medical"),
    "arxiv_map_fn": (_columns("abstract", "title"), "arxiv_gentile"),
    "code_alpaca_map_fn": (_columns("prompt", "completion"), "coder"),
    "tiny_codes_map_fn": (_columns("prompt", "response"), "coder"),
    "crime_kg_assitant_map_fn": (_columns("input", "output"), "lawyer"),
    "law_reference_map_fn": (_columns("question", "answer"), "lawyer"),
    "orpo_dpo_mix_40k_map_fn": ({"format": "preference"}, ""),
}


# Readers of rows that no data set of a spec describes.
_READERS = {
    "MOSSSFTDataset": "has a layout of its own",
    "build_packed_dataset": "are tokens already, or in InternEvo's layout",
    "process_untokenized_dataset": "are in a layout of InternEvo's",
    "process_ms_dataset": "lie on ModelScope: download them",
}


def first(dataset: Mapping[str, Any]) -> Mapping[str, Any]:
    """The data set whose settings count for all: the only one, or the first of several."""
    several = dataset.get("datasets")
    if isinstance(several, list) and several and isinstance(several[0], Mapping):
        return several[0]
    return dataset


def read(
    config: dict[str, Any], beside: Beside, place: Place
) -> tuple[dict[str, Any], dict[str, tuple[Any, ...]], list[str]]:
    """The data sets as the spec has them, what they tell besides, and notes. `config` is put right."""
    found = config.get("train_dataloader")
    whole = found.get("dataset") if isinstance(found, Mapping) else None
    every = [config["train_dataset"]] if isinstance(config.get("train_dataset"), Mapping) else []
    if isinstance(whole, Mapping) and isinstance(several := whole.get("datasets"), list):
        every = [one for one in several if isinstance(one, Mapping)]
    if not every:
        return {}, {}, ["it names no data set that mfc knows: add data.train"]
    made: list[dict[str, Any]] = []
    notes: list[str] = []
    told: dict[str, tuple[Any, ...]] = {}
    for one in every:
        kind = str(one.get("type") or "").rpartition(":")[2]
        if kind in _READERS:
            notes.append(f"it trains on rows of {kind}, which {_READERS[kind]}: say data.train")
            continue
        if pictures.knows(kind):
            made += _pictures(one, place)
            notes.append("its pictures lie in image_folders, which the paths of its rows start from")
            continue
        layout, why = _layout(one.get("dataset_map_fn"), beside, told)
        made += [{**each, **layout} for each in _places(one.get("dataset"), place)]
        notes += [why] if why else []
    trained = (config.get("model") or {}).get("type") if isinstance(config.get("model"), Mapping) else None
    if made and trained == x.TUNES:
        told["task"] = ("pretrain" if made[0].get("format") == "text" else "sft",)
    if made and isinstance(samples := every[0].get("max_dataset_length"), int):
        made[0]["samples"] = samples
    if files := _files(every[0].get("dataset")):
        config["data_files"] = files
    else:
        config.pop("data_files", None)
    if not made and not notes:
        notes.append("it names no data set that mfc knows: add data.train")
    spec = {"data.train": made} if made else {}
    return spec, told, list(dict.fromkeys(notes))


def as_its_own(config: dict[str, Any]) -> None:
    """Put XTuner's usual reader where another one reads rows that no spec describes; the rest of the config counts."""
    rows = config.get("train_dataset")
    kind = str(rows.get("type") or "").rpartition(":")[2] if isinstance(rows, Mapping) else ""
    if isinstance(rows, Mapping) and (kind in _READERS or pictures.knows(kind)):
        packed = {"max_length": rows["packed_length"], "pack_to_max_length": True} if "packed_length" in rows else {}
        config["train_dataset"] = {**rows, "type": "xtuner.dataset:process_hf_dataset", **packed}
        if isinstance(loader := config.get("train_dataloader"), Mapping):
            config["train_dataloader"] = {**loader, "dataset": config["train_dataset"]}
        config["max_length"] = config["train_dataset"].get("max_length", config.get("max_length"))


def undescribed(config: Mapping[str, Any]) -> dict[str, str]:
    """Why keys tell nothing that are of rows which no spec describes."""
    loader = config.get("train_dataloader")
    dataset = loader.get("dataset") if isinstance(loader, Mapping) else None
    rows = first(dataset) if isinstance(dataset, Mapping) else {}
    if str(rows.get("type") or "").rpartition(":")[2].rpartition(".")[2] not in _READERS:
        return {}
    why = "it is of rows that no spec describes"
    told = {"type", "max_length", "packed_length", "pack_to_max_length", "template_map_fn", "tokenizer"}
    named = {key: each for key, each in rows.items() if key not in told}
    nested = (f"{key}.{name}" for key, each in named.items() if isinstance(each, Mapping) for name in each)
    return dict.fromkeys((f"train_dataset.{name}" for name in (*named, *nested, "packed_length")), why)


def _pictures(one: Mapping[str, Any], place: Place) -> list[dict[str, Any]]:
    """Files of LLaVA's rows: conversations beside the name of a picture."""
    paths = one.get("data_paths")
    columns = {"images": "image"}
    return [
        {"path": place.spec_path(str(path)), "format": "sharegpt", "columns": columns}
        for path in (paths if isinstance(paths, list) else [paths] if paths else [])
    ]


def _files(dataset: Any) -> list[str]:
    """The files of a call of `datasets.load_dataset`."""
    files = dataset.get("data_files") if isinstance(dataset, Mapping) else None
    if isinstance(files, Mapping):
        files = files.get("train")
    return [str(one) for one in (files if isinstance(files, list) else [files])] if files else []


def _places(dataset: Any, place: Place) -> list[dict[str, Any]]:
    """Where rows lie: files, a folder, or a data set on the Hub."""
    if not isinstance(dataset, Mapping):
        return [{"path": place.spec_path(dataset)}] if isinstance(dataset, str) else []
    if files := _files(dataset):
        return [{"path": place.spec_path(one)} for one in files]
    name = dataset.get("path")
    if not isinstance(name, str):
        return []
    if is_local(name):
        return [{"path": place.spec_path(name)}]
    part = {"subset": dataset.get("name"), "split": dataset.get("split")}
    return [{"hub": name, **{key: value for key, value in part.items() if isinstance(value, str)}}]


def _layout(code: Any, beside: Beside, told: dict[str, tuple[Any, ...]]) -> tuple[dict[str, Any], str]:
    """The layout of rows that a function reads, and what of it no spec says."""
    module, _, name = str(code).partition(":")
    if module == facts.OWN:
        return _own(name, beside, told), ""
    if not name:
        return {}, "its rows are as the framework takes them: say data.train's format and columns"
    if name not in _MAPS:
        return {}, f"the rows that {name or code} reads have no layout of a spec's: say data.train's format and columns"
    layout, system = _MAPS[name]
    own = (
        ""
        if not system
        else f"{name} adds a system prompt of XTuner's (SYSTEM_TEMPLATE.{system}): say it as data.system"
    )
    return dict(layout), own


def _own(name: str, beside: Beside, told: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
    """The layout of a function that mfc wrote, from the variables of its module."""
    form = name.removesuffix("_map_fn")
    said = beside.mapping(f"{facts.OWN}.py") or {}
    if isinstance(system := said.get("SYSTEM"), str):
        told["system"] = (system,)
    made: dict[str, Any] = {"format": form}
    columns = said.get("COLUMNS")
    if isinstance(columns, Mapping):
        usual = rows.usual(form, "dpo" if form == "preference" else "sft") if form in rows.COLUMNS else {}
        named = {key: column for key, column in columns.items() if usual.get(key) != column}
        if "prompt" in named and "query" in columns:  # whoever names the prompt names what follows it
            named["query"] = columns["query"]
        made |= {"columns": named} if named else {}
    speakers = said.get("ROLES")
    if isinstance(speakers, Mapping) and form in rows.ROLES:
        words = {
            "key": said.get("KEY"),
            "content": said.get("CONTENT"),
            **{who: word for word, who in speakers.items()},
        }
        if named := {key: word for key, word in words.items() if rows.ROLES[form].get(key) != word}:
            made["roles"] = named
    return made
