"""The one family of errors that a user can meet, each saying what happened, why, and what to do next."""

from __future__ import annotations


class BackupError(Exception):
    """Base of every error that this project raises on purpose.

    ``what`` is the sentence that a user reads first, ``why`` the evidence (the end of a program's stderr, a
    value that was found), ``remedy`` the next step. None of them may hold a secret. ``exit_code`` is what the
    command line exits with: 1 a check failed, 2 refused or wrong usage, 3 the environment is at fault.
    """

    exit_code = 3
    retriable = False

    def __init__(self, what: str, *, why: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.remedy = remedy

    def __str__(self) -> str:
        """All three parts as one readable text, without a trace."""
        lines = [self.what]
        if self.why:
            lines.append(f"  because: {self.why}")
        if self.remedy:
            lines.append(f"  next: {self.remedy}")
        return "\n".join(lines)


class CheckFailed(BackupError):
    """Something was examined and found wrong: a damaged artifact, counts that differ."""

    exit_code = 1


class Refused(BackupError):
    """The request is understood and will not be carried out: unconfirmed, unsafe or contradictory."""

    exit_code = 2


class SettingsError(Refused):
    """A setting is missing or wrong; names the variable, or the file and line."""


class EnvironmentFault(BackupError):
    """A server, program, disk or network that is needed is missing or failing.

    ``sqlstate`` is PostgreSQL's code for it where a server rejected a statement: it is the same in every language.
    """

    sqlstate = ""


class AccessDenied(EnvironmentFault):
    """The credentials are good, but this role may not do that: so it is meant, or a policy is wrong."""


class TransientFault(EnvironmentFault):
    """An environment fault that may well be gone on the next attempt."""

    retriable = True
