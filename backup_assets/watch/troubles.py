"""Which runs and checks have failed and have not been put right since?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

TroubleKind = Literal["run_failed", "check_failed"]
#: What nobody has run again by then is told no longer.
FORGOTTEN_AFTER = timedelta(days=7)


@dataclass(frozen=True)
class CheckSeen:
    """How one check of a run ended; ``subject`` is the asset with the check: ``erp4/db_dump restored``."""

    subject: str
    partition: str
    passed: bool
    is_warning: bool = False
    text: str = ""


@dataclass(frozen=True)
class FinishedRun:
    """A run that succeeded or failed: of what (``subject``: a job, or the assets), for which slot, and its checks.

    ``cause`` and ``remedy`` are those of the first step that failed.
    """

    run_id: str
    subject: str
    partition: str
    succeeded: bool
    ended_at: datetime
    cause: str = ""
    remedy: str = ""
    checks: Sequence[CheckSeen] = ()


class Trouble(BaseModel):
    """A failed run or check that no later one has put right: ``at`` it failed first, and ``last_at`` the last time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: TroubleKind
    subject: str
    partition: str
    run_id: str
    at: AwareDatetime
    last_at: AwareDatetime
    severity: Literal["warn", "error"]
    cause: str
    remedy: str

    def is_forgotten(self, now: datetime) -> bool:
        """Return whether it is too long ago to be told any more."""
        return now - self.last_at >= FORGOTTEN_AFTER


@dataclass(frozen=True)
class Judged:
    """What is in trouble after some runs (``open``), and what began and ended with them, so that nobody heard of it.

    ``ended`` is to be told all the same: a later success does not undo what a check has found, such as a copy that
    was not made, or a change that is there to stay.
    """

    open: tuple[Trouble, ...]
    ended: tuple[Trouble, ...]


_Key = tuple[str, str, str]


def after(troubles: Iterable[Trouble], finished: Iterable[FinishedRun]) -> Judged:
    """Return what is in trouble after some more runs, given in the order in which they ended.

    A failure ends with the next success of the same job or check, for the same slot or for a later one: a slot that is
    past cannot always be filled, and that is told elsewhere.
    """
    open_: dict[_Key, Trouble] = {_key(one): one for one in troubles}
    heard = {(_key(one), one.at) for one in open_.values()}
    ended: list[Trouble] = []
    for run in finished:
        ended += _judge(open_, "run_failed", run.subject, run.partition, run, passed=run.succeeded)
        for check in run.checks:
            ended += _judge(
                open_, "check_failed", check.subject, check.partition, run, passed=check.passed, check=check
            )
    unheard = (one for one in ended if (_key(one), one.at) not in heard)
    return Judged(tuple(open_.values()), tuple(unheard))


def _key(trouble: Trouble) -> _Key:
    return trouble.kind, trouble.subject, trouble.partition


def _judge(
    open_: dict[_Key, Trouble],
    kind: TroubleKind,
    subject: str,
    partition: str,
    run: FinishedRun,
    *,
    passed: bool,
    check: CheckSeen | None = None,
) -> list[Trouble]:
    """Change what is open, and return what has ended with that."""
    if passed:
        return [open_.pop(key) for key in tuple(open_) if key[:2] == (kind, subject) and key[2] <= partition]
    earlier = open_.get((kind, subject, partition))
    open_[kind, subject, partition] = Trouble(
        kind=kind,
        subject=subject,
        partition=partition,
        run_id=run.run_id,
        at=earlier.at if earlier else run.ended_at,
        last_at=run.ended_at,
        severity="warn" if check and check.is_warning else "error",
        cause=check.text if check else run.cause,
        remedy="" if check else run.remedy,
    )
    return []
