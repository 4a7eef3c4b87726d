"""Packages that a plan needs beside its framework, of which only the user knows whether they are installed.

A rule that says no for want of one names it (`package` of `mfc.rules.engine.require`); the planner then looks whether
declaring it would help, and says how.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mfc.profile import Profile

SOURCE = "the target's settings: packages says what is installed"

FLASH, FLASH3, LIGER = "flash-attn", "flash-attn-3", "liger-kernel"
BITSANDBYTES, DEEPSPEED = "bitsandbytes", "deepspeed"
# A version of each, to show how it is declared: the newest as this is written.
EXAMPLES: Mapping[str, str] = {
    FLASH: "2.8.3",
    FLASH3: "3.0.0",
    LIGER: "0.8.5",
    BITSANDBYTES: "0.50.2",
    DEEPSPEED: "0.19.8",
}


def absent(profile: Profile, package: str) -> str | None:
    """The reason where a package counts as not installed, by the spec or for the target; None where nothing says so."""
    said = f"{package} is not installed, as far as targets.{profile.target}.packages says"
    return said if profile.packages.get(package, "") is None else None


def declared(profile: Profile, package: str) -> bool:
    """Whether the spec says that a package is installed."""
    return profile.packages.get(package) is not None


def undeclared(profile: Profile, package: str) -> bool:
    """Whether the spec says nothing of a package."""
    return package not in profile.packages


def declaration(profile: Profile, package: str) -> str:
    """How the spec says that a package is installed."""
    return f"targets.{profile.target}.packages: {{{package}: {EXAMPLES[package]}}}"


def with_package(profile: Profile, package: str) -> Profile:
    """The profile with one more package declared."""
    return profile._replace(packages={**profile.packages, package: EXAMPLES[package]})


def without_package(profile: Profile, package: str) -> Profile:
    """The profile with one package declared absent."""
    return profile._replace(packages={**profile.packages, package: None})
