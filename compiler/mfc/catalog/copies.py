"""Which published model a checkpoint is a copy of, by its name: a mirror, a folder, a quantised or a tuned one.

People name folders after the model that they downloaded or tuned. Everything up to the size says what the model is;
what follows tells what was done to it, unless it is a size again or a word for another kind of model.
"""

from __future__ import annotations

import re
from functools import lru_cache

from mfc.catalog import models, stored
from mfc.catalog.models import Entry

_CACHED = re.compile(r"models--[\w.-]+?--([\w.-]+)(?:/|$)")  # as the Hugging Face cache has it
_INSIDE = re.compile(r"/(?:checkpoint-\d+|v\d+-\d{8}-\d{6}|final|snapshots|[0-9a-f]{40})$")  # folders of one model
_SIZE = re.compile(r"(?<![a-z\d.])\d+(?:\.\d+)?[bm](?![a-z\d])", re.IGNORECASE)
_OTHERS = re.compile(
    r"(?<![a-z])(?:vl|vision|omni|audio|moe|ocr|embedding|reranker|distill|draft|eagle\d?|mtp)(?![a-z])", re.IGNORECASE
)


@lru_cache(maxsize=256)
def find(name: str) -> Entry | None:
    """The model of the catalogue that an id or a path names, or a copy of it; None where the name does not tell."""
    if (known := models.known(name, local=True)) is not None:
        return known
    path = name.replace("\\", "/").rstrip("/")
    if cached := _CACHED.search(path):
        path = cached[1]
    while (shorter := _INSIDE.sub("", path)) != path:
        path = shorter
    bare = path.rpartition("/")[2].replace("___", ".")  # ModelScope's cache has no dots
    for cut in [len(bare), *(found.start() for found in reversed([*re.finditer(r"[-_.]", bare)]))]:
        base, rest = bare[:cut], bare[cut:]
        tells = not rest or _SIZE.search(base) or stored.bare(bare) == base
        if not tells or _SIZE.search(rest) or _OTHERS.search(rest):
            continue
        for form in (base, f"{base}-hf", base.removesuffix("-hf"), f"meta-{base}"):
            if (known := models.known(form)) is not None:
                return known
    return None
