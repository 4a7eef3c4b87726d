"""Paths of the spec, which are relative to the spec, as seen from the output folder, where the run starts."""

from __future__ import annotations

import posixpath


def located(path: str, out_to_spec: str) -> str:
    """A path of the spec as seen from the output folder; absolute ones stay."""
    return posixpath.normpath(posixpath.join(out_to_spec, path))


def is_local(model: str) -> bool:
    """Whether a model's name is a path: ./x, ../x, /x, ~/x. Hub ids are names such as org/name."""
    return model.startswith((".", "/", "~"))
