"""mfc, the memory-fit compiler."""

from mfc._version import __version__

__all__ = ["__version__"]
