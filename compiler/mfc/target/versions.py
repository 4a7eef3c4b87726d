"""Versions of a framework, as targets compare them; the core's own module lies below the rules, which need it too."""

from mfc.versions import before, nearest, numbers

__all__ = ["before", "nearest", "numbers"]
