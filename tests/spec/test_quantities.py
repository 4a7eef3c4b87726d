"""Quantities as people write them."""

import pytest
from mfc.spec import quantities
from mfc.spec.quantities import Gpus


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("24GiB", 24 * 2**30),
        ("24 GiB", 24 * 2**30),
        ("24G", 24 * 2**30),
        ("24g", 24 * 2**30),
        ("24GB", 24 * 10**9),
        ("1.5TiB", 3 * 2**39),
        ("512MB", 512 * 10**6),
        ("16 kib", 16 * 2**10),
        (".5GiB", 2**29),
        ("7B", 7),
    ],
)
def test_size(text: str, size: int) -> None:
    assert quantities.size(text) == size


@pytest.mark.parametrize(
    "text", ["24", "24 gigs", "GiB", "-1GiB", "1e3GiB", "24Gb/s", "2 4GiB", "", 24, None, [1], "9" * 99 + "G"]
)
def test_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="KiB, MiB, GiB"):
        quantities.size(text)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("25Gbps", 3.125e9),
        ("400Gb/s", 50e9),
        ("400 Gbit/s", 50e9),
        ("12.5GB/s", 12.5e9),
        ("12.5GBps", 12.5e9),
        ("100Mbps", 12.5e6),
        ("1GiB/s", 2.0**30),
        ("3.35TB/s", 3.35e12),
    ],
)
def test_bandwidth(text: str, rate: float) -> None:
    assert quantities.bandwidth(text) == rate


@pytest.mark.parametrize("text", ["25", "25G", "25GB", "0Gbps", "-1Gbps", "fast", 25, None])
def test_no_bandwidth(text: object) -> None:
    with pytest.raises(ValueError, match="Gbps or Gb/s"):
        quantities.bandwidth(text)


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), ("2.5 %", 0.025), (0.05, 0.05), (0, 0.0), (1, 1.0)])
def test_fraction(text: object, share: float) -> None:
    assert quantities.fraction(text) == pytest.approx(share, rel=1e-15)


@pytest.mark.parametrize("text", ["5", 5, "101%", -0.1, True, None, "half", float("nan")])
def test_no_fraction(text: object) -> None:
    with pytest.raises(ValueError, match="percentage"):
        quantities.fraction(text)


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("4x RTX 4090", Gpus(1, 4, "RTX 4090")),
        ("4 x RTX 4090", Gpus(1, 4, "RTX 4090")),
        ("4×RTX 4090", Gpus(1, 4, "RTX 4090")),
        ("4*RTX 4090", Gpus(1, 4, "RTX 4090")),
        ("4张4090", Gpus(1, 4, "4090")),
        ("8 卡 A100-80G", Gpus(1, 8, "A100-80G")),
        ("8xA100-80G", Gpus(1, 8, "A100-80G")),
        ("8X A100-80G", Gpus(1, 8, "A100-80G")),
        ("A100-80G x8", Gpus(1, 8, "A100-80G")),
        ("RTX 4090 x 2", Gpus(1, 2, "RTX 4090")),
        ("2x 8x H100", Gpus(2, 8, "H100")),
        ("8x MI300X", Gpus(1, 8, "MI300X")),
        ("2x4090", Gpus(1, 2, "4090")),
        ("T4", Gpus(1, 1, "T4")),
    ],
)
def test_gpus(text: str, gpus: Gpus) -> None:
    assert quantities.gpus(text) == gpus


@pytest.mark.parametrize("text", ["", "0x T4", "2x 0x T4", "4x", None, 4, "2x 2x T4 x2"])
def test_no_gpus(text: object) -> None:
    with pytest.raises(ValueError, match="a count and a GPU"):
        quantities.gpus(text)
