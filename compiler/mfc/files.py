"""Reading files that somebody else laid there: regular ones of a sane size, and no pipe that nothing comes out of.

Whether something is there is asked by `os.path`, never by methods of `Path`, which raise for a name that is too long.
"""

from __future__ import annotations

import errno
import os
import stat
import sys

MOST = 2**26  # bytes: what mfc reads or writes has kilobytes


def standard_input(most: int = MOST) -> bytes:
    """All of standard input, the first `most` bytes and one more of a longer one; it can be read once."""
    return sys.stdin.buffer.read(most + 1) if sys.stdin else b""


def read(path: str | os.PathLike[str], most: int = MOST) -> bytes:
    """The bytes of a regular file, the first `most` and one more of a larger one.

    Raises OSError also for pipes, devices and sockets, without waiting for them.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "a pipe or a device, and a regular file is needed there", os.fspath(path))
        with os.fdopen(handle, "rb", closefd=False) as stream:
            return stream.read(most + 1)
    finally:
        os.close(handle)


def linked(folder: str | os.PathLike[str], path: str) -> bool:
    """Whether a file in a folder is a link, or reached through one."""
    whole = os.path.join(os.path.realpath(folder), os.path.normpath(path))
    return os.path.lexists(whole) and os.path.normcase(os.path.realpath(whole)) != os.path.normcase(whole)


def runs(file: str | os.PathLike[str]) -> bool:
    """Whether a file may be started by its owner, as far as this system tells."""
    return os.name == "nt" or bool(os.stat(file).st_mode & stat.S_IXUSR)
