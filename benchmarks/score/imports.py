"""How much of what lies about is read by `mfc import`: the frameworks' own examples, and files of users' repositories.

    python -m benchmarks.score.imports [--folder CLONES] [--only WORD] [--list] [--parse]

`imports.yaml` names repositories, commits and files. They are fetched by git, or taken from clones at
CLONES/<owner>/<name>. Every file is imported on a stand-in GPU, and what was read is held to one of OUTCOMES. Where it
is whole and fits, mfc compiles the spec, imports what it wrote, and the two specs have to be equal. With --parse the
framework's own parser reads both (`parsers.py`): LLaMA-Factory's and ms-swift's, in environments of tests/conformance.
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import tarfile
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from mfc import api, emit, imports
from mfc.errors import CannotFit, Fault, MfcError
from mfc.imports import convert
from mfc.target.values import adapted

from benchmarks.score import parsers

if TYPE_CHECKING:
    from mfc.planner.plan import Plan

SOURCES = Path(__file__).with_suffix(".yaml")
HARDWARE = "{gpu: H200, host_memory: 2TiB, nvme: /nvme, interconnect: {inter: 400Gbps}}"
EIGHT = HARDWARE.replace("{gpu", "{count: 8, gpu", 1)  # where a file does not tell how many GPUs it runs on
OUTCOMES = {
    "whole": "read, and no key lost but by the file's own doing",
    "noted": "the same, with notes beside: data sets that are not there, rows of an unknown layout …",
    "elsewhere": "read without loss; mfc writes such a run for other frameworks alone, and plans it for one of them",
    "unheld": "read without loss; mfc does not know the model, so that nothing is held against what it would write",
    "lossy": "a key is lost",
    "unplanned": "read, and mfc says that such a run cannot be",
    "refused": "one line says why it cannot be read",
    "traceback": "a fault",
}
_GOOD = ("whole", "noted", "elsewhere", "unheld")
_APART, _MEGATRON = "apart", "it runs megatron"  # an engine of its own, recognised and refused by name
_HARDWARE_NOTE = "the file does not tell "
_FOLLOWS = "it follows from the rest of the spec"


class Outcome(NamedTuple):
    """What came of one file. `circle` says how the second import differs from the first: empty, and None untried."""

    kind: str
    reasons: tuple[str, ...] = ()
    circle: str | None = None
    pair: parsers.Pair | None = None  # with what mfc wrote for it
    parser: tuple[str, str] = ("", "")  # target and version


class Source(NamedTuple):
    """Files of one repository at one commit. `apart` are patterns of those that are no run of a kind that counts."""

    title: str
    repository: str
    commit: str
    files: Sequence[str]
    apart: Mapping[str, str] = {}
    beside: Sequence[str] = ()  # files that the runs name
    blocks: Sequence[str] = ()  # sources whose docstrings hold commands between fences


def sources() -> list[Source]:
    """What `imports.yaml` names: the frameworks' own, then users' files under one title."""
    said = yaml.safe_load(SOURCES.read_text(encoding="utf-8"))
    own = [Source(title, **one) for title, one in said["frameworks"].items()]
    return [*own, *(Source("users", repository, **one) for repository, one in said["users"].items())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="a folder of git clones, <owner>/<name>")
    parser.add_argument("--only", default="", help="sources whose title has this word")
    parser.add_argument("--list", action="store_true", help="print what came of every file")
    parser.add_argument("--parse", action="store_true", help="let the framework's own parser read both")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found: dict[str, list[tuple[str, Outcome]]] = {}
        for number, source in enumerate(each for each in sources() if said.only in each.title):
            tree = Path(name, str(number))
            fetch(source, said.folder, tree)
            for at, path in enumerate(_files(source, tree)):
                made = outcome(tree / path, Path(name, f"{number}-made", str(at)))
                if made.kind != _APART:
                    found.setdefault(source.title, []).append((f"{source.repository}: {path}", made))
                if said.list:
                    print(f"{made.kind:10} {source.repository}: {path}", *made.reasons, made.circle or "", sep="; ")
        for title, outcomes in found.items():
            print("\n".join(_told(title, [made for _, made in outcomes])))
            if said.parse:
                print("\n".join(_parsed([made for _, made in outcomes])))


def fetch(source: Source, folder: Path | None, tree: Path, host: str = "https://github.com") -> None:
    """The files of a repository at a tag or a whole commit, laid in `tree`; from a clone in `folder`, or by git."""
    tree.mkdir()
    clone = folder / source.repository if folder else tree / ".git"
    commit = source.commit
    if not folder:
        git = ("git", "-C", str(tree))
        subprocess.run([*git, "init", "-q"], check=True)
        subprocess.run([*git, "remote", "add", "origin", f"{host}/{source.repository}"], check=True)
        subprocess.run([*git, "fetch", "-q", "--depth", "1", "--filter=blob:none", "origin", commit], check=True)
        commit = "FETCH_HEAD"
    tops = sorted({pattern.split("/")[0] for pattern in (*source.files, *source.beside, *source.blocks)})
    archive = subprocess.run(
        ["git", "--git-dir", str(clone), "archive", commit, "--", *tops], check=True, capture_output=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as found:
        found.extractall(tree, filter="data")


def _files(source: Source, tree: Path) -> Iterator[str]:
    for pattern in source.files:
        for path in sorted(tree.glob(pattern)):
            name = path.relative_to(tree).as_posix()
            if path.is_file() and not any(fnmatch(name, each) for each in source.apart):
                yield name
    for path in sorted(found for pattern in source.blocks for found in tree.glob(pattern)):
        for number, block in enumerate(_BLOCK.findall(path.read_text(encoding="utf-8"))):
            script = path.with_suffix(f".{number}.sh")
            script.write_text(block, encoding="utf-8")
            yield script.relative_to(tree).as_posix()


_BLOCK = re.compile(r"```(?:bash|sh|shell)?\n(.*?)```", re.DOTALL)


def outcome(path: Path, into: Path) -> Outcome:
    """What import makes of one file, and of what mfc writes for it, in the folder `into`."""
    try:
        one = imports.read(str(path), None, HARDWARE, path.parent)
        if any("how many GPUs" in note for note in one.notes) or "GPU cannot form groups" in one.refused:
            other = imports.read(str(path), None, EIGHT, path.parent)
            one = other if other.plan else one
    except Fault as error:
        return Outcome("traceback", (str(error),))
    except MfcError as error:
        return Outcome(_APART if _MEGATRON in str(error) else "refused", (_short(error),))
    except Exception:
        return Outcome("traceback", (traceback.format_exc(limit=-2),))
    if one.plan is None and _known(one):
        if not any(map(_lost, one.rows)) and (place := _elsewhere(one)):
            return Outcome("elsewhere", (f"{_short(MfcError(one.refused))}: planned for {place}",))
        return Outcome("unplanned", (one.refused.partition("error: ")[2] or one.refused,))
    if lost := tuple(f"{row.key}: {row.why}" for row in one.rows if _lost(row)):
        return Outcome("lossy", lost)
    if one.plan is None:
        return Outcome("unheld", (one.refused.partition("error: ")[2] or "names no model",))
    notes = tuple(note for note in one.notes if not note.startswith(_HARDWARE_NOTE))
    circle, start = _circle(one, into)
    pair = parsers.Pair(path.name, path, start, one.plan.problem.hardware.world_size) if start else None
    return Outcome("noted" if notes else "whole", notes, circle, pair, (one.target, one.version))


def _elsewhere(one: imports.Imported) -> str:
    """A framework that a refusal names and for which the same spec is planned; empty where there is none."""
    able = re.search(r"targets that can: (.+)", one.refused)
    sets = {**one.spec.get("data", {}), "train": one.spec.get("data", {}).get("train") or [{"path": "train.jsonl"}]}
    for name in able[1].split(", ") if able else ():
        try:
            made = convert.convert(one._replace(spec={**one.spec, "data": sets}), name)
        except MfcError:
            continue
        if not made.loosened:
            return name
    return ""


def _known(one: imports.Imported) -> bool:
    """Whether mfc knows the model of a run, if the file names one."""
    return "model" in one.spec and "is not in the catalogue" not in one.refused


# Keys that change nothing of what is trained: what is reported, how checkpoints are split, how layers are computed
# again, how memory is handed out, and tf32, which is of what autocast leaves in fp32.
_BESIDE = (
    *("report_to", "run_name", "logging_dir", "disable_tqdm", "tf32", "fsdp_config.state_dict_type"),
    *(
        "PYTORCH_CUDA_ALLOC_CONF",
        "gradient_checkpointing_kwargs.use_reentrant",
        "fsdp_config.cpu_ram_efficient_loading",
    ),
)


def _lost(row: imports.Row) -> bool:
    return row.status == "dropped" and not row.cause and row.why != _FOLLOWS and row.key not in _BESIDE


def _circle(one: imports.Imported, into: Path) -> tuple[str | None, Path | None]:
    """How the import of what mfc writes for a spec differs from it, and its script; None where it does not fit."""
    spec = {**one.spec, "data": {"train": [{"path": "train.jsonl"}], **one.spec.get("data", {})}}
    path = Path(into, *"deeper", "run.yaml")  # so that no path above it ends at the root
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(_plain(spec), sort_keys=False), encoding="utf-8")
    try:
        (made,) = api.compile(path, [one.target])
        emit.write(made, True)
        start = made.out / Path(made.launch.split()[-1]).name
        back = imports.read(str(start), None, yaml.safe_dump(_plain(spec["hardware"]), width=10**6), path.parent)
    except CannotFit:
        return None, None
    except MfcError as error:
        return f"refused: {_short(error)}", None
    if back.plan is None:
        return f"refused: {back.refused}", start
    before, after = _whole(one.plan, spec), _whole(back.plan, back.spec)
    unlike = (f"{name}: {said} → {after.get(name)}" for name, said in before.items() if said != after.get(name))
    return "; ".join(unlike), start


def _parsed(found: Sequence[Outcome]) -> Iterator[str]:
    """What the frameworks' own parsers make of the files and of mfc's."""
    for target, version in dict.fromkeys(one.parser for one in found if one.pair and one.parser[0] in parsers.DRIVERS):
        pairs = [one.pair for one in found if one.pair and one.parser == (target, version)]
        every = parsers.verdicts(target, version, pairs)
        held = [one for one in every if not one.original]
        equal = sum(not one.refused and not one.differs for one in held)
        yield f"  {target} {version}: {equal} of {len(held)} accepted and equal; {len(pairs)} pairs, {len(every)} asked"
        yield from (f"  {one.name}: the file itself: {one.original}" for one in every if one.original)
        yield from (
            f"  {one.name}: {one.refused or '; '.join(one.differs)}" for one in held if one.refused or one.differs
        )


def _whole(plan: Plan | None, spec: Mapping[str, Any]) -> dict[str, str]:
    """All that a run does, as text."""
    places = ("path", "hub", "subset", "split", "samples", "weight")  # what no note leaves open
    sets = [{key: one[key] for key in places if key in one} for one in _plain(spec["data"]["train"])]
    decided = {name: _text(decision.value) for name, decision in plan.decisions.items()} if plan else {}
    if plan and plan.strategy.lora:  # all linears by their group, or by their names
        decided = {**decided, "lora": "", "lora_targets": ",".join(sorted(adapted(plan)))}
    return {**decided, "data.train": str([sorted(one.items()) for one in sets])}


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _plain(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _plain(value) for key, value in tree.items()}
    return [_plain(each) for each in tree] if isinstance(tree, list | tuple) else tree


def _short(error: Exception) -> str:
    return str(error).partition("error: ")[2].partition("\n")[0] or str(error)


def _told(title: str, found: list[Outcome]) -> Iterator[str]:
    kinds = Counter(one.kind for one in found)
    good = sum(kinds[kind] for kind in _GOOD)
    yield f"{title}: {len(found)} files, {good / len(found):.1%} without loss; " + ", ".join(
        f"{kind} {kinds[kind]}" for kind in OUTCOMES
    )
    tried = [one.circle for one in found if one.circle is not None]
    if tried:
        yield f"  round trip: {sum(not one for one in tried)} of {len(tried)} equal"
    for kind in [*OUTCOMES][1:]:
        told = Counter(_kind(reason) for one in found if one.kind == kind for reason in dict.fromkeys(one.reasons))
        yield from (f"  {kind} {number:4}  {reason}" for reason, number in told.most_common())
    told = Counter(_kind(each) for circle in tried if circle for each in circle.split("; "))
    yield from (f"  differs {number:4}  {reason}" for reason, number in told.most_common())


def _kind(reason: str) -> str:
    """A reason without what only one file says."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|[\w.-]*/[\w./-]*|\d[\d,.e-]*", "…", reason.strip().replace("\n", " "))[:160]


if __name__ == "__main__":
    main()
