"""Counting with the model's own tokenizer: its tokenizer.json, and its chat template where there is one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfc.beside import is_local
from mfc.catalog import hf_config
from mfc.data import estimate
from mfc.data.samples import Sample
from mfc.data.template import Refusal, Template
from mfc.data.turns import Fault, Turn
from mfc.errors import SpecError
from mfc.files import read as read_file

if TYPE_CHECKING:
    from mfc.spec.load import LoadedSpec

_INSTALL = "pip install 'mfc-compiler[data]'"


class Tokenizer:
    """The tokenizer of one folder."""

    exact = True

    def __init__(self, path: Path) -> None:
        """Load a tokenizer.json. Raises SpecError where it cannot be read."""
        try:
            from tokenizers import Tokenizer as Coder
        except ImportError:
            raise SpecError(
                f"{path}: error: tokens are counted by tokenizers, which is not installed: {_INSTALL}"
            ) from None
        try:
            self._coder = Coder.from_str(read_file(path).decode())
        except OSError as error:
            raise SpecError(f"{path}: error: cannot be read: {error.strerror}") from None
        except Exception as error:  # the library raises bare exceptions
            raise SpecError(f"{path}: error: not a tokenizer.json: {str(error)[:200]}") from None
        self._coder.no_truncation()
        self._coder.no_padding()
        self._template = _template(path.parent)
        how = (
            "its chat template"
            if self._template
            else f"{estimate.TURN} tokens around each turn, for it has no template"
        )
        self.name = f"counted by {path} with {how}"

    def lengths(self, samples: Sequence[Sample]) -> list[list[int] | Fault]:
        """The tokens of each sequence; a fault where the template refuses it."""
        texts: list[str] = []
        where: list[list[int] | Fault] = []  # of each sample the texts that are its sequences
        for one in samples:
            try:
                made = [self._text(sequence, one.tools) for sequence in one.sequences]
                "".join(made).encode()
            except Refusal as refusal:
                where.append(Fault("template", str(refusal)))
                continue
            except UnicodeEncodeError:
                where.append(Fault("not UTF-8", "half of a surrogate pair in what the template makes of it"))
                continue
            where.append(list(range(len(texts), len(texts) + len(made))))
            texts += made
        counts = [len(one.ids) for one in self._coder.encode_batch_fast(texts, add_special_tokens=False)]
        return [
            found if isinstance(found, Fault) else [counts[at] + around for at, around in self._around(one, found)]
            for one, found in zip(samples, where, strict=True)
        ]

    def _around(self, one: Sample, found: Sequence[int]) -> list[tuple[int, int]]:
        """With each text's place the tokens that stand around it: of a plain text the one that ends it."""
        return [
            (at, 1 if isinstance(sequence, str) else 0 if self._template else estimate.TURN * len(sequence))
            for at, sequence in zip(found, one.sequences, strict=True)
        ]

    def _text(self, sequence: tuple[Turn, ...] | str, tools: Any) -> str:
        if isinstance(sequence, str):
            return sequence
        if self._template:
            return self._template.render(sequence, tools)
        return "\n".join(turn.text for turn in sequence)


def _template(folder: Path) -> Template | None:
    """The chat template that lies beside a tokenizer. Raises SpecError for one that cannot be read."""
    said = _json(folder / "tokenizer_config.json")
    source = said.get("chat_template")
    if isinstance(source, list):  # several, by name
        named = {one.get("name"): one.get("template") for one in source if isinstance(one, dict)}
        source = named.get("default")
    if os.path.isfile(file := folder / "chat_template.jinja"):
        try:
            source = read_file(file).decode()
        except (OSError, ValueError) as error:
            raise SpecError(f"{file}: error: the chat template cannot be read: {error}") from None
    elif not isinstance(source, str):
        source = _json(folder / "chat_template.json").get("chat_template")
    if not isinstance(source, str):
        return None
    tokens = {
        name: token if isinstance(token, str) else str(token.get("content", ""))
        for name, token in said.items()
        if name.endswith("_token") and isinstance(token, (str, dict))
    }
    try:
        return Template(source, tokens)
    except Refusal as refusal:
        raise SpecError(f"{folder}: error: {refusal}") from None


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(read_file(path))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise SpecError(f"{path}: error: cannot be read: {error}") from None
    return found if isinstance(found, dict) else {}


def find(loaded: LoadedSpec, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The tokenizer.json of a spec's model: in its folder, beside its config, or in the local Hugging Face cache."""
    model = loaded.spec.model
    folders = [(loaded.path.parent if loaded.path else Path()) / os.path.expanduser(model.id)]
    if model.config:
        config = loaded.folder("model.config") / model.config
        folders.append(config if os.path.isdir(config) else config.parent)
    for folder in folders:
        if os.path.isfile(folder / "tokenizer.json"):
            return folder / "tokenizer.json"
    cached = (hf_config.cached(name, "tokenizer.json", environ) for name in (model.id, model.like) if name)
    return None if is_local(model.id) and not model.like else next((path for path in cached if path), None)
