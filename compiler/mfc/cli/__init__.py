"""The command line: `mfc COMMAND`. One module per command, imported only when that command runs."""

from __future__ import annotations

import os
import sys
from typing import Any

# Command -> its line in `mfc --help`. The module of the same name in this package holds `command`.
COMMANDS = {
    "init": "Write a first spec for this machine, or for GPUs that you name.",
    "doctor": "Say what this machine has, and what would stop a run on it.",
    "data": "Check the rows of a spec's data, and say how long they are.",
    "compile": "Write each target's native configs for a spec.",
    "plan": "Show the strategy, the memory it takes and the time.",
    "report": "Write the plans as one HTML page: charts, reasons, files.",
    "ui": "Show the plans in the browser, live, and change the spec there.",
    "size": "Say which cards a spec needs, or which models cards can train.",
    "import": "Read a framework's own config or script into a spec.",
    "convert": "Write a framework's own config as the files of another.",
    "diff": "Tell how two configs differ in what they really do.",
    "lint": "Tell what is wrong with a framework's own config, and mend it.",
    "explain": "Say why each value is what it is.",
    "check": "Tell whether generated files are what the specs would give.",
    "verify": "Compare the prediction with the real model code, on a CPU.",
    "calibrate": "Learn from a run's measured memory, for plans on this machine.",
    "gpus": "List the GPUs that mfc knows.",
    "models": "List the models that mfc knows.",
    "targets": "List the targets and what they support.",
    "rules": "List the rules with their sources.",
    "schema": "Print the JSON Schema of the spec, of plans, or of a target.",
}
MODULES = {"import": "importing"}  # where no module can have the command's name
USAGE = """Usage: mfc [--version] [--help] COMMAND ...

The memory-fit compiler: one small spec in, training configs that fit your GPUs out.

Commands:
{commands}

`mfc COMMAND --help` tells more. Exit codes: 0 fine, 1 files differ, 2 bad spec or usage, 3 cannot fit,
4 the target cannot express it, 70 a fault in mfc."""


def main(argv: list[str] | None = None) -> None:
    """Run one command and exit with its code."""
    from mfc.cli import streams

    args = sys.argv[1:] if argv is None else argv
    streams.escape()
    sys.exit(streams.guarded(lambda: _command(args)))


def _command(args: list[str]) -> int:
    if not args or args[0] in ("--help", "-h"):
        rows = "\n".join(f"  {name:<9} {line}" for name, line in COMMANDS.items())
        print(USAGE.format(commands=rows))
        return 0 if args else 2
    if args[0] == "--version":
        from mfc._version import __version__

        print(f"mfc {__version__}")
        return 0
    if args[0] not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(args[0], COMMANDS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        print(f"error: unknown command {args[0]!r}{hint} (mfc --help lists them)", file=sys.stderr)
        return 2
    return _run(args[0], args[1:])


def _run(name: str, args: list[str]) -> int:
    import gc
    from importlib import import_module

    from mfc.errors import MfcError

    gc.set_threshold(100_000)  # a command is short: it makes little garbage, and imports make collecting it slow
    try:
        os.getcwd()
    except OSError:
        print("error: the current folder is gone: go to one that is there", file=sys.stderr)
        return 2
    try:
        return _invoke(import_module(f"mfc.cli.{MODULES.get(name, name)}"), name, args)
    except MfcError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _invoke(module: Any, name: str, args: list[str]) -> int:
    """Run a command; a module may answer quickly by itself before its options are parsed (`fast`)."""
    if hasattr(module, "fast") and (code := module.fast(args)) is not None:
        return int(code)
    import click

    try:
        result = module.command.main(args, prog_name=f"mfc {name}", standalone_mode=False)
        return int(result or 0)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except click.Abort:
        return 130
