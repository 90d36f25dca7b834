"""Every kind of alert in both languages, as the pages below `golden/` show them."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import dagster as dg
import pytest

from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_server import ServerSettings
from backup_assets.settings_watch import WatchSettings
from backup_assets.watch.alert_words import TABLES, AlertWords, words_of
from backup_assets.watch.alerts import decide
from backup_assets.watch.conditions import (
    THE_WATCH,
    Blocked,
    Concern,
    Condition,
    Expiring,
    Facts,
    Found,
    conditions_of,
    no_facts,
    not_measured,
)
from backup_assets.watch.figures import ObjectiveState
from backup_assets.watch.kinds import TOLD, Kind
from backup_assets.watch.messages import letter_of, trial_letter
from backup_assets.watch.rds_looks import rds_unwatched
from backup_assets.watch.report_words import Language, names_in
from backup_assets_tests.watch.stores_at_work import a_folder, damage_manifest, drilled, measured, settings_of, taken
from backup_assets_tests.watch.test_conditions import HOUR, NOW, a_store, a_trouble, figures

GOLDEN = Path(__file__).parent / "golden"
LANGUAGES: tuple[Language, ...] = ("en", "ja")
#: About the watch itself; their words are asked for by name, because they come from no figures.
OF_THE_WATCH: tuple[Kind, ...] = ("runs_unread", "channel_failed", "heartbeat_failed")


def settings(language: Language, zone: str = "Asia/Tokyo") -> Settings:
    database = DatabaseSettings(name="erp4", database="erp4", server=ServerSettings())
    watch = WatchSettings(alert_language=language)
    return Settings(env="prod", backup_dir=Path("/b"), databases=(database,), watch=watch)


def every_condition(language: Language) -> tuple[Condition, ...]:
    """Return every kind, and where a kind is told in two ways, both."""
    words = AlertWords(language)
    mixed = tuple(words.say("servers_mixed.one", set=one, server=f"{one}00, timeline 1") for one in ("73", "74"))
    stores = (
        a_store("local", damaged=2, lost=("set-7",)),
        a_store(late="LATE", lost=("set-7",), vanished=("set-6", "set-5", "set-4", "set-3"), servers=mixed),
        a_store("nas", error="no route to host"),
    )
    facts = Facts(
        (Blocked("usb", "BLOCKED"),), (), (Concern("ABCD", "warn", "KEY", "EXTEND"),),
        (Expiring("set-9", "s3", "EXPIRING"),),
    )  # fmt: skip
    found: list[Condition] = []
    check = a_trouble().model_copy(update={"kind": "check_failed", "subject": "erp4/db_dump restored", "partition": ""})
    states: tuple[ObjectiveState, ...] = ("warn", "broken")
    for state in states:
        broken: dict[str, ObjectiveState] = dict.fromkeys(map(str, TOLD), state)
        told = figures(*stores, missed=("2026-11-20",), **broken)
        found += conditions_of(told, (a_trouble(), check), facts, NOW, ui_url="http://ui", words=words).conditions
    found += not_measured("erp4", "no answer", (), NOW, words=words).conditions
    beside = no_facts(words.say("not_measured.facts.cause", database="erp4", n=10))
    found += conditions_of(figures(), (), beside, NOW, ended=(a_trouble(), check), words=words).conditions
    with dg.instance_for_test() as instance:
        unwatched = rds_unwatched(instance, settings(language).databases[0], NOW, words)
    assert unwatched is not None
    found.append(unwatched)
    for kind in OF_THE_WATCH:
        title, remedy = words.say(f"{kind}.title", channel="2-json"), words.say(f"{kind}.remedy")
        found.append(Condition(THE_WATCH, kind, "2-json", "error", title, cause="it answered 500", remedy=remedy))
    return tuple({(one.key, one.severity): one for one in found}.values())


def page(language: Language) -> str:
    """Return every alert and its end as the letters say them."""
    texts = []
    for condition in every_condition(language):
        opened = decide((), Found((replace(condition, since=NOW - 3 * HOUR),)), NOW, timedelta(days=1))
        over = decide(opened, Found(), NOW + HOUR, timedelta(days=1))
        for alerts, at in ((opened, NOW), (over, NOW + HOUR))[: 2 if condition.lasting else 1]:
            letter = letter_of(alerts, settings(language), at)
            texts.append(f"{letter.subject}\n{letter.body}\n")
    return "\n".join(texts)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_reads_as_its_page_shows(language: Language) -> None:
    path = GOLDEN / f"alerts.{language}.txt"
    if os.environ.get("WRITE_GOLDEN"):
        path.write_text(page(language))

    assert page(language) == path.read_text()


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_kind_is_without_a_text(language: Language) -> None:
    found = every_condition(language)

    assert {one.kind for one in found} == set(get_args(Kind))
    assert [one.key for one in found if not (one.title and one.remedy)] == []


def test_both_languages_have_the_same_sentences_and_no_other_values() -> None:
    english, japanese = TABLES["en"], TABLES["ja"]

    assert english.keys() == japanese.keys()
    assert [key for key in english if not names_in(japanese[key]) <= names_in(english[key])] == []


def test_a_japanese_alert_has_no_english_sentence_of_ours() -> None:
    ours = [one.title + one.remedy for one in every_condition("ja") if one.kind != "encryption_key"]

    assert [text for text in ours if not any("\u3040" <= letter <= "\u30ff" for letter in text)] == []


def test_the_language_of_alerts_is_that_of_the_report_unless_it_is_another() -> None:
    both = settings("ja").model_copy(update={"watch": WatchSettings(language="ja")})
    assert words_of(both).language == "ja"
    assert words_of(settings("en")).language == "en"
    apart = both.model_copy(update={"watch": WatchSettings(language="ja", alert_language="en")})
    assert words_of(apart).language == "en"


def test_what_was_measured_is_told_in_japanese_and_names_stay_as_they_are(tmp_path: Path) -> None:
    made = settings_of(tmp_path, a_folder(tmp_path, "usb"))
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    old = taken(made, now - timedelta(days=3), stores=("local", "usb"))
    damage_manifest(made, taken(made, now - timedelta(days=4)))
    drilled(made, old, at=now - timedelta(days=2), seconds=5 * 3600, passed=False)
    words = AlertWords("ja")
    found = measured(made, now, words=words)

    texts = {one.name: one.text for one in found.objectives}
    assert texts["rpo"] == "最新の正常なバックアップは 72 時間前のものです(local、usb)。目標は 24 時間以内です"
    assert "不合格でした: the restore took longer than promised" in texts["drill"]
    assert [name for name, text in texts.items() if not any("\u3040" <= letter <= "\u30ff" for letter in text)] == []
    assert found.stores[1].late.startswith("usb にある最新の正常なバックアップは 72 時間前")


def test_moments_are_told_in_the_zone_of_the_schedule() -> None:
    assert "2026-11-22 21:00 JST" in trial_letter(settings("ja"), NOW).body
    assert "Nothing is wrong" in trial_letter(settings("en"), NOW).body
