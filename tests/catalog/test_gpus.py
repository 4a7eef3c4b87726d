"""The GPU catalogue: every row complete, sourced and physically sane; every usual spelling found."""

from __future__ import annotations

from pathlib import Path

import pytest
from mfc.catalog import gpus
from mfc.catalog.gpu import Gpu
from mfc.errors import SpecError

ROWS = [
    line
    for line in Path(gpus.__file__).with_name("gpus.yaml").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
ALL = gpus.all_gpus()

SPELLINGS = {
    "RTX 4090": ["4090", "RTX4090", "rtx-4090", "NVIDIA GeForce RTX 4090", "RTX 4090 24GB", "RTX4090-24G"],
    "RTX 4090D": ["4090d", "NVIDIA GeForce RTX 4090 D"],
    "RTX 4090 48GB": ["4090-48g", "RTX 4090 (48 GB)"],
    "RTX 4060 Ti 16GB": ["4060ti 16g", "GeForce RTX 4060 Ti 16GB"],
    "RTX 3060": ["3060", "RTX 3060 12GB"],
    "RTX 3060 8GB": ["3060 8g"],
    "RTX 2080 Ti": ["2080ti"],
    "GTX 1080 Ti": ["1080 Ti", "NVIDIA GeForce GTX 1080 Ti"],
    "TITAN RTX": ["NVIDIA TITAN RTX"],
    "Quadro RTX 6000": ["Quadro RTX 6000"],
    "RTX A6000": ["A6000", "NVIDIA RTX A6000"],
    "RTX 6000 Ada": ["NVIDIA RTX 6000 Ada Generation", "6000 ada", "A6000Ada-48GB"],
    "RTX PRO 6000 Blackwell": ["RTX PRO 6000", "NVIDIA RTX PRO 6000 Blackwell Workstation Edition"],
    "RTX PRO 6000 Blackwell Max-Q": ["NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition"],
    "T4": ["Tesla T4"],
    "P100": ["Tesla P100-PCIE-16GB"],
    "V100 SXM2 32GB": ["Tesla V100-SXM2-32GB", "V100 32GB"],
    "V100 PCIe 16GB": ["Tesla V100-PCIE-16GB"],
    "A10G": ["A10G-24GB", "NVIDIA A10G"],
    "A100 SXM 80GB": ["a100-80g", "A100 80GB SXM", "NVIDIA A100-SXM4-80GB", "A100 80GB"],
    "A100 SXM 40GB": ["A100-40GB", "A100-SXM4-40GB", "A100-40GB-SXM"],
    "A100 PCIe 40GB": ["NVIDIA A100-PCIE-40GB"],
    "A100 PCIe 80GB": ["NVIDIA A100 80GB PCIe"],
    "L40S": ["NVIDIA L40S", "L40S-48GB"],
    "H100 SXM": ["H100", "H100-SXM5-80GB", "NVIDIA H100 80GB HBM3", "H100 80GB"],
    "H100 PCIe": ["NVIDIA H100 PCIe", "H100 PCIe 80GB"],
    "H100 NVL": ["NVIDIA H100 NVL", "H100 94GB"],
    "H200 SXM": ["NVIDIA H200", "H200-141GB"],
    "H20": ["NVIDIA H20", "H20-96GB"],
    "GH200 96GB": ["NVIDIA GH200 480GB"],
    "B200": ["NVIDIA B200"],
    "MI300X": ["AMD Instinct MI300X"],
    "MI250X": ["AMD Instinct MI250X/MI250"],
}


@pytest.mark.parametrize(("name", "spelling"), [(name, text) for name, texts in SPELLINGS.items() for text in texts])
def test_usual_spellings_are_found(name: str, spelling: str) -> None:
    assert gpus.find(spelling).name == name


@pytest.mark.parametrize("gpu", ALL, ids=lambda gpu: gpu.name)
def test_every_name_and_alias_finds_its_row(gpu: Gpu) -> None:
    for spelling in (gpu.name, gpu.name.lower(), "NVIDIA " + gpu.name, *gpu.aliases):
        assert gpus.find(spelling) == gpu


@pytest.mark.parametrize(
    ("name", "variants"),
    [
        ("A100", ("A100 SXM 40GB", "A100 SXM 80GB")),
        ("V100", ("V100 SXM2 16GB", "V100 SXM2 32GB")),
        ("RTX 4060 Ti", ("RTX 4060 Ti 8GB", "RTX 4060 Ti 16GB")),
        ("GH200", ("GH200 96GB", "GH200 144GB")),
        ("RTX 6000", ("Quadro RTX 6000", "RTX A6000", "RTX 6000 Ada", "RTX PRO 6000 Blackwell")),
    ],
)
def test_a_shared_name_is_refused_with_its_variants(name: str, variants: tuple[str, ...]) -> None:
    with pytest.raises(SpecError) as error:
        gpus.find(name)
    assert all(variant in str(error.value) for variant in variants)


@pytest.mark.parametrize(
    ("name", "mib", "found"),
    [
        ("NVIDIA GeForce RTX 4060 Ti", 8188, "RTX 4060 Ti 8GB"),
        ("NVIDIA GeForce RTX 3060", 8192, "RTX 3060 8GB"),
        ("NVIDIA GeForce RTX 4090", 49140, "RTX 4090 48GB"),
        ("A100", 81920, "A100 SXM 80GB"),
        ("A10G", 24576, "A10G"),  # the marketed size
        ("RTX 4090", 12288, "RTX 4090"),  # nothing near: the name decides
        ("T4", 15109, "T4"),  # an older driver's figure
    ],
)
def test_reported_memory_tells_variants_apart(name: str, mib: int, found: str) -> None:
    assert gpus.find(name, memory_bytes=mib << 20).name == found


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"'RTX 4095' is not in the catalogue\. Nearest: RTX 4090"):
        gpus.find("RTX 4095")
    with pytest.raises(SpecError, match="not in the catalogue"):
        gpus.find("4090 80GB")


