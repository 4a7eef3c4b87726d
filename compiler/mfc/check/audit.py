"""The work of `mfc check`: every spec that asks for outputs, and every output, held against each other."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from mfc import cores
from mfc.check import discover, memo
from mfc.emit import drift, manifest, place
from mfc.emit.drift import Finding
from mfc.errors import MfcError, SpecError

if TYPE_CHECKING:
    from mfc.emit.compiled import Compiled
    from mfc.emit.manifest import Manifest
    from mfc.spec.load import LoadedSpec


@dataclass(frozen=True, slots=True)
class Drifted:
    """The findings in one output folder, and the command that mends them (empty: delete what is orphaned)."""

    spec: Path
    target: str
    findings: tuple[Finding, ...]
    mend: str = ""


@dataclass(slots=True)
class Audit:
    """What a check found. `checked` counts specs."""

    drifted: list[Drifted] = field(default_factory=list)
    errors: list[tuple[str, MfcError]] = field(default_factory=list)  # spec, what is wrong with it
    checked: int = 0

    @property
    def exit_code(self) -> int:
        """1 for drift, or that of the worst error."""
        return max([error.exit_code for _, error in self.errors] + [1] * bool(self.drifted), default=0)


def audit(arguments: Sequence[str], use_memo: bool, tracked: bool = False) -> Audit:
    """Check the specs named, or all that the current folder holds; `tracked`: git has to have their outputs too."""
    specs, outputs = discover.scope(arguments)
    who = memo.identity() if use_memo else None
    started, result = time.time_ns(), Audit(checked=len(specs))
    bases: dict[str, Collection[str]] = {}  # file that a spec builds on -> all inputs of that spec
    asked = [(spec, outputs.get(spec, [])) for spec in specs]
    checked = cores.each(partial(_one, bool(arguments), who), asked, itemgetter(0), "checking")
    for spec, (inputs, found) in zip(specs, checked, strict=True):
        result.drifted += found.drifted
        result.errors += found.errors
        bases.update(dict.fromkeys(set(inputs) - {spec}, inputs))
    if not arguments:
        # A base need not be a whole spec: what is wrong with it alone is no fault.
        for spec in {spec for spec, _ in result.errors} & bases.keys():
            result.errors = [(other, error) for other, error in result.errors if other != spec]
            if who:
                memo.save(spec, who, bases[spec], (), {}, started)
    seen = {finding.path for drifted in result.drifted for finding in drifted.findings}
    for spec, folders in outputs.items():
        for folder in folders if spec not in specs else ():
            orphaned = _orphaned(folder)
            if not seen.intersection(finding.path for finding in orphaned.findings):
                result.drifted.append(orphaned)
    if tracked:
        result.drifted += uncommitted({spec: outputs.get(spec, ()) for spec in specs})
    return result


def _one(named: bool, who: str | None, asked: tuple[str, Collection[str]]) -> tuple[Collection[str], Audit]:
    """The inputs of one spec with its output folders, and what is wrong there."""
    spec, folders = asked
    found = Audit()
    known = memo.recall(spec, folders, who, named) if who else None
    return _Check(spec, folders, named, who).run(found) if known is None else known, found


def _orphaned(folder: str) -> Drifted:
    """Outputs whose spec is gone, or whose manifest does not tell it."""
    try:
        recorded = manifest.read(folder)
    except manifest.Broken as error:
        return Drifted(Path(), "", (Finding(shown(folder) / manifest.NAME, "edited", str(error)),))
    if recorded is None or not recorded.spec:
        return Drifted(Path(), "", (Finding(shown(folder) / manifest.NAME, "orphaned", "made from no file"),))
    spec = shown(recorded.spec_from(folder))
    return Drifted(spec, recorded.target, tuple(drift.orphans(shown(folder), recorded, f"{spec} is gone")))


class _Check:
    """One spec against its outputs, and what to remember when all is clean."""

    def __init__(self, spec: str, folders: Collection[str], named: bool, who: str | None) -> None:
        self.spec, self.folders, self.named, self.who = spec, folders, named, who
        self.started = time.time_ns()
        self.inputs, self.absent = set[str](), set[str]()
        self.outputs: dict[str, dict[str, str]] = {}
        self.found: list[Drifted] = []

    def run(self, result: Audit) -> set[str]:
        """Add what is wrong to the result. Returns the inputs, none when the spec does not load."""
        from mfc import api

        errors = []
        try:
            loaded = api.load(shown(self.spec))
            errors = list(self._all(loaded))
        except MfcError as error:
            result.errors.append((self.spec, error))
            return set()
        self.inputs.update(map(discover.absolute, loaded.sources))
        self._measured(loaded)
        result.errors += [(self.spec, error) for error in errors]
        result.drifted += self.found
        if self.who and not errors and not self.found:
            memo.save(self.spec, self.who, self.inputs, self.absent, self.outputs, self.started)
        return self.inputs

    def _measured(self, loaded: LoadedSpec) -> None:
        """Whether the data is that on which the spec's lengths were measured."""
        if loaded.spec.data.lengths is None:
            return
        from mfc.data.moved import moved

        self.who = None  # the memo would not notice that the data has changed
        if note := moved(loaded):
            found = Finding(shown(self.spec), "stale", note)
            mend = shlex.join(["mfc", "data", os.fspath(shown(self.spec)), "--write"])
            self.found.append(Drifted(shown(self.spec), "", (found,), mend))

    def _all(self, loaded: LoadedSpec) -> Iterator[MfcError]:
        """Check each target that the spec names, then each other folder that was made from it."""
        from mfc import api

        if self.named and not loaded.spec.targets and not self.folders:
            yield SpecError(f"{loaded.name}: error: it names no targets, and nothing was compiled from it yet")
        done = set()
        for name in loaded.spec.targets:
            try:
                out = place.declared(loaded, name)
                done.add(os.path.realpath(out))
                self._compare(self._compile(loaded, name, out))
            except MfcError as error:
                yield error
        for folder in sorted({os.path.realpath(folder) for folder in self.folders} - done):
            recorded = _recorded(Path(folder))
            if recorded is None:
                continue
            if recorded.declared:
                why = f"{loaded.name} no longer asks for it here"
                self.found.append(
                    Drifted(shown(self.spec), recorded.target, tuple(drift.orphans(shown(folder), recorded, why)))
                )
                continue
            try:
                source = api.load(shown(self.spec), recorded.overrides)
                self._compare(*api.compile(source, [recorded.target], out=shown(folder)))
            except MfcError as error:
                yield error

    def _compile(self, loaded: LoadedSpec, name: str, out: Path) -> Compiled:
        """One target into its declared folder, with the overrides that the outputs there were made with."""
        from mfc import api

        return api.compile(as_recorded(loaded, name, out), [name], out=out)[0]

    def _compare(self, compiled: Compiled) -> None:
        folder = os.path.realpath(compiled.out)
        if not os.path.exists(os.path.join(folder, manifest.NAME)) and discover.ignored(folder):
            self.who = None  # left out because git ignores it, which the memo would not notice
            return
        if compiled.by_folders:
            self.who = None  # the memo would not notice that one has gone
        seen = self.outputs.setdefault(folder, {})
        findings = drift.compare(compiled, lambda path, content: seen.update({path: memo.state(folder, path, content)}))
        if left := manifest.leftovers(folder):
            notes = [Finding(compiled.out / name, "orphaned", "left by a write that was cut short") for name in left]
            self.found.append(Drifted(shown(self.spec), compiled.target, tuple(notes)))
        self.inputs.update(map(discover.absolute, compiled.inputs))
        self.absent.update(map(discover.absolute, compiled.probes))
        if findings:
            self.found.append(Drifted(shown(self.spec), compiled.target, tuple(findings), _mend(compiled)))


