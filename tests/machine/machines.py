"""Machines to draw: cards as drivers name them, some in use, hosts of many sizes."""

from __future__ import annotations

from pathlib import Path
from random import Random

from mfc.catalog import gpus
from mfc.machine import Card, Machine
from mfc.machine.seen import Driver

GIB = 1 << 30
PRODUCTS = {
    "NVIDIA GeForce RTX 4090": 24564,
    "NVIDIA GeForce RTX 3090": 24576,
    "NVIDIA A100-SXM4-80GB": 81920,
    "NVIDIA H100 80GB HBM3": 81559,
    "Tesla V100-SXM2-32GB": 32768,
    "Tesla T4": 15360,
}
PACKAGES = {"torch": "2.9.1", "transformers": "4.57.6", "llamafactory": "0.9.5", "deepspeed": "0.19.8", "trl": "1.16.0"}


def drawn(seed: int) -> Machine:
    """One machine."""
    rng = Random(seed)
    return Machine(
        cards=tuple(_card(rng, number) for number in range(rng.randint(1, 8))),
        driver=Driver("550.54.15", (12, 4)),
        host_memory_bytes=rng.choice((None, rng.randint(8 * GIB, 2048 * GIB))),
        cpu_cores=rng.choice((None, rng.randint(1, 256))),
        nvme=rng.choice((None, Path("/mnt/nvme"), Path("/with a space"))),
        environment=Path("/venv"),
        packages={name: version for name, version in PACKAGES.items() if rng.random() < 0.5},
    )


def _card(rng: Random, number: int) -> Card:
    name = rng.choice(sorted(PRODUCTS))
    size = PRODUCTS[name] << 20
    used = int(size * rng.choice((0, 0, 0, 0.004, 0.05, 0.9)))
    return Card(number, name, size, used, rng.choice((None, ())), rng.random() < 0.5)


def known(product: str) -> str:
    """The catalogue's name of a product."""
    return gpus.find(product, PRODUCTS[product] << 20).name
