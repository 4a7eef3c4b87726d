"""What is read of a machine: by a stand-in for the driver's library, by one for its tool, and from files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from mfc.machine import host, installed, nvidia
from mfc.machine.seen import Card, Driver

MIB = 1 << 20


class NVMLError(Exception):
    """As the library raises."""


def library(**changed: object) -> SimpleNamespace:
    """A driver of two cards, of which the first reaches the second."""

    def link(card: int, number: int) -> int:
        if number > 1:
            raise NVMLError
        return card

    return SimpleNamespace(
        **{
            "NVMLError": NVMLError,
            "NVML_P2P_CAPS_INDEX_READ": 0,
            "NVML_P2P_STATUS_OK": 0,
            "NVML_NVLINK_MAX_LINKS": 18,
            "nvmlInit": lambda: None,
            "nvmlShutdown": lambda: None,
            "nvmlDeviceGetCount": lambda: 2,
            "nvmlDeviceGetHandleByIndex": lambda number: number,
            "nvmlSystemGetCudaDriverVersion": lambda: 12080,
            "nvmlSystemGetDriverVersion": lambda: b"570.86.15",
            "nvmlDeviceGetMemoryInfo": lambda card: SimpleNamespace(total=24564 * MIB, used=card * MIB),
            "nvmlDeviceGetName": lambda card: "NVIDIA GeForce RTX 4090",
            "nvmlDeviceGetP2PStatus": lambda card, other: 0,
            "nvmlDeviceGetNvLinkState": link,
            **changed,
        }
    )


def test_the_library_tells() -> None:
    made = library(nvmlDeviceGetP2PStatus=lambda card, other, what: card)
    cards, driver, notes = nvidia.by_library(made)
    name = "NVIDIA GeForce RTX 4090"
    assert cards == (Card(0, name, 24564 * MIB, 0, (1,), False), Card(1, name, 24564 * MIB, MIB, (), True))
    assert driver == Driver("570.86.15", (12, 8))
    assert not notes


def test_a_driver_that_is_not_there() -> None:
    def fails() -> None:
        raise NVMLError("Driver Not Loaded")

    assert nvidia.by_library(library(nvmlInit=fails)) == ((), None, (nvidia.NONE,))
    lost = library(nvmlSystemGetDriverVersion=fails)
    assert nvidia.by_library(lost) == ((), None, ("NVML says: Driver Not Loaded",))


TOOL = """#!/bin/sh
case "$1" in
--query-gpu=*)
  echo '0, NVIDIA A100-SXM4-80GB, 81920, 3, 535.104.05'
  echo '1, NVIDIA A100-SXM4-80GB, 81920, 70000, 535.104.05' ;;
*) echo '| NVIDIA-SMI 535.104.05   Driver Version: 535.104.05   CUDA Version: 12.2     |' ;;
esac
"""


def test_the_tool_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin:/bin")
    (tmp_path / "nvidia-smi").write_text(TOOL, encoding="utf-8")
    (tmp_path / "nvidia-smi").chmod(0o755)
    cards, driver, notes = nvidia.by_program()
    assert [(card.number, card.memory_bytes, card.used_bytes) for card in cards] == [
        (0, 81920 * MIB, 3 * MIB),
        (1, 81920 * MIB, 70000 * MIB),
    ]
    assert driver == Driver("535.104.05", (12, 2))
    assert "nvidia-ml-py" in notes[0]
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n", encoding="utf-8")
    assert nvidia.by_program()[2] == ("nvidia-smi gives no answer: the driver and its tool may not fit together",)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert nvidia.by_program() == ((), None, (nvidia.NONE,))


@pytest.mark.parametrize(
    ("file", "limit", "expected"),
    [
        ("memory.max", "max", 64 << 20),
        ("memory.max", str(16 << 20), 16 << 20),
        ("memory/memory.limit_in_bytes", str(32 << 20), 32 << 20),
        ("memory/memory.limit_in_bytes", str(9223372036854771712), 64 << 20),
    ],
)
def test_a_container_has_less(file: str, limit: str, expected: int, tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:       65536 kB\nMemFree: 1 kB\n", encoding="utf-8")
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(limit + "\n", encoding="utf-8")
    assert host.memory_bytes(tmp_path / "meminfo", tmp_path) == expected


def test_only_a_disk_that_can_be_written_to_counts(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\n/dev/nvme0n1p1 {tmp_path} ext4 rw 0 0\n/dev/nvme1n1 /nowhere xfs rw\n")
    assert host.nvme(mounts) == tmp_path
    mounts.write_text("/dev/sda1 / ext4 rw 0 0\n")
    assert host.nvme(mounts) is None
    assert host.nvme(tmp_path / "absent") is None


def test_packages_are_read_from_the_active_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    for name, version in (("Flash_Attn", "2.8.3"), ("torch", "2.9.1+cu128")):
        folder = site / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path))
    assert installed.packages() == (tmp_path, {"flash-attn": "2.8.3", "torch": "2.9.1+cu128"})
    assert json.dumps(installed.listed([str(site)]))
