"""Whether the data is still that on which a spec's lengths were measured."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mfc.data.lines import PIECE, open_file
from mfc.data.sources import EVAL, sources
from mfc.errors import SpecError

if TYPE_CHECKING:
    from mfc.spec.load import LoadedSpec


def training_files(loaded: LoadedSpec) -> tuple[Path, ...]:
    """The files that a spec trains on. Raises SpecError where one is not there."""
    return tuple(path for source in sources(loaded)[0] if source.field != EVAL for path in source.files)


def digest(files: Sequence[Path]) -> str:
    """SHA-256 over the files' own digests, in their order; names do not count. Raises SpecError for unreadable ones."""
    whole = hashlib.sha256()
    for path in files:
        one = hashlib.sha256()
        with open_file(path) as stream:
            while piece := stream.read(PIECE):
                one.update(piece)
        whole.update(one.digest())
    return whole.hexdigest()


def moved(loaded: LoadedSpec) -> str:
    """What is different about the data since it was measured; nothing where all is as it was, or it lies elsewhere."""
    measured = loaded.spec.data.lengths
    if measured is None:
        return ""
    try:
        files = training_files(loaded)
        size = sum(path.stat().st_size for path in files)
        if size != measured.file_bytes:
            return f"{size:,} bytes of data, and data.lengths was measured on {measured.file_bytes:,}"
        if digest(files) != measured.sha256:
            return "the data has changed since data.lengths was measured"
    except (SpecError, OSError):
        return ""  # specs are checked on machines that have no data
    return ""
