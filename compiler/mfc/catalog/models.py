"""The model catalogue: facts about published models, one line of models.yaml each.

A lookup compares names as text and parses only the line it needs, so that knowing many models costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from mfc.catalog import hf_config, modelscope
from mfc.catalog.architecture import Architecture
from mfc.errors import SpecError
from mfc.strategy import Quantization

_FILE = Path(__file__).with_name("models.yaml")
_ID = re.compile(r"(?:^|[\[ ])([\w.-]+/[\w.-]+)(?=[:,\]])")  # as a row has it: its key, or one of its lists


class _Row(NamedTuple):
    """A row as text, and what looking for a model needs of it."""

    line: str
    ids: tuple[str, ...]  # its own first
    parameters: int


class Entry(NamedTuple):
    """A published model. `published` is the number of parameters that `source` states for the checkpoint."""

    id: str
    architecture: Architecture
    published: int
    source: str  # hub: safetensors total that the Hub shows; card: model card; paper; gguf: llama.cpp's total; parts
    instruct: bool  # tuned to follow a chat template
    stored: tuple[str, ...] = ()  # what the checkpoint holds beyond the model: head, mtp, mtp_embeddings
    quantization: Quantization | None = None  # the checkpoint is stored quantised
    dtype: str | None = None

    @property
    def vision(self) -> bool:
        """Whether it takes images."""
        return self.architecture.vision is not None


def find(model_id: str, *, local: bool = False) -> Entry:
    """The model that `known` gives. Raises SpecError for one that the catalogue does not have, with the nearest."""
    found = known(model_id, local=local)
    if found is None:
        raise SpecError(_unknown(model_id))
    return found


@lru_cache(maxsize=256)
def known(model_id: str, *, local: bool = False) -> Entry | None:
    """The model with this Hub id, in any case, with or without its organisation; None where there is none.

    ModelScope's id of it serves as well. With `local`, a path counts as the model that its last folder is named after.
    """
    wanted = model_id.strip().strip("/")
    if local:
        wanted = wanted.replace("\\", "/").rsplit("/", 1)[-1]
    named = _by_name().get(wanted.lower())
    if named is None and (own := modelscope.ours(wanted)):
        named = _by_name()[own.lower()]
    return _model(named[0], _parse(named[1].line)) if named else None


def all_models() -> tuple[Entry, ...]:
    """Every model of the catalogue, in its order: each row's own id, then its other ids."""
    return tuple(_model(each, row) for row in rows() for each in ids(row))


_SIZE = re.compile(r"-?\d+(\.\d+)?b(?![a-z])(-a\d+(\.\d+)?b(?![a-z]))?", re.IGNORECASE)  # 7B, 0.5b, 30B-A3B


def smaller(model_id: str) -> tuple[str, ...]:
    """Ids that differ from this one by a smaller size alone, the largest first; none for an id not in the catalogue.

    Where there is none, those of the same maker and tokenizer with the same layers and the same tuning.
    """
    every = {each: row for row in _rows() for each in row.ids}
    if model_id not in every:
        return ()
    less = {each: row for each, row in every.items() if row.parameters < every[model_id].parameters}
    name, maker = _SIZE.sub("", model_id), model_id.partition("/")[0]
    same = [each for each in less if _SIZE.sub("", each) == name]
    if not same:
        kind = _kind(model_id, every[model_id])
        same = [each for each, row in less.items() if each.partition("/")[0] == maker and _kind(each, row) == kind]
    return tuple(sorted(same, key=lambda each: (-less[each].parameters, -_alike(each, model_id))))


def _alike(one: str, other: str) -> int:
    """How many characters two names have in common at their start."""
    return next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(one))


def _kind(model_id: str, found: _Row) -> tuple[Any, ...]:
    row = _parse(found.line)
    config = row["config"]
    chats = model_id in row.get("chat", ()) or (model_id not in row.get("base", ()) and row["instruct"])
    return config.get("model_type"), config.get("vocab_size"), chats


def rows() -> tuple[Mapping[str, Any], ...]:
    """Every row as it is written, with its key under `id`."""
    return tuple(_parse(row.line) for row in _rows())


def ids(row: Mapping[str, Any]) -> tuple[str, ...]:
    """All ids that share the dimensions of a row."""
    return (row["id"], *row.get("chat", ()), *row.get("base", ()))


@lru_cache(maxsize=1)
def _rows() -> tuple[_Row, ...]:
    text = _FILE.read_text(encoding="utf-8")
    return tuple(_row(line) for line in text.splitlines() if line and line[0] != "#")


def _row(line: str) -> _Row:
    parameters = line.partition("parameters: ")[2].partition(",")[0]
    return _Row(line, tuple(_ID.findall(line)), int(parameters))


@lru_cache(maxsize=1)
def _by_name() -> Mapping[str, tuple[str, _Row]]:
    """The id and the row of every name in lower case: ids, else what follows the organisation in the first such id."""
    every = [(each, row) for row in _rows() for each in row.ids]
    bare = {each.rpartition("/")[2].lower(): (each, row) for each, row in reversed(every)}
    return {**bare, **{each.lower(): (each, row) for each, row in every}}


def _parse(line: str) -> Mapping[str, Any]:
    import yaml

    parsed = yaml.load(line, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    ((key, row),) = parsed.items()
    return {"id": key, **row}


def _model(model_id: str, row: Mapping[str, Any]) -> Entry:
    config = hf_config.read(row["config"], where=f"models.yaml: {row['id']}")
    chat, base = row.get("chat", ()), row.get("base", ())
    return Entry(
        id=model_id,
        architecture=config.architecture,
        published=row["parameters"],
        source=row["source"],
        instruct=model_id in chat or (model_id not in base and row["instruct"]),
        stored=tuple(row.get("stored", ())),
        quantization=config.quantization,
        dtype=config.dtype,
    )


@lru_cache(maxsize=256)
def nearest(model_id: str) -> tuple[str, ...]:
    """Ids of the catalogue that look like this one, or like what it is a quantised copy of, by name; three at most."""
    import difflib

    from mfc.catalog import stored

    every = [name for row in _rows() for name in row.ids]
    by_name = {name.lower(): name for name in every}
    by_name.update({name.rsplit("/", 1)[-1].lower(): name for name in every})
    wanted = stored.bare(model_id.strip()).lower()
    near = difflib.get_close_matches(wanted, by_name, n=6) or difflib.get_close_matches(
        wanted.rsplit("/", 1)[-1], by_name, n=6
    )
    return tuple(dict.fromkeys(by_name[name] for name in near))[:3]


def _unknown(model_id: str) -> str:
    near, many = nearest(model_id), sum(len(row.ids) for row in _rows())
    hint = f" Nearest: {', '.join(near)}." if near else ""
    return (
        f"model {model_id!r} is not in the catalogue ({many} models, see `mfc models`).{hint} "
        f"A mirror, a quantised or a tuned copy says what it is like: "
        f"model: {{id: {model_id}, like: {near[0] if near else 'CATALOGUE-ID'}}}. "
        f"For any other model give its config: model: {{id: {model_id}, config: path/to/config.json}}"
    )
