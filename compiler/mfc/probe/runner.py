"""Runs a probe: rows of nonsense as long as they may be, the run's own start script, and a verdict on the peak.

This file is written into the folder of a probe as `probe.py`, beside what it is to do (`probe.json`) and a meter.
It needs nothing but the standard library. Exit codes: 0 it fits, 3 it does not (out of memory, or a peak above the
budget), 1 anything else: the run died of another cause, or nothing could be measured.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

GIB = 2**30
FITS, OTHER, TOO_MUCH = 0, 1, 3
PEAKS, RECORD = "peaks", "record.json"
SHOWN_BYTES = 1 << 20  # of the user's own data, to see how its rows are written
_LONG, _PICTURE = re.compile(r"<<(\d+) words>>"), "<<picture>>"


# Rows


def first_row(path: str) -> dict[str, Any]:
    """The first row of the user's own file of JSON, or of JSON lines; empty where there is none to be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            text = stream.read(SHOWN_BYTES).lstrip("\ufeff \t\r\n[")
        row = json.JSONDecoder().raw_decode(text)[0]
    except (OSError, ValueError):
        return {}
    return row if isinstance(row, dict) else {}


def like(row: Mapping[str, Any], theirs: Mapping[str, Any], turns: Mapping[str, str]) -> dict[str, Any]:
    """A made row as the user's are written: turns where they have turns, and the columns that rewards may read.

    `turns` says who speaks in each column of text that may hold turns instead.
    """
    made = dict(row)
    if "images" in made and "images" not in theirs and isinstance(theirs.get("image"), str):
        made["image"] = made.pop("images")[0]  # LLaVA's way: one picture, by its path alone
    for column, role in turns.items():
        if column in made and isinstance(theirs.get(column), list):
            made[column] = [{"role": role, "content": made[column]}]
    prompts = [column for column, role in turns.items() if role == "user" and column in made and column not in theirs]
    if prompts and theirs and any(isinstance(theirs.get(column), list) for column in turns):
        asked = [{"role": "user", "content": made.pop(prompts[0])}]  # whole conversations, prompt included
        made = {
            key: asked + value if key in turns and isinstance(value, list) else value for key, value in made.items()
        }
    return {**{key: value for key, value in theirs.items() if key not in made}, **made}


def filled(value: Any, draw: random.Random, pictures: Iterator[str]) -> Any:
    """A row with words for `<<N words>>` and the path of a picture for `<<picture>>`."""
    if isinstance(value, str):
        if value == _PICTURE:
            return next(pictures)
        return _LONG.sub(lambda found: words(int(found[1]), draw), value)
    if isinstance(value, list):
        return [filled(one, draw, pictures) for one in value]
    return {key: filled(one, draw, pictures) for key, one in value.items()} if isinstance(value, dict) else value


def words(count: int, draw: random.Random) -> str:
    """Letters with blanks between: any tokenizer has one token at least for each, and those of most models just one."""
    return " ".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=count))