def as_recorded(loaded: LoadedSpec, target: str, out: Path) -> LoadedSpec:
    """The spec with the overrides that its outputs in a folder were made with, where it has none of its own."""
    from mfc import api

    recorded = _recorded(out)
    if loaded.overrides or loaded.path is None or recorded is None or not recorded.overrides:
        return loaded
    same = (recorded.target, recorded.spec_from(os.fspath(out))) == (target, discover.absolute(loaded.path))
    return api.load(loaded.path, recorded.overrides) if same else loaded


def uncommitted(outputs: Mapping[str, Collection[str]]) -> list[Drifted]:
    """Outputs that git does not have, of specs that it has."""
    untracked = discover.untracked()
    found = []
    for spec, folders in outputs.items():
        for folder in folders if spec and spec not in untracked else ():
            recorded = _recorded(Path(folder))
            files = [os.path.join(folder, name) for name in (*recorded.files, manifest.NAME)] if recorded else []
            if recorded and (new := [Finding(shown(file), "uncommitted") for file in files if file in untracked]):
                found.append(
                    Drifted(shown(spec), recorded.target, tuple(new), shlex.join(["git", "add", str(shown(folder))]))
                )
    return found


def shown(path: str | os.PathLike[str]) -> Path:
    """A path as a person in the current folder would write it."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # another drive on Windows
        return Path(path)
    return Path(path) if relative.startswith(os.path.join("..", "..", "")) else Path(relative)


def _recorded(folder: Path) -> Manifest | None:
    try:
        return manifest.read(folder)
    except manifest.Broken:
        return None  # the comparison says what is wrong with it


def _mend(compiled: Compiled) -> str:
    words = ["mfc", "compile", os.fspath(compiled.spec or "")]
    if not compiled.declared:
        words += ["--target", compiled.target, "-o", os.fspath(compiled.out)]
    for override in compiled.overrides:
        words += ["--set", override]
    return shlex.join(words)
