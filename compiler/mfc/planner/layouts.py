"""Where GRPO and PPO generate: every split of the GPUs between training and generation, planned whole and compared.

A layout is a problem of its own whose hardware is what training keeps, so nothing else of the planner knows of it.
Tasks that generate nothing have one layout, the problem itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from mfc.errors import CannotExpress, Refused
from mfc.fields import ROLLOUTS, simplicity
from mfc.memory.engine import engine
from mfc.memory.rollout import Share
from mfc.planner.costing import Candidate
from mfc.planner.plan import Alternative, Decision
from mfc.planner.refusal import NOTHING, refusal
from mfc.planner.search import Outcome
from mfc.problem import Problem, Split
from mfc.profile import Profile
from mfc.rules.sharing import share_of
from mfc.rules.words import gpus
from mfc.speed import Speed
from mfc.speed.rollout import Generation, generation
from mfc.strategy import RolloutMode


class Planned(NamedTuple):
    """One layout with what the search found in it. `share` and `generated` tell of rollouts: None without them."""

    problem: Problem
    profile: Profile
    outcome: Outcome
    share: Share | None = None
    generated: Generation | None = None

    @property
    def seconds(self) -> float:
        """Seconds per optimizer step, generation included."""
        best = self.outcome.best
        return (best.seconds_per_step if best else 0.0) + (self.generated.seconds if self.generated else 0.0)

    @property
    def whole(self) -> Candidate | None:
        """The winner with its rollouts: their time, and their memory where they share the GPUs that train."""
        found = self.outcome.best
        if found is None or self.share is None:
            return found
        upper = max(found.upper_bytes, self.share.peak_bytes if self.share.stepping_bytes else self.share.handing_bytes)
        return found._replace(seconds_per_step=self.seconds, upper_bytes=upper)


def layouts(problem: Problem, profile: Profile) -> tuple[Problem, ...]:
    """Every way to lay a problem over its GPUs.

    Raises CannotExpress when the target has no way to generate as the spec asks, Refused when the GPUs cannot be
    split so.
    """
    task = problem.spec.train.task
    if task not in ROLLOUTS or task not in profile.can("task"):
        return (problem,)
    known = profile.can(f"{task}_rollout")
    wanted = _wanted(problem, known)
    modes = [mode for mode in wanted if mode in known]
    if not modes:
        raise CannotExpress(
            f"{profile.target} {profile.version} has no {' or '.join(wanted)} rollouts for task {task}; "
            f"it knows {' and '.join(known)}"
        )
    problem = _measured(problem)
    found: list[Problem] = []
    for mode in modes:
        if problem.spec.train.rollout.server.host != "none":
            found.append(problem._replace(split=Split("server", 0)))
        elif mode == "server":
            found += [_served(problem, number) for number in _kept(problem)]
        else:
            found.append(problem._replace(split=Split(mode, problem.hardware.world_size)))
    if not found:
        raise Refused(
            "train.rollout.gpus",
            f"train.rollout.mode server keeps GPUs for vLLM alone: {gpus(problem.hardware.world_size)} on "
            f"{problem.hardware.nodes} node(s) cannot be split so; of several nodes it takes whole ones",
        )
    return tuple(found)


def best(planned: list[Planned]) -> Planned:
    """The layout to take: one that fits, with the most faithful method, in the least time an answer."""

    def order(one: Planned) -> tuple[Any, ...]:
        found = one.outcome.best
        if found is None:
            return (2,)
        env = found.env
        faithful = (simplicity("method", env["method"]), -env["lora_rank"], -env["max_length"])
        time = one.seconds / env["batch_size"]  # left open, the batch follows from the GPUs that train
        return (0 if found.fits else 1, faithful, simplicity("optimizer", env["optimizer"]), time, found.upper_bytes)

    return min(planned, key=order)


def plan_all(problem: Problem, profile: Profile, search: Callable[[Problem], Outcome]) -> list[Planned]:
    """Every layout with the outcome of its search."""
    planned = []
    for layout in layouts(problem, profile):
        outcome = search(layout)
        found = outcome.best
        if found is None or layout.split is None:
            planned.append(Planned(layout, profile, outcome))
            continue
        share = shared(layout, found)
        planned.append(Planned(layout, profile, outcome, share, timed(layout, found, share)))
    return planned


def shared(problem: Problem, candidate: Candidate) -> Share:
    """How a candidate shares the cards with its rollouts."""
    env = candidate.env
    return share_of(
        problem,
        env["profile"],
        batch_size=env["batch_size"],
        max_length=env["max_length"],
        max_prompt_length=env["max_prompt_length"],
        quantization=env["quantization"],
        upper_bytes=env["upper_bytes"],
        between=env["between"],
        host_bytes=env["host_bytes"],
        budget_bytes=env["budget_bytes"],
    )


def timed(problem: Problem, candidate: Candidate, share: Share) -> Generation:
    """The time of the rollouts of a candidate in its layout."""
    env, hardware = candidate.env, problem.hardware
    if problem.split is None or problem.split.outside:  # nobody knows how fast other hardware is
        return Generation(0.0, {})
    made = engine(problem.model.architecture, env["max_length"], share.sequences, share.tensor_parallel)
    crosses = hardware.gpus_per_node % share.tensor_parallel != 0
    return generation(
        problem.model.architecture,
        hardware.gpu,
        hardware.inter if crosses and hardware.inter else hardware.intra,
        made,
        share,
        env["max_completion_length"],
        env["num_generations"] or 1,
        env["between"].host,
        env["iterations"] or 1,
    )


def with_rollouts(speed: Speed, generated: Generation | None) -> Speed:
    """The speed of a step that also generates its answers."""
    if generated is None:
        return speed
    seconds = speed.seconds_per_step + generated.seconds
    return Speed(
        seconds,
        speed.tokens_per_second * speed.seconds_per_step / seconds,
        "generation" if generated.seconds > speed.seconds_per_step else speed.bound_by,
        {**speed.parts, **generated.parts},
    )


def decisions(made: dict[str, Decision], chosen: Planned, planned: list[Planned]) -> dict[str, Decision]:
    """Decisions with the comparison of layouts in place."""
    split = chosen.problem.split
    if split is None:
        return made
    mode, told = made["rollout_mode"], comparison(chosen, planned)
    gist = mode.because if mode.pinned else _gist(chosen, planned)
    told = f"{gist}; {told}" if mode.pinned else told
    made = {**made, "rollout_mode": mode._replace(because=told, gist=gist)}
    length = made["max_length"]
    if length.rule == "default":
        told = f"{made['max_prompt_length'].value} tokens of prompt and {made['max_completion_length'].value} of answer"
        made["max_length"] = length._replace(rule="rollout/prompt-and-answer-fit", because=told)
    return made


def _gist(chosen: Planned, planned: list[Planned]) -> str:
    """What the choice of the layout was about, in words that last."""
    if chosen.outcome.best is not None and not chosen.outcome.best.fits:
        return "nothing fits: this comes nearest"
    fitting = [one for one in planned if one.outcome.best is not None and one.outcome.best.fits]
    return "the best of the layouts that fit" if len(fitting) > 1 else "the only layout that is possible"


def comparison(chosen: Planned, planned: list[Planned]) -> str:
    """Why this layout, with what each of the others would cost."""
    others = [_told(one) for one in planned if one is not chosen]
    if not others:
        return f"{_told(chosen)}: the only layout that is possible"
    return f"{_told(chosen)}; {'; '.join(others)}"


def alternatives(chosen: Planned, planned: list[Planned]) -> tuple[Alternative, ...]:
    """The layouts that lost."""
    made = []
    for one in planned:
        found = one.whole
        if one is chosen or found is None or one.problem.split is None:
            continue
        changes = {"rollout_mode": one.problem.split.mode, "rollout_gpus": one.problem.split.gpus}
        why = "slower" if found.refused is None else found.refused[1]
        made.append(Alternative(changes, int(found.upper_bytes), found.seconds_per_step, found.fits, why))
    return tuple(made)


def beside_rollouts(chosen: Planned, found: tuple[Alternative, ...]) -> tuple[Alternative, ...]:
    """Strategies that lost in the chosen layout, with its rollouts: their time, and their memory on GPUs that train."""
    share, best = chosen.share, chosen.outcome.best
    if share is None or best is None:
        return found
    made = chosen.generated.seconds if chosen.generated else 0.0
    kept = max(share.stepping_bytes - int(best.upper_bytes), 0)  # what the engine keeps while training steps
    least = max(share.handing_bytes, share.generating_bytes if share.stepping_bytes else 0)
    return tuple(
        one._replace(upper_bytes=max(one.upper_bytes + kept, least), seconds_per_step=one.seconds_per_step + made)
        for one in found
    )


def _told(one: Planned) -> str:
    found, split = one.outcome.best, one.problem.split
    assert split is not None
    if split.outside:
        where = "a server on other hardware"
    elif split.mode == "server":
        where = f"server on {split.gpus} of {split.gpus + one.problem.hardware.world_size} GPUs"
    else:
        where = f"{split.mode} on {gpus(split.gpus)}"
    if found is None:
        why = str(refusal(one.problem, one.profile, one.outcome.rejections))
        return f"{where} cannot be: {why.removeprefix(NOTHING)}"
    if found.refused is not None:
        return f"{where} does not fit: {found.refused[1]}"
    made = one.generated.seconds if one.generated else 0.0
    time = f"{one.seconds:.3g} s for {found.env['batch_size']} answers"
    return f"{where}: {time} ({made:.3g} generating, {found.seconds_per_step:.3g} training)"


def _wanted(problem: Problem, known: tuple[Any, ...]) -> tuple[RolloutMode, ...]:
    asked = problem.spec.train.rollout
    if asked.engine == "native":
        return ("native",)
    if asked.gpus != "auto" or asked.server.host != "none":
        return ("server",)
    if asked.mode != "auto":
        return (asked.mode,)
    # Generation by the trainer is many times slower: only where nothing else is known, or asked for.
    if asked.engine == "auto" and "colocate" not in known and "server" not in known:
        return ("native",)
    return ("colocate", "server") if problem.hardware.world_size > 1 else ("colocate",)


def _kept(problem: Problem) -> tuple[int, ...]:
    """How many GPUs a server may keep: as pinned, or powers of two; of several nodes, whole ones."""
    asked, hardware = problem.spec.train.rollout.gpus, problem.hardware
    unit = hardware.gpus_per_node if hardware.nodes > 1 else 1
    numbers = (asked,) if asked != "auto" else tuple(unit * power for power in (1, 2, 4, 8, 16))
    return tuple(number for number in numbers if number < hardware.world_size and number % unit == 0)


def _served(problem: Problem, number: int) -> Problem:
    hardware = problem.hardware
    if hardware.nodes > 1:
        nodes = number // hardware.gpus_per_node
        kept = hardware._replace(nodes=hardware.nodes - nodes)
        return problem._replace(hardware=kept, split=Split("server", number, nodes))
    devices = hardware.devices or tuple(range(hardware.gpus_per_node))
    training = hardware.gpus_per_node - number
    kept = hardware._replace(gpus_per_node=training, devices=devices[:training])
    return problem._replace(hardware=kept, split=Split("server", number, devices=devices[training:]))


def _measured(problem: Problem) -> Problem:
    """With prompt and answer both given, their sum is the length of a sequence, unless the spec says that too."""
    asked = problem.spec.train.rollout
    prompt, answer = asked.max_prompt_length, asked.max_completion_length
    if "max_length" in problem.pins or "max_length" in problem.ranges or answer == "auto" or prompt == "auto":
        return problem
    return problem._replace(pins={**problem.pins, "max_length": prompt + answer})
