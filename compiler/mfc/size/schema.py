"""The shape of `mfc size --format json`, from which schemas/size.schema.json is generated."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from mfc.report.schema import Part, RunReport


class FittingReport(Part):
    """What fits: the spec with some fields set. Sizes are bytes of one GPU, times seconds."""

    set: dict[str, Any] = Field(description="edits of the spec after which mfc plan finds this")
    model: str
    parameters: int
    gpu: str
    gpus_per_node: int
    nodes: int
    method: str
    how: str = Field(description="the strategy in words")
    upper_bytes: int
    seconds_per_step: float
    run: RunReport


class SizeReport(Part):
    """What `mfc size --format json` prints: every card and number of them, or every model, that fits."""

    schema_version: Literal[1]
    spec: str
    target: str
    asked: int = Field(description="kinds of cards, or models, that were looked at")
    fitting: list[FittingReport] = Field(description="in the order of the table; empty where nothing fits")


def json_schema() -> dict[str, Any]:
    """The JSON Schema of `mfc size --format json`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **SizeReport.model_json_schema(),
        "title": "What fits, by mfc, the memory-fit compiler",
    }
