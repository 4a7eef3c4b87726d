"""The layers of the core: a module imports from its own layer or from below, and nothing goes in a circle.

Every import counts, also those inside functions and those that only type checkers see.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent / "compiler" / "mfc"

# From the ground up. A layer is a few packages and modules that know of each other's layer and of those before it.
LAYERS = (
    ("_version", "cores", "errors", "files", "lengths", "strategy", "versions"),
    ("fields",),
    ("spec", "beside", "rows"),
    ("catalog",),
    ("runtimes",),
    ("memory",),
    ("profile", "problem"),
    ("resolve", "speed", "simulate"),
    ("rules",),
    ("planner",),
    ("target",),
    ("emit", "calibration", "plans"),
    ("launchers", "probe", "report"),
    ("api",),
    # "" is the package itself, which hands on the names of `api`.
    ("", "check", "data", "imports", "machine", "page", "size"),
    ("lint", "diff", "ui"),
    ("cli", "__main__"),
)
FLOOR = {name: floor for floor, names in enumerate(LAYERS) for name in names}
# Packages that lie beside the core: data, and the targets that the registry loads by name.
BESIDE = ("schemas", "targets")


@cache
def modules() -> dict[str, Path]:
    """Dotted name -> file, of every module of the core; the package itself is empty."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(module: str) -> frozenset[str]:
    """The modules of the core that one imports."""
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    return frozenset(name for node in ast.walk(tree) for name in _named(node)) - {module}


def _named(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield from _known(alias.name)
    elif isinstance(node, ast.ImportFrom):
        assert not node.level, "the core imports by whole names"
        for alias in node.names:
            yield from _known(f"{node.module}.{alias.name}") or _known(str(node.module))


def _known(name: str) -> list[str]:
    head, _, rest = name.partition(".")
    return [rest] if head == "mfc" and rest in modules() else []


def top(module: str) -> str:
    return module.partition(".")[0]


# Modules that open files by themselves: mfc's own data, what the system tells, rows that are streamed, what is written.
OPENING = {
    "catalog.gpus", "catalog.models", "catalog.modelscope", "cli.options", "cli.schema", "data.lines", "emit.writing",
    "launchers.skypilot", "launchers.slurm", "machine.host", "probe.files", "probe.meter", "probe.runner",
    "target.contracts", "target.liger", "check.memo", "page.words", "ui.state",
}  # fmt: skip


def test_files_of_others_are_read_by_one_function() -> None:
    """`mfc.files` waits for no pipe and takes no file without end."""
    opening = {module for module, call in _calls() if call in ("open", "read_text", "read_bytes", "fdopen")}
    assert opening - {"files"} <= OPENING


def test_whether_something_is_there_is_asked_without_raising() -> None:
    """Methods of `Path` raise for names that are too long, functions of `os.path` say that nothing is there."""
    asking = {"exists", "is_file", "is_dir", "is_symlink", "samefile"}
    assert {module for module, call in _calls() if call in asking} <= {"check.memo"}  # entries of a listed folder


def _calls() -> Iterator[tuple[str, str]]:
    """Module and name of every function or method that is called, but those of `os.path`."""
    for module, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and not ast.unparse(node.func).startswith("os.path."):
                yield module, ast.unparse(node.func).rpartition(".")[2]


def test_every_part_has_a_layer() -> None:
    assert {top(module) for module in modules()} == FLOOR.keys()


def test_nothing_imports_from_above() -> None:
    climbs = [
        f"{module} -> {other}"
        for module in modules()
        for other in imports(module)
        if FLOOR[top(other)] > FLOOR[top(module)]
    ]
    assert climbs == []


def test_nothing_goes_in_a_circle() -> None:
    done: set[str] = set()

    def walk(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above[above.index(module) :], module))
        if module not in done:
            for other in sorted(imports(module)):
                walk(other, (*above, module))
            done.add(module)

    for module in modules():
        walk(module, ())


def test_packages_of_one_layer_do_not_go_in_a_circle() -> None:
    for names in LAYERS:
        arrows = {(top(module), top(other)) for module in modules() for other in imports(module)}
        assert not {
            (one, other) for one, other in arrows if one != other and {one, other} <= {*names} if (other, one) in arrows
        }
