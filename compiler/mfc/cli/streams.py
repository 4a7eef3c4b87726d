"""Standard input, output and error, whatever they are: pipes that close, full disks, encodings that lack a letter."""

from __future__ import annotations

import errno
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

_UNWRITABLE = {errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EBADF, getattr(errno, "EDQUOT", errno.ENOSPC)}


def escape() -> None:
    """Let output show what its encoding lacks as an escape, as errors do already."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def exact(text: str) -> None:
    """Print the text of a file, which is UTF-8 whatever the encoding of the output is."""
    binary = getattr(sys.stdout, "buffer", None)
    if binary is None:  # somebody put a stream of text in its place
        sys.stdout.write(text)
        return
    sys.stdout.flush()
    binary.write(text.encode())


def guarded(command: Callable[[], int]) -> int:
    """Run a command and flush what it printed; its exit code.

    Output that cannot be written is no fault of mfc's, and everything else that nobody expected is one.
    """
    try:
        code = command()
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        _abandon(sys.stderr)
        _abandon(sys.stdout)
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        # Whoever writes a file says so itself, with its name: what is left are the streams.
        if isinstance(error, OSError) and error.errno in _UNWRITABLE and error.filename is None:
            _abandon(sys.stdout)
            _say(f"error: cannot print all that there is to say: {error.strerror}; files stay as they were written")
            return 2
        import traceback  # the last line of defence: say whose fault it is

        _say(traceback.format_exc().rstrip())
        _say("error: this is a fault in mfc, not in your spec; please report it with the lines above")
        return 70


def _abandon(stream: TextIO | None) -> None:
    """Close a stream that cannot be written: Python would try again as it ends."""
    with suppress(OSError):
        if stream is not None:
            stream.close()


def _say(text: str) -> None:
    with suppress(OSError, ValueError):
        print(text, file=sys.stderr)
