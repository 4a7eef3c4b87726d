"""The reference of the commands: what `mfc COMMAND --help` prints."""

from __future__ import annotations

from importlib import import_module

import click
from mfc.cli import COMMANDS, MODULES


def built(language: str) -> str:  # noqa: ARG001 the help is English alone
    """A section for each command."""
    parts = []
    for name in COMMANDS:
        command: click.Command = import_module(f"mfc.cli.{MODULES.get(name, name)}").command
        context = click.Context(command, info_name=f"mfc {name}", max_content_width=100, terminal_width=100)
        parts.append(f"## `mfc {name}`\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)
