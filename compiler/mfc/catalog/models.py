"""The model catalogue: facts about published models, one line of models.yaml each.

A lookup scans the text and parses only the line it needs, so that knowing many models costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from mfc.catalog import hf_config
from mfc.catalog.architecture import Architecture
from mfc.errors import SpecError
from mfc.strategy import Quantization

_FILE = Path(__file__).with_name("models.yaml")


class Entry(NamedTuple):
    """A published model. `published` is the number of parameters that `source` states for the checkpoint."""

    id: str
    architecture: Architecture
    published: int
    source: str  # hub: safetensors total that the Hub shows; card: model card; paper; gguf: llama.cpp's total
    instruct: bool  # tuned to follow a chat template
    stored: tuple[str, ...] = ()  # what the checkpoint holds beyond the model: head, mtp, mtp_embeddings
    quantization: Quantization | None = None  # the checkpoint is stored quantised
    dtype: str | None = None

    @property
    def vision(self) -> bool:
        """Whether it takes images."""
        return self.architecture.vision is not None


def find(model_id: str, *, local: bool = False) -> Entry:
    """The model with this Hub id, in any case, with or without its organisation.

    With `local`, a path counts as the model that its last folder is named after. Raises SpecError for a model that the
    catalogue does not have, with the nearest ones.
    """
    wanted = model_id.strip().strip("/")
    if local:
        wanted = wanted.replace("\\", "/").rsplit("/", 1)[-1]
    prefix = "" if "/" in wanted else r"[\w.-]+/"
    match = re.search(rf"(?:^|[\[ ])({prefix}{re.escape(wanted)})(?=[:,\]])", _text(), re.IGNORECASE | re.MULTILINE)
    if not wanted or match is None:
        raise SpecError(_unknown(model_id))
    return _model(match[1], _line(match.start(1)))


def all_models() -> tuple[Entry, ...]:
    """Every model of the catalogue, in its order: each row's own id, then its other ids."""
    return tuple(_model(each, row) for row in rows() for each in ids(row))


_SIZE = re.compile(r"-?\d+(\.\d+)?b(?![a-z])(-a\d+(\.\d+)?b(?![a-z]))?", re.IGNORECASE)  # 7B, 0.5b, 30B-A3B


def smaller(model_id: str) -> tuple[str, ...]:
    """Ids that differ from this one by a smaller size alone, the largest first; none for an id not in the catalogue.

    Where there is none, those of the same maker and tokenizer with the same layers and the same tuning.
    """
    name = _SIZE.sub("", model_id)
    known = {each: row for row in rows() for each in ids(row)}
    if model_id not in known:
        return ()
    size = known[model_id]["parameters"]
    less = [each for each, row in known.items() if row["parameters"] < size]
    same = [each for each in less if _SIZE.sub("", each) == name] or [
        each for each in less if _kind(each, known[each]) == _kind(model_id, known[model_id])
    ]
    return tuple(sorted(same, key=lambda each: (-known[each]["parameters"], -_alike(each, model_id))))


def _alike(one: str, other: str) -> int:
    """How many characters two names have in common at their start."""
    return next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(one))


def _kind(model_id: str, row: Mapping[str, Any]) -> tuple[Any, ...]:
    config = row["config"]
    chats = model_id in row.get("chat", ()) or (model_id not in row.get("base", ()) and row["instruct"])
    return model_id.partition("/")[0], config.get("model_type"), config.get("vocab_size"), chats


def rows() -> tuple[Mapping[str, Any], ...]:
    """Every row as it is written, with its key under `id`."""
    return tuple(_parse(line) for line in _text().splitlines() if line and not line.startswith("#"))


def ids(row: Mapping[str, Any]) -> tuple[str, ...]:
    """All ids that share the dimensions of a row."""
    return (row["id"], *row.get("chat", ()), *row.get("base", ()))


@lru_cache(maxsize=1)
def _text() -> str:
    return _FILE.read_text(encoding="utf-8")


def _line(position: int) -> Mapping[str, Any]:
    text = _text()
    start = text.rfind("\n", 0, position) + 1
    return _parse(text[start : text.index("\n", position)])


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


def nearest(model_id: str) -> tuple[str, ...]:
    """Ids of the catalogue that look like this one, or like what it is a quantised copy of, by name; three at most."""
    import difflib

    from mfc.catalog import stored

    known = [name for row in rows() for name in ids(row)]
    by_name = {name.lower(): name for name in known}
    by_name.update({name.rsplit("/", 1)[-1].lower(): name for name in known})
    wanted = stored.bare(model_id.strip()).lower()
    near = difflib.get_close_matches(wanted, by_name, n=6) or difflib.get_close_matches(
        wanted.rsplit("/", 1)[-1], by_name, n=6
    )
    return tuple(dict.fromkeys(by_name[name] for name in near))[:3]


def _unknown(model_id: str) -> str:
    near, many = nearest(model_id), sum(len(ids(row)) for row in rows())
    hint = f" Nearest: {', '.join(near)}." if near else ""
    return (
        f"model {model_id!r} is not in the catalogue ({many} models, see `mfc models`).{hint} "
        f"A mirror, a quantised or a tuned copy says what it is like: "
        f"model: {{id: {model_id}, like: {near[0] if near else 'CATALOGUE-ID'}}}. "
        f"For any other model give its config: model: {{id: {model_id}, config: path/to/config.json}}"
    )
