"""How far predictions are from published measurements: the benchmarks' own figures, taken as the site is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.score import accuracy
from benchmarks.truth import ALL
from publish.markdown import table

KINDS = {
    "emitted": {"en": "Training loops that mfc writes files for", "zh": "mfc 为其写文件的训练循环"},
    "others": {"en": "Others", "zh": "其他"},
}
TITLES = {
    "en": ("source", "rows", "median", "mean", "within 10", "bias", "missed", "refused", "bound"),
    "zh": ("来源", "行数", "中位", "平均", "10 以内", "偏差", "漏报", "误拒", "上界"),
}
FIGURES = (
    "median_abs_error_pct", "mean_abs_error_pct", "within10_pct", "bias_pct",
    "oom_missed_pct", "good_refused_pct", "bound_coverage_pct",
)  # fmt: skip
MEANS = {
    "macro": {"en": "**mean over sources**", "zh": "**各来源的平均**"},
    "micro": {"en": "**all rows**", "zh": "**全部行**"},
}


def built(language: str) -> str:
    """A table for each kind of loop, a row for each source."""
    tables, _ = accuracy.report(ALL)
    parts = []
    for kind, found in tables.items():
        lines = [_row(f"`{source}`", figures) for source, figures in found["sources"].items()]
        lines += [_row(MEANS[mean][language], found[mean]) for mean in MEANS]
        parts += [f"## {KINDS[kind][language]}\n", table(TITLES[language], lines)]
    return "\n".join(parts)


def _row(name: str, figures: Mapping[str, Any]) -> tuple[str, ...]:
    cells = ["" if figures[key] is None else f"{figures[key]:.1f}" for key in FIGURES]
    return name, str(figures["rows"]), *cells
