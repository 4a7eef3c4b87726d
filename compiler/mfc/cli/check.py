"""`mfc check`: whether generated files are what the specs would give.

Light on purpose: when the memo knows that nothing has changed, no option parser and no dependency is imported.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from mfc.check import memo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mfc.check.audit import Audit


def fast(args: Sequence[str]) -> int | None:
    """The exit code, when only specs are named and all of them are known to be clean."""
    specs = [arg for arg in args if arg != "--tracked"]
    if any(arg.startswith("-") for arg in specs) or (count := memo.unchanged(specs, "--tracked" in args)) is None:
        return None
    _clean(count)
    return 0


def __getattr__(name: str) -> Any:
    """Build `command` when it is asked for, so that `fast` needs no click."""
    if name != "command":
        raise AttributeError(name)
    import click

    from mfc.cli import options

    @click.command()
    @click.argument("specs", nargs=-1, metavar="[SPEC]...")
    @click.option("--no-cache", is_flag=True, help="Recompile everything; neither read nor write the local memo.")
    @click.option("--tracked", is_flag=True, help="Outputs that git has not been told of fail too, as before a commit.")
    @options.as_format
    def command(specs: tuple[str, ...], no_cache: bool, tracked: bool, form: str) -> int:
        """Tell whether generated files are what the specs would give (default: all specs that name their targets).

        A file is stale (the spec gives something else now), edited (by hand, since mfc wrote it), missing, or
        orphaned (nothing asks for it any more). Exit code 1 then; 0 when all is clean. Repositories that lie in this
        one are looked into.
        """
        from mfc.check.audit import audit

        result = audit(specs, use_memo=not no_cache, tracked=tracked)
        if form == "json":
            print(options.dump(_json(result)))
        else:
            _text(result)
        return result.exit_code

    return command


def _clean(count: int) -> None:
    print(f"clean: {count} spec{'' if count == 1 else 's'} checked", file=sys.stderr)


def _text(result: Audit) -> None:
    for drifted in result.drifted:
        for finding in drifted.findings:
            print(f"{finding.path.as_posix()}: {finding.verdict}{f' ({finding.note})' if finding.note else ''}")
            if finding.diff:
                print(finding.diff, end="")
    sys.stdout.flush()
    for _, error in result.errors:
        print(error, file=sys.stderr)
    for drifted in result.drifted:
        print(_advice(drifted.mend, {finding.verdict for finding in drifted.findings}), file=sys.stderr)
    if not result.exit_code:
        _clean(result.checked)


def _advice(mend: str, verdicts: set[str]) -> str:
    """How to mend one output folder."""
    if not mend:
        return "delete what is orphaned, or bring its spec back"
    if "edited" in verdicts:
        return f"move hand edits into the spec, then: {mend} --force"
    return f"to mend: {mend}"


def _json(result: Audit) -> dict[str, Any]:
    from mfc.check.audit import shown

    return {
        "schema_version": 1,
        "clean": not result.exit_code,
        "checked": result.checked,
        "findings": [
            {
                "spec": drifted.spec.as_posix(),
                "target": drifted.target,
                "path": finding.path.as_posix(),
                "verdict": finding.verdict,
                "note": finding.note,
                "diff": finding.diff,
                "mend": drifted.mend,
            }
            for drifted in result.drifted
            for finding in drifted.findings
        ],
        "errors": [
            {"spec": shown(spec).as_posix(), "message": str(error), "exit_code": error.exit_code}
            for spec, error in result.errors
        ],
    }
