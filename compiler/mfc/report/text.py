"""A plan as text for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

from mfc.planner.decide import results_that_may_change
from mfc.planner.plan import Plan, Relaxation

if TYPE_CHECKING:
    from mfc.calibration.correction import Calibrated
    from mfc.problem import Hardware
    from mfc.report.bill import Bill

GIB = 2**30
_LIMITS = {
    "gpu": "GPU memory",
    "host": "host memory",
    "load": "memory while the model loads",
    "rollout": "GPU memory for training and generation together",
}


def gib(size: float) -> str:
    """Bytes as GiB for people."""
    return f"{size / GIB:.2f} GiB"


def count(number: float) -> str:
    """A number of parameters for people."""
    for unit, scale in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= scale:
            return f"{number / scale:.3g} {unit}"
    return f"{number:g}"


def show(value: Any) -> str:
    """A value in one line."""
    if is_dataclass(value) and not isinstance(value, type):
        return ", ".join(f"{key} {show(part)}" for key, part in asdict(value).items() if part not in ((), ""))
    if isinstance(value, (tuple, list)):
        return ", ".join(map(show, value)) or "none"
    if value is None or value == "":
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def seconds(time: float) -> str:
    """A duration with the precision that a model of time deserves."""
    return f"{time:.2g} s" if time < 100 else f"{time:.0f} s"


def to_text(plan: Plan, name: str, bill: Bill, calibrated: Calibrated | None = None, *, asked: bool = True) -> str:
    """The whole plan, for a terminal, with what runs on this machine say about it.

    `asked`: the user named the target; else the first line says that mfc took the one most used.
    """
    return "\n".join(_lines(plan, name, bill, calibrated, asked))


def _lines(plan: Plan, name: str, bill: Bill, calibrated: Calibrated | None, asked: bool) -> Iterator[str]:
    target = f"{plan.profile.target} {plan.profile.version}"
    taken = "" if asked else " (no target is named: the most used that can say it)"
    yield f"{name} for {target}{taken}: {'fits' if plan.fits else 'DOES NOT FIT'}"
    yield ""
    yield from _run(plan)
    yield ""
    yield from _costs(plan, bill, calibrated)
    yield from _told(plan)


def _run(plan: Plan) -> Iterator[str]:
    """What runs on what."""
    yield f"model     {model_line(plan)}"
    yield f"hardware  {hardware_line(plan)}"
    yield f"strategy  {', '.join(strategy_parts(plan).values())}"
    if "rollout_share" in plan.decisions:
        yield f"rollout   {rollout_line(plan)}"
    yield f"batch     {batch_line(plan)}"
    if plan.needs:
        yield f"needs     {', '.join(plan.needs)} installed: the spec does not say whether"


def model_line(plan: Plan) -> str:
    """The model, its size and what of it trains."""
    model = plan.problem.model
    share = plan.trainable_parameters / model.total_parameters
    return (
        f"{model.name}: {count(model.total_parameters)} parameters, {count(plan.trainable_parameters)} train "
        f"({share:.2%})"
    )


def hardware_line(plan: Plan) -> str:
    """The machines, as training has them."""
    hardware = plan.problem.hardware
    nodes = f"{hardware.nodes} nodes of " if hardware.nodes > 1 else ""
    host = "unknown" if hardware.host_memory_bytes is None else gib(hardware.host_memory_bytes)
    return f"{nodes}{hardware.gpus_per_node} x {hardware.gpu.name} ({gib(hardware.memory_bytes)}), host memory {host}"


def batch_line(plan: Plan) -> str:
    """How a step's batch is made up."""
    strategy = plan.strategy
    ranks = strategy.world_size // strategy.sequence_parallel
    batch = strategy.micro_batch * strategy.gradient_accumulation * ranks
    return (
        f"{strategy.micro_batch} x {strategy.gradient_accumulation} accumulated x "
        f"{ranks} rank{'' if ranks == 1 else 's'} = {batch}, up to {strategy.max_length} tokens each"
    )