def test_catalogue_is_large_and_its_names_are_unique() -> None:
    assert len(ALL) == len(ROWS) == len(set(gpus.names())) >= 60


@pytest.mark.parametrize("gpu", ALL, ids=lambda gpu: gpu.name)
def test_a_row_is_physically_sane(gpu: Gpu) -> None:
    rates = gpu.tflops
    assert rates["fp16"] >= rates["fp32"] > 0
    assert rates.get("tf32", rates["fp32"]) >= rates["fp32"]
    assert rates.get("fp8", rates["fp16"]) >= rates["fp16"]
    assert gpu.bf16 == (gpu.capability >= (8, 0) or gpu.vendor != "nvidia")
    assert gpu.fp8 == (gpu.capability >= (8, 9) or gpu.generation in ("cdna3", "cdna4"))
    assert gpu.flash_attention == (gpu.bf16 and gpu.generation != "cdna1")
    assert 6 << 30 > gpu.memory_bytes - gpu.usable_bytes >= 0
    assert 5 << 30 < gpu.usable_bytes <= gpu.memory_bytes < 300 << 30
    assert 190e9 < gpu.memory_bandwidth < 9e12
    assert gpu.memory_bandwidth > gpu.link.bytes_per_second >= 7e9
    assert gpu.host_link.bytes_per_second >= 7e9
    assert len(gpu.source) > 20
    assert ("memory assumed" in gpu.source or "assumed 16 MiB" in gpu.source) == gpu.assumed


@pytest.mark.parametrize(
    ("text", "kind", "rate"),
    [("pcie4", "pcie4", 31.5e9), ("pcie4x8", "pcie4", 15.75e9), ("nvlink 300", "nvlink", 300e9)],
)
def test_link_short_forms(text: str, kind: str, rate: float) -> None:
    link = gpus.link(text)
    assert (link.kind, link.bytes_per_second) == (kind, rate)
