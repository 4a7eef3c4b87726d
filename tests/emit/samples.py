"""Compilations made by hand, for tests of what happens to them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from mfc import api
from mfc.emit import place
from mfc.emit.compiled import Compiled
from mfc.planner.plan import Plan

HOSTILE = (
    "plain words",
    "",
    " ",
    "no",
    "off",
    "Yes",
    "y",
    "null",
    "~",
    "1e-4",
    "1e5",
    "0x1F",
    "0o17",
    "017",
    "1_000",
    "12:30:45",
    "2026-11-21",
    ".inf",
    ".5",
    "-",
    "- a",
    "? a",
    ": a",
    "a: b",
    "a #b",
    "#b",
    "&anchor",
    "*alias",
    "!!python/object/apply:os.system [id]",
    "!tag",
    "%YAML 1.1",
    "@at",
    "`id`",
    "$(id)",
    "${HOME}",
    "${oc.env:HOME}",
    "$HOME; rm -rf ~",
    "a' b",
    'a" b',
    "a\\nb",
    "a\\",
    "one\ntwo",
    "one\r\ntwo\n",
    "\ttab",
    "nul\x00bell\x07escape\x1b[31m",
    "next\x85line",
    "line\u2028separator\u2029paragraph",
    "bom\ufeff",
    "right\u202eto left",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "{# hidden #}",
    "<a href='&amp;'>",
    "</script>",
    "[a, b]",
    "{a: b}",
    "---",
    "...",
    "<<",
    "=",
    "|",
    "> folded",
    "'''",
    '"""',
    "中文 训练",
    "emoji 😀",
    "é́",
    "a" * 300,
    ("word " * 60).strip(),
)


def compiled(
    out: Path,
    files: Mapping[str, str] | None = None,
    *,
    spec: Path | None = None,
    inputs: Sequence[Path] = (),
    overrides: Sequence[str] = (),
    target: str = "sample",
    declared: bool = True,
    executable: Sequence[str] = (),
) -> Compiled:
    """A compilation without a plan; nothing after lowering looks into one."""
    return Compiled(
        target=target,
        plan=cast(Plan, None),
        spec=spec,
        out=out,
        files={"run.yaml": "a: 1\n", "launch.sh": "echo\n"} if files is None else files,
        executable=frozenset(executable),
        inputs=(*([spec] if spec else []), *inputs),
        overrides=tuple(overrides),
        launch="true",
        declared=declared,
    )


def compile_sample(
    source: Any, targets: Sequence[str] | None = None, overrides: Sequence[str] = (), out: Any = None
) -> list[Compiled]:
    """Stands for `api.compile`, with a target that writes down what it was told."""
    loaded = api.load(source, overrides)
    assert loaded.path is not None
    made = []
    for name in targets or loaded.spec.targets:
        folder = Path(out) if out is not None else place.declared(loaded, name)
        made.append(
            compiled(
                folder,
                {
                    "run.yaml": f"model: {loaded.spec.model.id}\ngpus: {loaded.spec.hardware.count}\n",
                    "launch.sh": f"{name} run.yaml\n",
                },
                spec=loaded.path,
                inputs=loaded.sources[1:],
                overrides=loaded.overrides,
                target=name,
                declared=place.is_declared(loaded, name, folder),
                executable=["launch.sh"],
            )
        )
    return made
