"""A plan as JSON for programs; `report.schema` describes its shape. Sizes are bytes, times seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mfc.calibration.correction import Calibrated
    from mfc.planner.frontier import Survey
    from mfc.planner.plan import Decision, Plan
    from mfc.report.bill import Bill
    from mfc.spec.load import LoadedSpec


def to_json(
    plan: Plan, loaded: LoadedSpec, bill: Bill, survey: Survey, calibrated: Calibrated | None = None
) -> dict[str, Any]:
    """The plan as schemas/plan.schema.json describes it. Sizes are bytes, times seconds."""
    hardware = plan.problem.hardware
    return {
        "spec": loaded.name,
        "spec_sha256": loaded.sha256,
        "target": plan.profile.target,
        "target_version": plan.profile.version,
        "fits": plan.fits,
        "limited_by": plan.limited_by or None,
        "verified": plan.verified,
        "model": plan.problem.model.name,
        "hardware": {"gpu": hardware.gpu.name, "gpus_per_node": hardware.gpus_per_node, "nodes": hardware.nodes},
        "strategy": {name: plain(getattr(plan.strategy, name)) for name in _STRATEGY},
        "memory": _memory(plan, calibrated),
        "speed": {
            "seconds_per_step": plan.speed.seconds_per_step,
            "tokens_per_second": plan.speed.tokens_per_second,
            "bound_by": plan.speed.bound_by,
        },
        "run": bill_json(bill),
        "parameters": {"total": plan.problem.model.total_parameters, "trainable": plan.trainable_parameters},
        "decisions": [decision_json(decision) for decision in plan.decisions.values()],
        "alternatives": [plain(other._asdict()) for other in plan.alternatives],
        "frontier": [plain(point._asdict()) for point in survey.frontier],
        "levers": [plain(lever._asdict()) for lever in survey.levers],
        "rejected": dict(plan.rejected),
        "relaxations": [plain(relaxation._asdict()) for relaxation in plan.relaxations],
        "needs": list(plan.needs),
        "warnings": [{"id": warning.id, "message": warning.message} for warning in plan.warnings],
    }


_STRATEGY = (
    *("task", "method", "precision", "sharding", "zero_stage", "offload_optimizer", "offload_parameters"),
    *("offload_activations", "pin_memory"),
    *("micro_batch", "gradient_accumulation", "world_size", "max_length", "packing", "gradient_checkpointing"),
    *("attention", "loss", "mlp", "optimizer", "sequence_parallel", "lora", "quantization"),
)


def _memory(plan: Plan, calibrated: Calibrated | None) -> dict[str, Any]:
    memory = plan.memory
    return {
        "gpu": {
            "capacity_bytes": plan.problem.hardware.memory_bytes,
            "budget_bytes": plan.budget_bytes,
            "allocated_peak_bytes": memory.allocated_bytes,
            "peak_bytes": memory.process_bytes,
            "upper_bytes": memory.upper_bytes,
            "held_bytes": memory.held_bytes,
            "moment": memory.moment,
            "components": dict(memory.components),
            "moments": dict(memory.moments),
        },
        "host": {
            "per_node_bytes": memory.host_bytes_per_node,
            "saving_bytes": memory.save_host_bytes,
            "budget_bytes": plan.problem.hardware.usable_host_bytes or None,
        },
        "load": {"gpu_bytes": memory.load_gpu_bytes, "host_bytes": memory.load_host_bytes},
        "confidence": memory.confidence,
        "uncertainty": list(memory.uncertainty),
        "calibration": plain(calibrated),
    }


def bill_json(bill: Bill) -> dict[str, Any]:
    """The whole run and its cost as JSON."""
    price = bill.price
    return {
        "rows": bill.rows,
        "steps": bill.steps,
        "seconds": bill.seconds,
        "thousand_rows_seconds": bill.thousand_seconds,
        "full_length": bill.full_length,
        "gpus": bill.gpus,
        "cost": price
        and {
            "currency": price.currency,
            "an_hour": price.an_hour,
            "run": bill.cost(bill.seconds),
            "thousand_rows": bill.cost(bill.thousand_seconds),
        },
    }


def decision_json(decision: Decision) -> dict[str, Any]:
    """One decision as JSON."""
    return {
        "field": decision.field,
        "value": plain(decision.value),
        "rule": decision.rule,
        "because": decision.because,
        "source": decision.source,
        "pinned": decision.pinned,
    }


def plain(value: Any) -> Any:
    """A value as JSON has it: dataclasses and mappings as objects, tuples as arrays."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plain(part) for name, part in asdict(value).items()}
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(part) for part in value]
    return value
