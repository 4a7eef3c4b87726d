"""Tables of cases, and plain YAML that mfc wrote: read by the C parser where PyYAML has it, as mfc reads specs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parsed(text: str) -> Any:
    """What a YAML text says. What is hostile on purpose goes through `yaml.safe_load`, as frameworks read it."""
    return yaml.load(text, Loader=_LOADER)


def table(path: Path) -> Any:
    """What a YAML file says."""
    return parsed(path.read_text(encoding="utf-8"))
