"""Distillation: a frozen teacher predicts the tokens that the model trains on, and the loss pulls one to the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc.catalog import models
from mfc.catalog.parameters import count
from mfc.rules.engine import Value, advise, derive, from_spec, said
from mfc.rules.words import short

if TYPE_CHECKING:
    from mfc.problem import Model
    from mfc.spec.models import Spec

_SPEC = "the spec language"
_HINTON = "Distilling the Knowledge in a Neural Network, arXiv:1503.02531"
NONE = Value(None, "the task has no teacher")


@derive("teacher", _SPEC)
def teacher(spec: Spec) -> Value:
    """The teacher is the one that the spec names."""
    if spec.train.task != "distill":
        return NONE
    return from_spec(spec.train.distillation.teacher, "train.distillation.teacher")


@derive("teacher_parameters", "the catalogue")
def teacher_parameters(model: Model, teacher: str | None) -> Value:
    """A teacher counts at its own size, one that the catalogue does not know at the model's."""
    if teacher is None:
        return Value(0, NONE.because)
    known = _known(teacher)
    if known is None:
        return Value(model.total_parameters, "a teacher outside the catalogue counts as large as the model")
    return Value(known, f"{teacher} has {short(known)} parameters")


@derive("distillation_alpha", _HINTON)
def distillation_alpha(spec: Spec) -> Value:
    """Cross entropy and the pull to the teacher count alike unless the spec says otherwise."""
    return _of(spec, "alpha", "0.5: cross entropy and the teacher count alike")


@derive("distillation_temperature", _HINTON)
def distillation_temperature(spec: Spec) -> Value:
    """Predictions are compared as they are, at temperature 1, unless the spec says otherwise."""
    return _of(spec, "temperature", "1: predictions are compared as they are")


def _of(spec: Spec, field: str, default: str) -> Value:
    return said(spec.train.distillation, field, "train.distillation", default) if spec.train.task == "distill" else NONE


@advise("mfc's memory model: a teacher outside the catalogue is counted at the model's size")
def size_of_teacher_is_assumed(model: Model, teacher: str | None) -> str | None:
    """A teacher that the catalogue does not know is taken to be as large as the model."""
    if teacher is None or _known(teacher) is not None:
        return None
    return (
        f"{teacher} is not in the catalogue and counted as large as the model ({short(model.total_parameters)} "
        "parameters): a larger teacher takes more than is said here"
    )


def _known(name: str) -> int | None:
    found = models.known(name, local=True)
    return count(found.architecture).total if found else None


RULES = (teacher, teacher_parameters, distillation_alpha, distillation_temperature, size_of_teacher_is_assumed)
