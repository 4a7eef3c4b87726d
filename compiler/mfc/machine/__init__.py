"""What the machine is that mfc runs on: cards, host memory, installed packages. `look` reads it, changing nothing."""

from __future__ import annotations

from mfc.machine import host, installed, nvidia
from mfc.machine.seen import Card, Machine

__all__ = ["Card", "Machine", "look"]


def look() -> Machine:
    """What there is. Nothing is started but the driver's own tool, where its library is not to be had."""
    cards, driver, notes = nvidia.cards()
    folder, packages = installed.packages()
    return Machine(
        cards=cards,
        driver=driver,
        host_memory_bytes=host.memory_bytes(),
        cpu_cores=host.cores(),
        nvme=host.nvme(),
        shared_memory_bytes=host.shared_memory_bytes(),
        open_files=host.open_files(),
        environment=folder,
        packages=packages,
        programs=host.programs(),
        notes=notes,
    )
