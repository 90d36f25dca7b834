from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest

from backup_assets.watch import report_words
from backup_assets.watch.month_slots import SlotState
from backup_assets.watch.report_html import page
from backup_assets.watch.report_verdict import FindingCode, findings, growth_of_stores, verdict
from backup_assets.watch.report_words import TABLES, Language, Words, names_in
from backup_assets_tests.sets.examples import a_manifest
from backup_assets_tests.watch.months import NOW, Wrong, an_october, night, sized, write_set
from backup_assets_tests.watch.test_report import BAD

LANGUAGES: tuple[Language, ...] = ("en", "ja")
#: The package whose pages these are.
WATCH = Path(report_words.__file__).parent
VOID = {"meta", "br", "hr", "img", "link", "input"}


@pytest.fixture(autouse=True)
def a_large_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be room for decades: with little, a page says when the real disk will be full."""
    facts = SimpleNamespace(f_bavail=10**9, f_frsize=10**6)
    monkeypatch.setattr(os, "statvfs", lambda _: facts)


class Reading(HTMLParser):
    """Reads a page as a browser does: every element closed in its order, and all the text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.mistakes: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.mistakes.append(tag)

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_is_well_formed_and_says_its_language(tmp_path: Path, language: Language):
    read = Reading(page(an_october(tmp_path, BAD).report(), language).html)

    assert read.mistakes == []
    assert read.open == []
    assert ("html", {"lang": language}) in read.tags
    assert all("scope" in attributes for tag, attributes in read.tags if tag == "th")
    pictures = [attributes for tag, attributes in read.tags if tag == "svg"]
    assert len(pictures) == 4
    assert all(picture["role"] == "img" and picture["aria-label"] for picture in pictures)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_asks_nothing_of_a_network_and_runs_nothing(tmp_path: Path, language: Language):
    html = page(an_october(tmp_path, BAD).report(), language).html

    assert not re.search(r"https?:|//|@import|url\(|<script|<link|<img|<iframe|\son\w+=", html)


def test_what_somebody_typed_is_text_and_nothing_else(tmp_path: Path):
    attack = "<script>alert('1')</script>\x00\"&"
    html = page(an_october(tmp_path, Wrong(hold={30: attack})).report(), "en").html
    read = Reading(html)

    assert "<script" not in html
    assert any("<script>alert('1')</script>" in text for text in read.text)
    assert "\x00" not in html
    assert "script" not in {tag for tag, _ in read.tags}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_first_thing_that_is_said_is_the_verdict_and_why(tmp_path: Path, language: Language):
    good = page(an_october(tmp_path).report(), language)

    assert good.outcome == "good"
    assert good.findings == ()
    words = Words(language, "Asia/Tokyo")
    assert good.sentence == words.say("sentence.good", n=31, gap=words.hours(24))
    assert good.html.index(words.say("verdict.good")) < good.html.index(words.say("promises"))


def test_a_bad_month_says_so_with_every_reason_and_what_to_do(tmp_path: Path):
    made = page(an_october(tmp_path, BAD, pruned_on=(31,)).report(), "en")

    assert made.outcome == "bad"
    assert {one.code for one in made.findings} >= {
        "rpo_broken", "drill_failed", "missed", "failed", "unproven", "proof_late", "not_copied",
    }  # fmt: skip
    read = "".join(Reading(made.html).text)
    assert "there was no good backup for 3\u00a0days" in read
    assert "Backups that were due and missed: 2 (the first: 2026-10-07)." in read
    assert "Of 29 backups, 2 did not get to usb." in read


def test_a_missed_backup_alone_needs_attention_where_more_may_be_lost(tmp_path: Path):
    report = an_october(tmp_path, Wrong(missed=(25,))).report()
    generous = tuple(replace(one, state="met") for one in report.promises)

    found = findings(replace(report, promises=generous))

    assert [one.code for one in found] == ["missed"]
    assert verdict(found) == "attention"


def test_a_month_without_any_backup_is_never_good(tmp_path: Path):
    place = an_october(tmp_path)
    for folder in (place.local, place.usb):
        for file in folder.rglob("*.manifest.json"):
            file.unlink()

    for language in LANGUAGES:
        made = page(place.report(), language)
        assert made.outcome == "bad"
        assert "no_set" in {one.code for one in made.findings}


def test_a_drill_that_was_not_held_is_missed(tmp_path: Path):
    found = findings(an_october(tmp_path, Wrong(drills=())).report())

    assert [one.code for one in found] == ["no_drill"]


def test_a_store_that_fills_up_is_told_with_its_day(tmp_path: Path):
    report = an_october(tmp_path).report()
    tight = tuple(replace(store, free_bytes=10_000_000_000) for store in report.stores)
    report = replace(report, stores=tight)
    (local, _) = growth_of_stores(report)

    # Half a gigabyte a day comes, and nothing goes.
    assert local.totals[-1][1] == sum(one.size_bytes for one in report.all_sets if one.taken_at <= report.end)
    assert local.full is not None
    assert local.full.likely == pytest.approx(20, abs=3)
    full = next(one for one in findings(report, (local,)) if one.code == "store_full")
    assert full.values["at"] == NOW + timedelta(days=local.full.likely or 0)


def test_deletions_are_taken_off_what_a_store_holds(tmp_path: Path):
    report = an_october(tmp_path, pruned_on=(31,)).report()
    (local, _) = growth_of_stores(report)

    there = sum(one.size_bytes for one in report.all_sets if "local" in one.stores and one.taken_at <= report.end)
    assert local.totals[-1][1] == there
    assert max(size for _, size in local.totals) > there


def test_both_languages_have_the_same_sentences_with_the_same_values():
    english, japanese = TABLES["en"], TABLES["ja"]

    assert english.keys() == japanese.keys()
    for key in english:
        assert names_in(english[key]) == names_in(japanese[key]), key
        assert english[key].strip()
        assert japanese[key].strip()
    assert all(re.search("[\u3040-\u30ff\u4e00-\u9fff]", text) for key, text in japanese.items() if key != "none"
               and key != "growth.range")  # fmt: skip


def test_every_finding_and_every_state_has_its_words():
    for code in get_args(FindingCode):
        assert {f"finding.{code}", f"action.{code}"} <= TABLES["en"].keys()
    for state in get_args(SlotState):
        assert f"slot.{state}" in TABLES["en"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_of_the_table_is_used(language: Language):
    sources = "".join(path.read_text(encoding="utf-8") for path in WATCH.glob("report*.py")
                      if path.name != "report_words.py")  # fmt: skip
    families = ("tier.", "verdict.", "state.", "promise.", "slot.", "kind.", "objective.", "finding.", "action.",
                "tile.", "reason.")  # fmt: skip
    unused = [
        key for key in TABLES[language] if f'"{key}"' not in sources.replace("'", '"') and not key.startswith(families)
    ]

    assert unused == []


def test_thousands_of_sets_take_seconds(tmp_path: Path):
    place = an_october(tmp_path)
    for number in range(500):
        taken_at = night(30, 9) - timedelta(hours=number, minutes=7)
        write_set(place.local, sized(a_manifest(taken_at, tables=0), 1_000_000, 10))
    begun = time.process_time()  # whatever else the machine does

    page(place.report(), "en")

    # 10,000 in less than ten seconds.
    assert time.process_time() - begun < 10
