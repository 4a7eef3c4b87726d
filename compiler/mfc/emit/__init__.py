r"""From lowered data to files, and from files back to the question whether they are still true.

    Lowered --produce--> {path: text} --(api)--> Compiled --write--> files and .mfc.json
                                                     \--compare--> verdicts: clean, stale, edited, missing, orphaned

`check` says what compiling would refuse, so that a plan says it too. `produce` checks each file, also against its
contract, then renders it; nothing is written before all of it has passed.
`write` stages every file, renames them into place one by one, the manifest last. `compare` looks at what lies in the
folder. What `mfc check` needs when nothing has changed (`discover`, `memo`, `manifest`) imports neither the spec
language nor a template engine; the rest is imported by the function that needs it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from mfc.errors import Fault, SpecError

if TYPE_CHECKING:
    from mfc.emit.compiled import Compiled
    from mfc.emit.drift import Finding
    from mfc.emit.writing import WriteReport
    from mfc.planner.plan import Plan
    from mfc.spec.load import LoadedSpec
    from mfc.spec.models import TargetSpec
    from mfc.target import Target
    from mfc.target.outputs import Lowered


def check_extra(target: Target, settings: TargetSpec, loaded: LoadedSpec, plan: Plan) -> tuple[Mapping[str, Any], bool]:
    """The user's native keys for a target, and whether the memory bound still counts everything; see `emit.extra`."""
    from mfc.emit import extra

    return extra.check(target, settings, loaded, plan)


def check(lowered: Lowered, plan: Plan, target: Target, loaded: LoadedSpec) -> None:
    """Check what one target would write, as far as its user may have to mend it: all but faults of mfc's own.

    Raises SpecError when a key under `extra` is wrong, Refused when it clashes with the plan, CannotExpress when the
    target cannot say what the spec says, and Fault when no file says what the plan decides.
    """
    from mfc.emit import carried
    from mfc.target import clashes

    carried.check(lowered, plan, target)
    for file in lowered.files:
        clashes.refuse(target.CLASHES, plan, file.said.data if file.said else {})
    if (settings := plan.problem.spec.targets.get(target.NAME)) and settings.extra:
        _hold_to_contract(lowered, plan, target, loaded)


def produce(lowered: Lowered, plan: Plan, target: Target, loaded: LoadedSpec) -> dict[str, str]:
    """Check all files of one target, against their contracts too, and render them. Raises what `check` raises."""
    from mfc.emit import render
    from mfc.emit.quote import Unwritable

    check(lowered, plan, target, loaded)
    _hold_to_contract(lowered, plan, target, loaded)
    source = loaded.path.name if loaded.path else "a spec"
    try:
        return {file.path: render.render(file, plan, file.folder or target.folder, source) for file in lowered.files}
    except Unwritable as error:
        settings = plan.problem.spec.targets.get(target.NAME)
        if settings and (settings.extra or settings.extra_unchecked):
            section = "extra" if settings.extra else "extra_unchecked"
            raise loaded.error(f"targets.{target.NAME}.{section}", f"{error}: take it out") from None
        raise Fault(f"error: target {target.NAME}: {error}") from error


def _hold_to_contract(lowered: Lowered, plan: Plan, target: Target, loaded: LoadedSpec) -> None:
    from mfc.emit import contract
    from mfc.emit.extra import instead

    settings = plan.problem.spec.targets.get(target.NAME)
    extra, unchecked = (settings.extra, settings.extra_unchecked) if settings else ({}, {})

    keys = [key for file in lowered.files if file.said for key in file.said.keys]
    variables = {key.name.lower(): key.fields for key in keys if key.name.isupper()}

    def blame(key: str, text: str, names: Collection[str]) -> SpecError:
        name, word = f"targets.{target.NAME}.extra.{key}", key.rpartition(".")[2]
        if fields := variables.get(key.lower()):  # the name of a variable of the environment, in either case
            return loaded.error(
                name, f"{key} is written by mfc, as a variable of the environment", hint=instead(fields)
            )
        return loaded.error(name, f"{key}: {text}", among=tuple(names), word=word)

    for file in lowered.files:
        contract.check(file, extra, unchecked, blame)


def write(compiled: Compiled, force: bool = False) -> WriteReport:
    """Write one target's files.

    Raises FileInTheWay, with nothing written, when a file that mfc did not write or that was edited by hand stands in
    the way and `force` is off.
    """
    from mfc.emit import writing

    return writing.commit(writing.prepare(compiled, force))


def compare(compiled: Compiled) -> list[Finding]:
    """What differs between the files in the output folder and what the spec gives now; empty when all is clean."""
    from mfc.emit import drift

    return drift.compare(compiled)
