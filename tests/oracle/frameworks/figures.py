"""Prints how far mfc is off in every recorded run: `python -m tests.oracle.frameworks.figures [TARGET ...]`."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.oracle.frameworks import runs
from tests.oracle.frameworks.record import judged, rows_of


def configs(folder: Path) -> None:
    """Write the configs of the tiny models, beside which specs are written."""
    for name, said in json.loads(runs.MODELS.read_text(encoding="utf-8")).items():
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(said), encoding="utf-8")


def errors(target: str, folder: Path) -> Iterator[tuple[str, dict[str, float], dict[str, float]]]:
    """Of each run its name, all errors in percent, and those that the law forbids; beside the configs in a folder."""
    with runs.inside(folder):
        of = runs.target(target)
        for run, row in rows_of(target).items():
            yield run, *judged(runs.compiled(run, of, folder / "out"), of, row)


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        configs(Path(place))
        for target in sys.argv[1:] or runs.targets():
            peaks: list[float] = []
            moments: list[float] = []
            deviant = 0
            for run, found, faults in errors(target, Path(place)):
                print(f"{run:44s} {found}{f'  breaks the law: {faults}' if faults else ''}")
                peaks.append(abs(found.pop("peak")))
                moments += map(abs, found.values())
                deviant += bool(faults)
            missing = len(runs.target(target).names()) - len(peaks)
            if peaks:
                print(
                    f"{target}: {len(peaks)} runs, peak off by {statistics.median(peaks):.1f} % in the median, at most "
                    f"{max(peaks):.1f} %; {len(moments)} moments, {statistics.median(moments):.1f} and "
                    f"{max(moments):.1f} %; {deviant} runs break the law; {missing} drawn ones are not recorded"
                )


if __name__ == "__main__":
    main()
