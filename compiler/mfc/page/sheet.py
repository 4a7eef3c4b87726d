"""What a page shows of each plan, gathered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from mfc import api
from mfc.errors import CannotFit, MfcError, SpecError
from mfc.plans import attempt
from mfc.report.bill import Bill, bills
from mfc.report.moments import moments

if TYPE_CHECKING:
    from mfc.emit.compiled import Compiled
    from mfc.planner.frontier import Survey
    from mfc.planner.plan import Plan
    from mfc.spec.load import LoadedSpec


class Sheet(NamedTuple):
    """One plan of one spec. It may fit and still be refused: by what its target cannot write."""

    spec: str
    plan: Plan
    bill: Bill
    survey: Survey
    moments: Mapping[str, Mapping[str, int]]
    compiled: Compiled | None  # None where nothing fits, the spec names no data, or `refused` says why
    refused: MfcError | None

    @property
    def exit_code(self) -> int:
        """That of `mfc plan`."""
        if not self.plan.fits:
            return CannotFit.exit_code
        return self.refused.exit_code if self.refused else 0


class Refused(NamedTuple):
    """A spec, or one target of it, for which there is no plan."""

    spec: str
    target: str  # empty: the spec is wrong whatever the target
    error: MfcError

    @property
    def exit_code(self) -> int:
        """That of the error."""
        return self.error.exit_code


def sheets(loaded: LoadedSpec, targets: Sequence[str] = ()) -> list[Sheet | Refused]:
    """A sheet for each target (default: those that `mfc plan` takes), or why there is none.

    Raises SpecError for what no target can mend.
    """
    names = list(targets) or api.planned_for(loaded)
    elsewhere: MfcError | None = None
    try:
        made = api.plan_each(loaded, names, hub_cache=False)
    except SpecError as error:  # plans may rest on the cache of a hub; what is compiled may not
        elsewhere, made = error, api.plan_each(loaded, names)
    plans = [plan for plan in made if not isinstance(plan, MfcError)]
    bill_of = dict(zip((plan.profile.target for plan in plans), bills(plans, loaded), strict=True))
    return [
        Refused(loaded.name, name, plan)
        if isinstance(plan, MfcError)
        else _sheet(loaded, plan, bill_of[plan.profile.target], elsewhere)
        for name, plan in zip(names, made, strict=True)
    ]


def _sheet(loaded: LoadedSpec, plan: Plan, bill: Bill, elsewhere: MfcError | None) -> Sheet:
    compiled, refused = None, elsewhere
    if plan.fits and not elsewhere:
        done = attempt(partial(_written, loaded, plan))
        if isinstance(done, MfcError):
            refused = done
        else:
            plan, compiled = done
    return Sheet(loaded.name, plan, bill, api.survey(plan), moments(plan), compiled, refused)


def _written(loaded: LoadedSpec, plan: Plan) -> tuple[Plan, Compiled | None]:
    """The plan as its target writes it, and its files where the spec names data. Raises as compiling does."""
    if not loaded.spec.data.train:
        return api.writable(loaded, plan), None
    compiled = api.outputs(loaded, plan)
    return compiled.plan, compiled
