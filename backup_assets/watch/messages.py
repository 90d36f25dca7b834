"""How does an alert read?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from pydantic import BaseModel, SecretStr

from backup_assets.settings import Settings
from backup_assets.watch.alert_words import AlertWords, words_of
from backup_assets.watch.alerts import Alert
from backup_assets.watch.conditions import THE_WATCH
from backup_assets.watch.kinds import Severity

#: Alerts of one message that are told in full; of the others there is a line each, and then their number.
IN_FULL = 10
IN_BRIEF = 50
#: Longest cause in a message: the end of a program's output can be long.
LONGEST_CAUSE = 600


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
    words, zone = words_of(settings), _zone(first.database, settings)
    subject = f"[{about} {settings.env}] {_headline(first, words)}"
    if len(alerts) > 1:
        subject = words.say("letter.more", subject=subject, n=len(alerts) - 1)
    blocks = ["\n".join(_lines(alert, now, words, zone)) for alert in alerts[:IN_FULL]]
    brief = [f"- {_headline(alert, words)}" for alert in alerts[IN_FULL : IN_FULL + IN_BRIEF]]
    left = len(alerts) - IN_FULL - IN_BRIEF
    if left > 0:
        brief.append(words.say("letter.brief_more", n=left))
    if brief:
        blocks.append("\n".join(brief))
    severity: Severity | None = None
    if open_:
        severity = "error" if any(alert.severity == "error" for alert in open_) else "warn"
    secrets = tuple(secrets_of(settings))
    return Letter(scrubbed(" ".join(subject.split()), secrets), scrubbed("\n\n".join(blocks), secrets), severity)


def trial_letter(settings: Settings, now: datetime) -> Letter:
    """Return the message that shows whether a channel works."""
    words = words_of(settings)
    names = words.join("listed", [database.name for database in settings.databases])
    at = _moment(now, _zone(THE_WATCH, settings))
    return Letter(
        f"[watch {settings.env}] {words.say('trial.subject')}", words.say("trial.body", names=names, at=at), None
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


def _headline(alert: Alert, words: AlertWords) -> str:
    return words.say(f"letter.{alert.occasion}", title=alert.title)


def _lines(alert: Alert, now: datetime, words: AlertWords, zone: tzinfo) -> Iterator[str]:
    about = words.say("letter.database", name=alert.database)
    if alert.database == THE_WATCH:
        about = words.say("letter.watch")
    if alert.slot:
        about = words.say("letter.slot", about=about, slot=alert.slot)
    since, cause = _moment(alert.since, zone), _short(alert.cause) or words.say("letter.no_reason")
    is_over = alert.occasion == "over"
    mark = "over" if is_over else alert.severity
    yield words.say(f"letter.mark.{mark}", text=alert.title if is_over else _headline(alert, words))
    if alert.over_at is not None:
        lasted = words.span((alert.over_at - alert.since).total_seconds())
        yield words.say("letter.lasted", about=about, since=since, until=_moment(alert.over_at, zone), time=lasted)
        yield words.say("letter.was", cause=cause)
        return
    yield words.say("letter.since", about=about, since=since, time=words.span((now - alert.since).total_seconds()))
    yield words.say("letter.because", cause=cause)
    if alert.safe:
        yield words.say("letter.safe", safe=alert.safe)
    yield words.say("letter.remedy", remedy=alert.remedy)
    if alert.link:
        yield words.say("letter.link", link=alert.link)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_CAUSE else f"{line[:LONGEST_CAUSE]}…"


def _zone(database: str, settings: Settings) -> tzinfo:
    """Return the zone of a database's schedule; what is about all of them is told in it where they share one."""
    zones = {one.schedule.timezone for one in settings.databases if database in (one.name, THE_WATCH)}
    return ZoneInfo(zones.pop()) if len(zones) == 1 else UTC


def _moment(at: datetime, zone: tzinfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M %Z}"
