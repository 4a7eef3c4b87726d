"""Every way mfc says no, each with the exit code a shell sees."""

from __future__ import annotations


class MfcError(Exception):
    """A clear refusal. `str(error)` is the whole message; `exit_code` is what the process returns."""

    exit_code = 2


class SpecError(MfcError):
    """The spec, or the command that was given, is wrong. The message says where, what and how to mend it."""


class Refused(SpecError):
    """What is wrong with one field of the spec, said by code that does not know where the field stands: `api` adds it.

    `path` is the dotted field, `hint` how to mend it.
    """

    def __init__(self, path: str, text: str, hint: str = "") -> None:
        super().__init__(path, text, hint)
        self.path, self.text, self.hint = path, text, hint

    def __str__(self) -> str:
        return self.text


class CannotFit(MfcError):
    """No strategy that the spec allows fits the hardware."""

    exit_code = 3


class CannotExpress(MfcError):
    """The target has no way to say what the plan says; the message names targets that can."""

    exit_code = 4


class FileInTheWay(MfcError):
    """A file that mfc did not write, or that was edited by hand, stands where an output would go. It is kept."""

    exit_code = 1


class Fault(MfcError):
    """Something in mfc or in a target is wrong, not in the spec; the message says what to report."""

    exit_code = 70