def _costs(plan: Plan, bill: Bill, calibrated: Calibrated | None) -> Iterator[str]:
    """What it takes of memory and time."""
    memory, hardware = plan.memory, plan.problem.hardware
    yield (
        f"memory    {gib(memory.process_bytes)} per GPU; tensors need at most {gib(memory.upper_bytes)}, "
        f"the allocator would hold up to {gib(memory.held_bytes)}"
    )
    yield f"budget    {gib(plan.budget_bytes)} of {gib(hardware.memory_bytes)}; peak in {memory.moment}"
    for part, size in sorted(memory.components.items(), key=lambda item: -item[1]):
        if size >= GIB / 200:
            yield f"  {part:<22}{size / GIB:>8.2f} GiB"
    yield f"host      {host_line(plan)}"
    yield f"bound     {memory.confidence}: {'; '.join(memory.uncertainty)}"
    if calibrated:
        yield f"measured  {calibrated_line(calibrated)}"
    yield (
        f"time      {seconds(plan.speed.seconds_per_step)} a step, {plan.speed.tokens_per_second:,.0f} tokens/s, "
        f"bound by {plan.speed.bound_by} (estimate)"
    )
    yield f"run       {run_line(plan, bill)}"
    if hint := hint_line(bill):
        yield f"hint      {hint}"
    if cost := cost_line(bill):
        yield f"cost      {cost}"


def run_line(plan: Plan, bill: Bill) -> str:
    """How long the whole run takes, or what can be said of that."""
    train = plan.problem.spec.train
    if bill.steps is not None and bill.seconds is not None:
        through = "" if train.max_steps else f" for {train.epochs:g} epochs of {bill.rows:,} rows"
        return f"{bill.steps:,} steps{through}: {duration(bill.seconds)}"
    if bill.thousand_seconds is None:
        return "how many steps is not known"
    return f"{duration(bill.thousand_seconds)} for 1,000 rows once"


def hint_line(bill: Bill) -> str:
    """What the spec could say for a better answer; empty where it says all."""
    wanted = []
    if bill.full_length:
        wanted.append("data.mean_length (every row is taken to be as long as data.max_length)")
    elif bill.thousand_seconds is None:
        wanted.append("data.mean_length (how many samples share a row)")
    if bill.steps is None and bill.rows is None:
        wanted.append("data.train[].samples or train.max_steps (for the whole run)")
    return f"give {' and '.join(wanted)}, or run mfc data SPEC --write, which measures that" if wanted else ""


def cost_line(bill: Bill) -> str:
    """What the run costs; empty where no price is known."""
    price = bill.price
    if price is None:
        return ""
    at = f"{bill.gpus} GPU{'' if bill.gpus == 1 else 's'} at {price.said(price.an_hour)} an hour"
    if (whole := bill.cost(bill.seconds)) is not None:
        return f"{price.said(whole)}: {at}"
    each = bill.cost(bill.thousand_seconds)
    return at if each is None else f"{price.said(each)} for 1,000 rows once: {at}"


def duration(time: float) -> str:
    """A long time in the unit that people think of it in."""
    for unit, size, most in (("s", 1, 90), ("min", 60, 5400), ("h", 3600, 172_800)):
        if time < most:
            return f"{time / size:.2g} {unit}" if time / size < 100 else f"{time / size:.0f} {unit}"
    return f"{time / 86_400:.2g} days" if time < 8_640_000 else f"{time / 86_400:.0f} days"


def host_line(plan: Plan) -> str:
    """What it takes of a node's memory, and when."""
    memory, hardware = plan.memory, plan.problem.hardware
    said = [f"{gib(memory.host_bytes_per_node)} per node in training"]
    if memory.save_host_bytes > memory.host_bytes_per_node:
        said.append(f"{gib(memory.save_host_bytes)} while saving")
    said.append(f"{gib(memory.load_host_bytes)} while loading")
    known = hardware.host_memory_bytes
    budget = f"; budget {gib(hardware.usable_host_bytes)} of {gib(known)}" if known is not None else ""
    return ", ".join(said) + budget


def _told(plan: Plan) -> Iterator[str]:
    """What mfc chose, what else there was, what would fit, and what to look out for."""
    if chosen := results_that_may_change(plan.decisions):
        yield ""
        yield "what could change your results (chosen by mfc)"
        for decision in chosen:
            yield f"  {decision.field:<16}{show(decision.value)}: {decision.because}"
    if plan.alternatives:
        yield ""
        yield "alternatives"
        for other in plan.alternatives:
            changes = ", ".join(f"{field} {show(value)}" for field, value in other.changes.items())
            yield f"  {changes}: {gib(other.upper_bytes)}, {seconds(other.seconds_per_step)}; {other.because}"
    if not plan.fits:
        yield ""
        yield shortfall(plan)
        yield from relaxation_lines(plan)
    if plan.warnings:
        yield ""
        yield "warnings"
        for warning in plan.warnings:
            yield f"  {warning.message} [{warning.id}]"


