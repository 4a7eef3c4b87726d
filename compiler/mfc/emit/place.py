"""Where outputs go, and that they stay there.

A spec may place its outputs anywhere in its own repository (or, outside of one, below its own folder); only `-o` on
the command line reaches farther. Inside an output folder nothing leaves it, through `..` or through links.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from mfc.errors import Fault, FileInTheWay

if TYPE_CHECKING:
    from mfc.spec.load import LoadedSpec


def declared(loaded: LoadedSpec, target: str) -> Path:
    """The output folder that a spec gives a target: its `out`, or <stem>/<target>/ beside the spec.

    Raises SpecError when `out` leaves the repository, reaches into `.git`, or shares a folder with another target's.
    """
    folder = _asked(loaded, target)
    for other in loaded.spec.targets if target in loaded.spec.targets else ():
        if other != target and _nested(folder, there := _asked(loaded, other)):
            at = target if loaded.spec.targets[target].out else other
            raise loaded.error(
                f"targets.{at}.out",
                f"the outputs of {target} would go to {folder}, and those of {other} to {there}",
                allowed="a folder for each target, none inside another, whose names differ by more than case",
            )
    return folder


def _nested(one: Path, other: Path) -> bool:
    """Whether two folders are one, or one holds the other, on some file system: many fold case and accents."""
    import unicodedata

    ours, theirs = (Path(unicodedata.normalize("NFC", os.path.realpath(folder)).casefold()) for folder in (one, other))
    return ours.is_relative_to(theirs) or theirs.is_relative_to(ours)


def _asked(loaded: LoadedSpec, target: str) -> Path:
    home = loaded.path.parent if loaded.path else Path()
    settings = loaded.spec.targets.get(target)
    if settings is None or settings.out is None:
        return home / (loaded.path.stem if loaded.path else "mfc") / target
    name = f"targets.{target}.out"
    folder = Path(os.path.normpath(loaded.folder(name) / settings.out))
    root = _root(home)
    real = Path(os.path.realpath(folder))
    if not real.is_relative_to(root):
        raise loaded.error(
            name,
            f"{settings.out} is outside {root}",
            allowed="a folder in the same repository as the spec, or below the spec; use -o DIR for any other",
        )
    if ".git" in map(str.casefold, real.relative_to(root).parts):
        raise loaded.error(name, f"{settings.out} is inside git's own folder")
    return folder


def is_declared(loaded: LoadedSpec, target: str, out: Path) -> bool:
    """Whether the spec itself asks for this target in this folder."""
    return target in loaded.spec.targets and os.path.realpath(out) == os.path.realpath(_asked(loaded, target))


def _root(home: Path) -> Path:
    """The repository that holds this folder, or else the folder."""
    real = Path(os.path.realpath(home))
    return next((folder for folder in (real, *real.parents) if os.path.exists(folder / ".git")), real)


def safe(path: str) -> bool:
    """Whether a path of a file in an output folder is one: relative, forward slashes, downwards only."""
    pure = PurePosixPath(path)
    return bool(
        pure.parts
        and str(pure) == path
        and not pure.is_absolute()
        and not PureWindowsPath(path).drive
        and "\\" not in path
        and "\0" not in path
        and not {"..", "."} & set(pure.parts)
    )


def inside(folder: Path, path: str) -> Path:
    """The file `path` of an output folder. Raises Fault for an unsafe path, FileInTheWay when a link leads out."""
    if not safe(path):
        raise Fault(f"error: {path!r} is not a path inside the output folder")
    file = folder / path
    if not Path(os.path.realpath(file.parent)).is_relative_to(os.path.realpath(folder)):
        raise FileInTheWay(f"error: {file.parent} is a link that leads out of {folder}; remove it")
    return file
