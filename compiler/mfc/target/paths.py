"""Paths of the spec, which are relative to the spec, as seen from the output folder, where the run starts."""

from __future__ import annotations

import posixpath

from mfc.beside import is_local

_DEEP = "/" + "/".join("d" * 64)  # a folder deep enough that no path climbs out of it


def located(path: str, out_to_spec: str) -> str:
    """A path of the spec as seen from the output folder; absolute ones and those of a home folder stay."""
    found = path if path.startswith("~") else posixpath.normpath(posixpath.join(out_to_spec, path))
    return f"./{found}" if found.startswith("-") else found  # a program would take it for an option


def named(model: str, out_to_spec: str) -> str:
    """A path of the spec as seen from the output folder, with ./ before a bare name; the name of a hub as it is."""
    if not is_local(model):
        return model
    found = located(model, out_to_spec)
    return found if is_local(found) else f"./{found}"  # without it, a path would look like a name


def spec_path(path: str, out_to_spec: str, folder: str = "") -> str:
    """A path as seen from the output folder, told from the spec's: what `located` made of it, with ./ before a name.

    `folder` is the output folder itself, absolute, where it is known: without its name no path leads back into it.
    """
    if path.startswith(("~", "/")):
        return path
    here, spec = (posixpath.normpath(posixpath.join(folder or _DEEP, part)) for part in (path, out_to_spec))
    found = posixpath.relpath(here, spec)
    return found if found.startswith(".") else f"./{found}"