def rollout_line(plan: Plan) -> str:
    """Who generates where, and what that takes."""
    mode, number = plan.values["rollout_mode"], plan.values["rollout_gpus"]
    where = f"{number} further GPU{'s' * (number > 1)}" if mode == "server" else "the GPUs that train"
    by = "the trainer itself" if mode == "native" else f"vLLM ({mode})"
    return f"by {by} on {where}: {plan.decisions['rollout_share'].because}"


def strategy_parts(plan: Plan) -> dict[str, str]:
    """What the strategy consists of in words, by plan field; what one GPU has no use for is left out."""
    strategy = plan.strategy
    said: dict[str, str] = {"method": strategy.method}
    if strategy.lora:
        said["method"] += f" r={strategy.lora.rank} alpha={strategy.lora.alpha:g} on {strategy.lora.targets}"
    said["precision"] = strategy.precision
    if strategy.world_size > 1 or strategy.sharding != "ddp":
        said["sharding"] = strategy.sharding
    for name in ("optimizer", "parameters", "activations"):
        if (place := getattr(strategy, f"offload_{name}")) != "none":
            said[f"offload_{name}"] = f"{name} on {place}"
    if strategy.gradient_checkpointing:
        said["gradient_checkpointing"] = "gradient checkpointing"
    if strategy.sequence_parallel > 1:
        said["sequence_parallel"] = f"sequence parallel {strategy.sequence_parallel}"
    said["attention"] = f"{strategy.attention} attention"
    said["loss"] = f"{strategy.loss} loss"
    if strategy.mlp == "tiled":
        said["mlp"] = "tiled MLPs"
    said["optimizer"] = strategy.optimizer
    return said


def shortfall(plan: Plan) -> str:
    """Why nothing fits, with the arithmetic of the strategy that comes nearest."""
    nearest = f"{', '.join(strategy_parts(plan).values())}, micro_batch {plan.strategy.micro_batch}"
    return f"nothing fits: {_LIMITS[plan.limited_by]} is too small. The nearest strategy is {nearest}: {lacking(plan)}"


def lacking(plan: Plan) -> str:
    """The arithmetic of what does not fit."""
    memory, hardware = plan.memory, plan.problem.hardware
    if plan.limited_by == "host":
        return f"it needs {gib(memory.save_host_bytes)} of host memory per node, and {_usable(hardware)}"
    if plan.limited_by == "rollout":
        return plan.decisions["rollout_share"].because
    if plan.limited_by == "load":
        return (
            f"loading takes {gib(memory.load_gpu_bytes)} per GPU and {gib(memory.load_host_bytes)} of host memory, "
            f"and {_usable(hardware)}"
        )
    parts = sorted(memory.components.items(), key=lambda item: -item[1])[:4]
    most = ", ".join(f"{part} {gib(size)}" for part, size in parts)
    return (
        f"it needs up to {gib(memory.upper_bytes)} per GPU in {memory.moment} ({most}), and the budget is "
        f"{gib(plan.budget_bytes)}"
    )


def _usable(hardware: Hardware) -> str:
    """What there is of host memory, in words."""
    if hardware.host_memory_bytes is None:
        return "there is an unknown amount"
    return f"a run may take {gib(hardware.usable_host_bytes)} of {gib(hardware.host_memory_bytes)}"


def relaxation_lines(plan: Plan) -> Iterator[str]:
    """The mildest changes that would fit, as spec edits."""
    if not plan.relaxations:
        yield "  no other length, method, model, card, host memory or number of GPUs would fit, not even together"
        return
    yield "  any of these would fit:"
    for relaxation in plan.relaxations:
        cost = f"at most {gib(relaxation.upper_bytes)} per GPU, {seconds(relaxation.seconds_per_step)} a step"
        yield f"    {edit(relaxation)}: {cost}"


def edit(relaxation: Relaxation) -> str:
    """A relaxation as options of the command line."""
    sets = (f"{path}={show(value)}" for path, value in relaxation.set.items())
    return " ".join(f"--set '{one}'" if " " in one else f"--set {one}" for one in sets)


def calibrated_line(found: Calibrated) -> str:
    """What measured runs say, in one line; the plan itself does not follow them, so that compiling stays the same."""
    if not found.runs:
        return f"{found.outdated} runs with another mfc do not count any more: measure again"
    fits = "" if found.fits else "; BY THESE RUNS IT DOES NOT FIT"
    bound = "their own bound" if found.own_bound else "too few for a bound of their own"
    return (
        f"{gib(found.peak_bytes)} per GPU, at most {gib(found.upper_bytes)}, as {found.runs} "
        f"run{'' if found.runs == 1 else 's'} on this machine correct it ({found.bias - 1:+.1%}, {bound}; "
        f"{found.key}){fits}"
    )
