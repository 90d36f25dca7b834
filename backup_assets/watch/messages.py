"""How does an alert read?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel, SecretStr

from backup_assets.settings import Settings
from backup_assets.watch.alerts import Alert
from backup_assets.watch.conditions import THE_WATCH, span
from backup_assets.watch.kinds import Severity

#: Alerts of one message that are told in full; of the others there is a line each, and then their number.
IN_FULL = 10
IN_BRIEF = 50
#: Longest cause in a message: the end of a program's output can be long.
LONGEST_CAUSE = 600
_WORDS = {"new": "", "worse": "now worse: ", "reminder": "still: ", "over": "over: "}


@dataclass(frozen=True)
class Letter:
    """One message: plain text, without any secret of the settings."""

    subject: str
    body: str
    severity: Severity | None


def letter_of(alerts: Sequence[Alert], settings: Settings, now: datetime) -> Letter:
    """Return the message about some alerts of one database, or of the watch itself; there must be one at least."""
    first = alerts[0]
    about = "watch" if first.database == THE_WATCH else first.database
    open_ = [alert for alert in alerts if alert.over_at is None]
    more = f" (and {len(alerts) - 1} more)" if len(alerts) > 1 else ""
    subject = f"[{about} {settings.env}] {_headline(first)}{more}"
    blocks = ["\n".join(_lines(alert, now)) for alert in alerts[:IN_FULL]]
    brief = [f"- {_headline(alert)}" for alert in alerts[IN_FULL : IN_FULL + IN_BRIEF]]
    left = len(alerts) - IN_FULL - IN_BRIEF
    if left > 0:
        brief.append(f"- and {left} more: `backup-assets status`")
    if brief:
        blocks.append("\n".join(brief))
    severity: Severity | None = None
    if open_:
        severity = "error" if any(alert.severity == "error" for alert in open_) else "warn"
    secrets = tuple(secrets_of(settings))
    return Letter(scrubbed(" ".join(subject.split()), secrets), scrubbed("\n\n".join(blocks), secrets), severity)


def trial_letter(settings: Settings, now: datetime) -> Letter:
    """Return the message that shows whether a channel works."""
    names = ", ".join(database.name for database in settings.databases)
    return Letter(
        f"[watch {settings.env}] this is a test",
        f"The watch over the backups of {names} can reach you here. Nothing is wrong; nothing is to be done.\n"
        f"Sent {_moment(now)}.",
        None,
    )


def secrets_of(part: object) -> Iterator[str]:
    """Yield every secret that the settings hold."""
    if isinstance(part, SecretStr):
        yield part.get_secret_value()
    elif isinstance(part, BaseModel):
        for name in type(part).model_fields:
            yield from secrets_of(getattr(part, name))
    elif isinstance(part, tuple):
        for one in part:
            yield from secrets_of(one)


def scrubbed(text: str, secrets: Sequence[str]) -> str:
    """Return ``text`` without any of the secrets; those of one to three characters are in every text by chance."""
    for secret in sorted((one for one in secrets if len(one.strip()) > 3), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _headline(alert: Alert) -> str:
    return f"{_WORDS[alert.occasion]}{alert.title}"


def _lines(alert: Alert, now: datetime) -> Iterator[str]:
    about = "the watch itself" if alert.database == THE_WATCH else f"database {alert.database}"
    mark = "OVER" if alert.occasion == "over" else "WARNING" if alert.severity == "warn" else "PROBLEM"
    yield f"{mark}: {alert.title if alert.occasion == 'over' else _headline(alert)}"
    slot = f", slot {alert.slot}" if alert.slot else ""
    if alert.over_at is not None:
        lasted = span((alert.over_at - alert.since).total_seconds())
        yield f"Of: {about}{slot}, from {_moment(alert.since)} to {_moment(alert.over_at)} ({lasted})"
        yield f"It was: {_short(alert.cause)}"
        return
    yield f"Of: {about}{slot}, since {_moment(alert.since)} ({span((now - alert.since).total_seconds())})"
    yield f"Because: {_short(alert.cause)}"
    if alert.safe:
        yield f"Safe: {alert.safe}"
    yield f"To do: {alert.remedy}"
    if alert.link:
        yield f"See: {alert.link}"


def _short(text: str) -> str:
    line = " ".join(text.split()) or "no reason is known"
    return line if len(line) <= LONGEST_CAUSE else f"{line[:LONGEST_CAUSE]}…"


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
