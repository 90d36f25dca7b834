from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_server import ServerSettings
from backup_assets.settings_watch import WatchSettings
from backup_assets.watch.alerts import Alert, decide
from backup_assets.watch.conditions import Condition, Found
from backup_assets.watch.messages import IN_BRIEF, IN_FULL, LONGEST_CAUSE, letter_of, trial_letter

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def settings() -> Settings:
    server = ServerSettings.model_validate({"password": "hunter2"})
    watch = WatchSettings.model_validate({"channels": ["slack://aa-token"], "heartbeat": "https://beat.example/uuid"})
    database = DatabaseSettings(name="erp4", database="erp4", server=server)
    return Settings(env="prod", backup_dir=Path("/b"), databases=(database,), watch=watch)


def alerts(count: int = 1, **fields: str) -> tuple[Alert, ...]:
    given = {"title": "it broke", "cause": "why", "remedy": "mend it", **fields}
    conditions = tuple(Condition("erp4", "rpo", f"{place:03}", "error", **given) for place in range(count))  # type: ignore[arg-type]
    return decide((), Found(conditions), NOW, DAY)


def test_no_secret_of_the_settings_is_in_a_message() -> None:
    cause = "connection with hunter2 failed; slack://aa-token; https://beat.example/uuid"

    letter = letter_of(alerts(cause=cause, title="hunter2 was refused"), settings(), NOW)

    everything = letter.subject + letter.body
    assert not [one for one in ("hunter2", "aa-token", "uuid") if one in everything]
    assert "connection with *** failed" in letter.body


def test_a_long_cause_is_cut_and_stays_on_one_line() -> None:
    letter = letter_of(alerts(cause="x\n" * 5000), settings(), NOW)

    assert max(len(line) for line in letter.body.splitlines()) <= LONGEST_CAUSE + len("Because: …")


def test_hundreds_of_alerts_are_one_message_that_says_how_many() -> None:
    letter = letter_of(alerts(200), settings(), NOW)

    assert letter.subject == "[erp4 prod] it broke (and 199 more)"
    assert letter.body.count("Because:") == IN_FULL
    assert letter.body.count("\n- it broke") == IN_BRIEF
    assert letter.body.endswith(f"- and {200 - IN_FULL - IN_BRIEF} more: `backup-assets status`")


def test_the_end_tells_how_long_it_lasted() -> None:
    over = decide(alerts(), Found(), NOW + timedelta(minutes=90), DAY)

    letter = letter_of(over, settings(), NOW + timedelta(minutes=90))

    assert letter.subject == "[erp4 prod] over: it broke"
    assert "from 2026-11-22 21:00 JST to 2026-11-22 22:30 JST (1 h)" in letter.body
    assert letter.severity is None


def test_a_trial_says_that_nothing_is_wrong() -> None:
    assert "Nothing is wrong" in trial_letter(settings(), NOW).body
