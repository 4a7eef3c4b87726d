"""What data sets say, what chats begin with, and the processes that read and prepare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mfc import rows
from mfc.rules.engine import Value, advise, derive, from_spec, require
from mfc.rules.words import gpus, listed

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.problem import Hardware
    from mfc.profile import Profile
    from mfc.spec.models import Spec

_SPEC = "the spec language"
_WORKERS = 4
_PREPARING = 16


def unread(spec: Spec, task: str, formats: Mapping[str, Sequence[str]], reader: str) -> str | None:
    """What is wrong with the first data set whose layout `reader` does not read for a task, and how to say another.

    `formats` are the layouts that it reads, by task.
    """
    able = formats.get(task, ())
    one = next((one for one in spec.data.train if rows.layout(one, task) not in able), None)
    if one is None:
        return None
    found, form, reads = f"data.train: {one.path or one.hub}", rows.layout(one, task), listed(able, "and")
    if one.format != "auto" or not able:
        return f"{found} is in format {form}; for task {task} {reader} reads {reads}"
    return (
        f"{found} says no format, and for task {task} that means {form}; {reader} reads {reads}: "
        f"where its rows are so, say format: {able[0]}"
    )


@derive("dataloader_workers", "torch.utils.data docs: num_workers; one core is left to each training process")
def dataloader_workers(hardware: Hardware, architecture: Architecture) -> Value:
    """Each GPU gets four loader processes (eight with images), fewer where cores are few."""
    most = 2 * _WORKERS if architecture.vision else _WORKERS
    if hardware.cpu_cores is None:
        return Value(_WORKERS, f"{_WORKERS} a GPU where hardware.cpu_cores is not given")
    share = hardware.cpu_cores // hardware.gpus_per_node
    if share > most:
        return Value(most, f"{most} a GPU, which has {share} of {hardware.cpu_cores} cores")
    if share == 0:
        return Value(0, f"{hardware.cpu_cores} cores for {gpus(hardware.gpus_per_node)} leave none to load data")
    return Value(share - 1, f"{share} of {hardware.cpu_cores} cores a GPU, one of them for training itself")


@derive("preprocessing_workers", "datasets docs: map(num_proc)")
def preprocessing_workers(hardware: Hardware) -> Value:
    """Data is prepared by half of the cores, sixteen processes at most."""
    if hardware.cpu_cores is None:
        return Value(_WORKERS, f"{_WORKERS} where hardware.cpu_cores is not given")
    if hardware.cpu_cores == 1:
        return Value(1, "there is one core")
    workers = min(hardware.cpu_cores // 2, _PREPARING)
    return Value(workers, f"half of {hardware.cpu_cores} cores, at most {_PREPARING}")


@advise("torch.utils.data docs: with no workers, loading waits in the training process")
def cores_are_few(hardware: Hardware) -> str | None:
    """With a core per GPU or less, GPUs wait for data."""
    if hardware.cpu_cores is None or hardware.cpu_cores > hardware.gpus_per_node:
        return None
    return (
        f"{hardware.cpu_cores} cores for {gpus(hardware.gpus_per_node)} leave none to load data: GPUs will wait for it"
    )


@derive("hub", "the spec language")
def hub(spec: Spec) -> Value:
    """Ids are those of Hugging Face unless the spec says ModelScope."""
    if "hub" in spec.model_fields_set:
        return from_spec(spec.hub, "hub")
    return Value(spec.hub, "ids are Hugging Face's on every target unless the spec says otherwise")


@require("the target's profile", blames="target")
def data_sets_can_be_said(spec: Spec, profile: Profile) -> str | None:
    """What data sets say of their rows, subset and size can be said to the framework."""
    for number, one in enumerate(spec.data.train):
        for name in rows.options(one):
            if name not in profile.can("data_options"):
                note = profile.notes.get("data_options", "")
                return f"cannot say data.train[{number}].{name}" + (f" ({note})" if note else "")
    return None


@require("the spec language: formats, and the columns of each")
def columns_belong_to_the_format(spec: Spec, task: str) -> str | None:
    """A data set names columns that its format has, and roles where its rows are conversations."""
    for number, one in enumerate(spec.data.train):
        form, at = rows.layout(one, task), f"data.train[{number}]"
        able = rows.may_have(form, task)
        if wrong := [name for name in rows.renamed(one) if name not in able]:
            kind = f"rows in format {form}, for task {task}, have {listed(able, 'and')}"
            return f"{at}.columns names {wrong[0]}, and {kind}"
        if form not in rows.CHATS and "roles" in rows.options(one):
            return f"{at}.roles is of conversations: formats {listed(rows.CHATS, 'and')}, not {form}"
    return None


@derive("system", _SPEC)
def system(spec: Spec) -> Value:
    """Chats without a system prompt have the spec's; where it says none, what their template adds."""
    if spec.data.system is None:
        return Value(None, "what the chat template itself adds")
    return from_spec(spec.data.system, "data.system")


@require(_SPEC)
def texts_have_no_system_prompt(system: str | None, task: str) -> str | None:
    """Pretraining has texts, not chats."""
    if system is None or task != "pretrain":
        return None
    return "task pretrain has no chats that data.system could begin: leave it out"


RULES = (
    hub,
    data_sets_can_be_said,
    columns_belong_to_the_format,
    system,
    texts_have_no_system_prompt,
    dataloader_workers,
    preprocessing_workers,
    cores_are_few,
)