def make_rows(what: Mapping[str, Any]) -> None:
    """Write the files of rows, and the pictures that they show."""
    theirs, draw = first_row(what["like"]), random.Random(0)
    pictures = itertools.cycle([make_picture(what["side"], draw)] if what["side"] else [""])
    templates = [like(row, theirs, what["turns"]) for row in what["rows"]]
    for file, count in what["files"].items():
        made = [filled(row, draw, pictures) for row in itertools.islice(itertools.cycle(templates), count)]
        text = json.dumps(made) if file.endswith(".json") else "".join(f"{json.dumps(row)}\n" for row in made)
        fresh = f"{file}.{os.getpid()}"
        with open(fresh, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(fresh, file)  # at once: several nodes may write the same


def make_picture(side: int, draw: random.Random) -> str:
    """Write a square picture of noise as PNG; its path."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = b"".join(b"\0" + draw.randbytes(3 * side) for _ in range(side))
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines, 1)) + chunk(b"IEND", b"")
    path = os.path.abspath("picture.png")
    with open(f"{path}.{os.getpid()}", "wb") as stream:
        stream.write(data)
    os.replace(f"{path}.{os.getpid()}", path)
    return path


# The run


class Smi:
    """nvidia-smi, asked now and then: what cards took beyond what they had before. For where no meter could look."""

    def __init__(self) -> None:
        self.before, self.most = self.used(), dict[str, int]()
        self.ended = threading.Event()

    def used(self) -> dict[str, int]:
        """Bytes in use on each card that is to be seen; none without nvidia-smi."""
        query = ["nvidia-smi", "--query-gpu=uuid,memory.used", "--format=csv,noheader,nounits"]
        try:
            said = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout
            rows = [line.split(",") for line in said.splitlines() if line.count(",") == 1]
            return {uuid.strip(): int(used) << 20 for uuid, used in rows}
        except (OSError, ValueError, subprocess.SubprocessError):
            return {}

    def watch(self) -> None:
        """Ask until the run has ended."""
        while self.before and not self.ended.wait(0.5):
            for uuid, used in self.used().items():
                self.most[uuid] = max(used, self.most.get(uuid, 0))

    def peak(self) -> int:
        """Of the cards on which something was begun, the most that one had in use."""
        began = [used for uuid, used in self.most.items() if used > self.before.get(uuid, 0)]
        return max(began, default=0)


def run(what: Mapping[str, Any], arguments: Sequence[str], peaks: str, folder: str) -> tuple[int, int]:
    """Start the run from a folder, and its server beside it; (exit code, peak by nvidia-smi in bytes)."""
    meter = os.path.abspath("meter")
    path = os.pathsep.join(filter(None, [meter, os.environ.get("PYTHONPATH", "")]))
    variables = {**os.environ, "PYTHONPATH": path, "MFC_PROBE_PEAKS": os.path.abspath(peaks)}
    smi = Smi()
    watching = threading.Thread(target=smi.watch, daemon=True)
    watching.start()
    server = subprocess.Popen(["bash", what["server"]], start_new_session=True) if what["server"] else None
    process = subprocess.Popen(["bash", os.path.abspath(what["script"]), *arguments], env=variables, cwd=folder)
    signal.signal(signal.SIGTERM, lambda number, _: process.send_signal(number))
    try:
        code = process.wait()
    except KeyboardInterrupt:
        code = process.wait()
    finally:
        if server:
            os.killpg(server.pid, signal.SIGTERM)
        smi.ended.set()
        watching.join()
    return code, smi.peak()


# The verdict


def measured(peaks: str) -> dict[str, Any]:
    """What the meters saw on the card that took most, whether memory ran out, and how many processes were seen."""
    seen = []
    for name in sorted(os.listdir(peaks)):
        if name.endswith(".json"):
            with open(os.path.join(peaks, name), encoding="utf-8") as stream:
                seen.append(json.load(stream))
    cards: dict[str, dict[str, int]] = {}
    for process in seen:
        for name, one in process["devices"].items():
            card = cards.setdefault(
                one["uuid"] or name, {"peak": 0, "allocated": 0, "reserved": 0, "total": one["total"]}
            )
            card["peak"] = max(card["peak"], one["used"], one["reserved"] + one["outside"])
            card["allocated"] = max(card["allocated"], one["allocated"])
            card["reserved"] = max(card["reserved"], one["reserved"])
            card["outside"] = max(card.get("outside", 0), one["outside"])
    worst = max(cards.values(), key=lambda card: card["peak"], default={})
    died = [process["out_of_memory"] for process in seen if process["out_of_memory"]]
    died += ["torch counted it" for process in seen if any(one["ooms"] for one in process["devices"].values())]
    return {**worst, "out_of_memory": died[0] if died else "", "processes": len(seen), "ranks": ranks(seen)}


def ranks(seen: Sequence[Mapping[str, Any]]) -> list[str]:
    """The ranks that were measured; a run of one process need not number it."""
    named = {process["rank"] for process in seen if process["rank"]}
    return sorted(named or {"0"} if seen else (), key=lambda rank: (len(rank), rank))


def asked_for(message: str) -> int:
    """Bytes that an allocation asked for when memory ran out, as torch words it: Tried to allocate 2.00 GiB."""
    found = re.search(r"[Tt]ried to allocate ([\d.]+) (KiB|MiB|GiB|TiB)", message)
    return int(float(found[1]) * 1024 ** (1 + ("KiB", "MiB", "GiB", "TiB").index(found[2]))) if found else 0


def judged(
    what: Mapping[str, Any], code: int, seen: Mapping[str, Any], smi: int
) -> tuple[int, list[str], dict[str, Any]]:
    """(exit code, what to say, the record): the run's code, what its meters saw, and nvidia-smi's peak in bytes."""
    peak, budget, ran_out = seen.get("peak", 0) or smi, what["budget_bytes"], seen["out_of_memory"]
    needed = seen["allocated"] + seen["outside"] if "allocated" in seen else peak
    record = {key: what[key] for key in ("spec", "target", "predicted_bytes", "upper_bytes", "budget_bytes")}
    record |= {"exit_code": code, "peak_bytes": peak, "ranks": seen["ranks"], "out_of_memory": ran_out}
    said = (
        f"peak {peak / GIB:.1f} of {what['card_bytes'] / GIB:.1f} GiB, predicted {what['predicted_bytes'] / GIB:.1f} "
        f"(at most {what['upper_bytes'] / GIB:.1f})"
    )
    if code and ran_out:
        wanted = max(peak + asked_for(ran_out), what["card_bytes"])
        return TOO_MUCH, [f"{said}: out of memory", f"  {ran_out[:200]}", *relaxed(what, wanted)], record
    if code:
        killed = " (killed: the node's own memory ran out, or somebody ended it)" if code in (-9, 137) else ""
        before = said if peak else "nothing was measured before it"
        return OTHER, [f"{before}: the run died of something else, its exit code is {code}{killed}"], record
    if not peak:
        return OTHER, ["nothing was measured: no process of the run had a GPU, and nvidia-smi told nothing"], record
    by = {f"probe_{name}_bytes": seen[name] for name in ("allocated", "reserved") if name in seen}
    record |= by or {"probe_process_bytes": peak}
    if needed > budget:
        above = f"{said}: above the {budget / GIB:.1f} GiB that the plan may take"
        return TOO_MUCH, [above, *relaxed(what, needed)], record
    spare = f", of which the allocator holds {(peak - needed) / GIB:.1f} in reserve" if peak > budget else ""
    return FITS, [f"{said}: fits{spare}"], record


def relaxed(what: Mapping[str, Any], needed: int) -> list[str]:
    """The smallest of the changes that mfc computed after which what was seen would fit, as lines to print."""
    ratio = max(needed / what["upper_bytes"], 1.0)
    able = [one for one in what["relaxations"] if one["upper_bytes"] * ratio <= what["budget_bytes"]]
    if not able:
        return ["  no single change that mfc knows would be enough: a shorter max_length, a smaller model or more GPUs"]
    sets = " ".join(f"--set {shlex.quote(one)}" for one in [*what["set"], *able[0]["set"]])
    slower = f", a step takes {able[0]['time']:.1f} times as long" if able[0]["time"] > 1 else ""
    return [
        f"  the smallest change that should fit, at {able[0]['upper_bytes'] * ratio / GIB:.1f} GiB{slower}:",
        f"  mfc compile {what['spec']} --target {what['target'].partition(' ')[0]} --probe {sets}",
    ]


def main(arguments: Sequence[str]) -> int:
    """Run the probe of this folder; `arguments` go on to its start script."""
    started_in = os.getcwd()  # what was typed is meant from there
    os.chdir(os.path.dirname(os.path.abspath(__file__)))
    with open("probe.json", encoding="utf-8") as stream:
        what = json.load(stream)
    node = os.environ.get("NODE_RANK", "0")
    peaks = os.path.join(PEAKS, node)
    for left in (peaks, what["output"]):
        shutil.rmtree(left, ignore_errors=True)
    os.makedirs(peaks)
    make_rows(what["rows"])
    code, smi = run(what, arguments, peaks, started_in)
    verdict, lines, record = judged(what, code, measured(peaks), smi)
    shutil.rmtree(what["output"], ignore_errors=True)  # a model that learnt nonsense
    with open(RECORD if node == "0" else f"record-{node}.json", "w", encoding="utf-8") as stream:
        json.dump(record, stream, indent=2)
        stream.write("\n")
    print(*lines, sep="\n", flush=True)
    return verdict


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
