"""Running launchers, with stand-ins for the frameworks' commands."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from mfc.emit.compiled import Compiled

TOLD = '#!/usr/bin/env bash\npwd; printf "%s\\n" "$@"; env | sort\n'  # where and how it was called
NASTY = [
    "a b",
    "it's",
    '"; touch pwned; "',
    "$(touch pwned)",
    "`touch pwned`",
    "a\\b",
    "a*[b]?",
    "{{ x }}",
    "é漢字",
    "#x: y",
    "? x",
    "&a *b",
    "%x",
]


def launch(
    one: Compiled, out: Path, script: str, *args: str, tools: Mapping[str, str] | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a script among the files that `out` gets. `tools` are commands by name; others are the system's own."""
    bin_folder = out.parent / "bin"
    for folder in (out, bin_folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, text in one.files.items():
        (out / name).write_text(text, encoding="utf-8")
    for name, text in (tools or {}).items():
        (bin_folder / name).write_text(text, encoding="utf-8")
        (bin_folder / name).chmod(0o755)
    given = {"PATH": f"{bin_folder}{os.pathsep}/usr/bin{os.pathsep}/bin", **env}
    command = ["bash", str(out / script), *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", env=given)
