from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup_assets.errors import Refused
from backup_assets.retention.gone import GONE
from backup_assets.settings_retention import RetentionSettings
from backup_assets.watch.report import longest_gap, month_bounds
from backup_assets_tests.sets.examples import ERP4, a_manifest
from backup_assets_tests.watch.months import MONTH, NOW, Place, Wrong, a_place, an_october, night, write_set

BAD = Wrong(missed=(7, 8), failed=(12,), unproven=(20,), not_copied=(25, 26), drills=((1, True), (15, False)))


def states(place: Place, month: str = MONTH, now: datetime = NOW) -> dict[str, str]:
    return {slot.key: slot.state for slot in place.report(month, now).slots}


def test_a_good_month_has_a_proven_backup_in_every_slot(tmp_path: Path):
    report = an_october(tmp_path).report()

    assert len(report.slots) == 31
    assert report.count("verified") == 31
    assert [(one.name, one.state) for one in report.promises] == [
        ("rpo", "met"),
        ("verified", "met"),
        ("drill", "met"),
        ("rto", "met"),
    ]
    assert [(store.name, store.got, store.wanted) for store in report.stores] == [("local", 31, 31), ("usb", 31, 31)]


def test_what_went_wrong_is_told_slot_by_slot(tmp_path: Path):
    found = states(an_october(tmp_path, BAD, pruned_on=(31,)))

    assert {key: state for key, state in found.items() if state != "verified"} == {
        "2026-10-07": "missed",
        "2026-10-08": "missed",
        "2026-10-12": "failed",
        "2026-10-20": "taken",
    }


def test_the_rpo_really_reached_is_the_longest_time_between_good_sets(tmp_path: Path):
    report = an_october(tmp_path, BAD).report()

    assert report.gap is not None
    assert (report.gap.since, report.gap.until) == (night(6), night(9))
    rpo = report.promise("rpo")
    assert (rpo.state, rpo.measured, rpo.wanted) == ("broken", 72, 24)


def test_a_set_that_failed_its_check_does_not_shorten_the_gap(tmp_path: Path):
    report = an_october(tmp_path, Wrong(failed=(12,))).report()

    assert report.promise("rpo").measured == 48


def test_the_gap_reaches_back_into_the_month_before_and_on_to_the_end():
    start, end = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
    before, within = start - timedelta(days=3), start + timedelta(days=1)

    late_start = longest_gap([before, within, *(within + timedelta(days=n) for n in range(1, 30))], start, end)
    silent_end = longest_gap([before, within], start, end)

    assert late_start is not None
    assert late_start.hours == 4 * 24
    assert silent_end is not None
    assert (silent_end.since, silent_end.until) == (within, end)
    assert longest_gap([], start, end) is None


def test_proof_ages_until_the_next_proof(tmp_path: Path):
    report = an_october(tmp_path, Wrong(unproven=(10, 11, 12))).report()

    proof = report.promise("verified")
    # From the moment that the set of the 9th shows to the proof of the 13th, twenty minutes after its capture.
    assert proof.measured == pytest.approx(96 + 1 / 3)
    assert proof.state == "broken"


def test_drills_count_with_their_time_and_their_failures(tmp_path: Path):
    report = an_october(tmp_path, Wrong(drills=((1, True), (15, False), (16, True)), drill_minutes=270)).report()

    assert [drill.passed for drill in report.drills] == [False, False, False]
    rto = report.promise("rto")
    assert (rto.state, rto.measured) == ("broken", 4.5)
    assert report.promise("drill").state == "broken"


def test_a_drill_that_two_stores_recorded_counts_once(tmp_path: Path):
    place = an_october(tmp_path)
    for record in (place.local / ERP4.key("meta")).glob("*.drill.*"):
        shutil.copy(record, place.usb / ERP4.key("meta"))

    assert len(place.report().drills) == 1


def test_copies_that_did_not_come_are_counted_by_store(tmp_path: Path):
    (_, usb) = an_october(tmp_path, BAD).report().stores

    # 29 sets were taken, two of them not copied.
    assert (usb.name, usb.got, usb.wanted, usb.off_site) == ("usb", 27, 29, True)
    assert usb.latest_hours == pytest.approx(2 / 3)


def test_a_month_is_told_the_same_after_the_retention_deleted_most_of_it(tmp_path: Path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "pruned").mkdir()
    before = an_october(tmp_path / "kept", BAD)
    after = an_october(tmp_path / "pruned", BAD, pruned_on=(31,))
    told, still = before.report(), after.report()

    assert len(still.deletions) > 10
    assert {slot.key for slot in still.slots if slot.state == "missed"} == {"2026-10-07", "2026-10-08"}
    assert [(s.key, s.state) for s in still.slots if s.state == "failed"] == [("2026-10-12", "failed")]
    assert still.promises == told.promises
    assert [store.got for store in still.stores] == [store.got for store in told.stores]


def test_without_its_notes_a_slot_whose_set_may_have_been_deleted_is_unknown_and_not_missed(tmp_path: Path):
    place = an_october(tmp_path, Wrong(missed=(7, 25)), pruned_on=(31,))
    shutil.rmtree(place.local / ERP4.key(GONE))
    shutil.rmtree(place.usb)
    place.usb.mkdir()

    found = states(place)

    assert found["2026-10-07"] == "unknown"
    # The newest fourteen days keep each a set: what is not there never was.
    assert found["2026-10-25"] == "missed"
    assert found["2026-10-31"] == "verified"


def test_a_store_that_does_not_answer_is_told_and_hides_nothing(tmp_path: Path):
    place = an_october(tmp_path)
    shutil.rmtree(place.usb)

    report = place.report()

    assert report.count("verified") == 31
    assert report.stores[1].error
    # Its copies are still known from what the local store wrote down.
    assert (report.stores[1].got, report.stores[1].lost) == (31, 0)


def test_copies_that_vanished_without_a_note_are_lost(tmp_path: Path):
    place = an_october(tmp_path)
    for file in (place.usb / ERP4.key("meta")).glob("2026-11-01*"):
        file.unlink()
    for file in (place.usb / ERP4.key("meta")).glob("2026-10-31*"):
        file.unlink()

    (_, usb) = place.report().stores

    assert usb.lost == 1


def test_the_current_month_is_told_so_far(tmp_path: Path):
    report = an_october(tmp_path).report("2026-11")

    assert not report.is_over
    assert (report.count("verified"), report.count("due"), len(report.slots)) == (1, 29, 30)
    assert report.end == NOW


def test_slots_within_a_day_are_told_one_by_one(tmp_path: Path):
    place = a_place(tmp_path, every="6h")
    for hour in range(0, 24 * 31, 6):
        taken_at = datetime(2026, 10, 1, tzinfo=NOW.tzinfo) + timedelta(hours=hour, minutes=1)
        if hour != 600:
            write_set(place.local, a_manifest(taken_at, tables=0))

    report = place.report()

    assert len(report.slots) == 124
    assert report.count("taken") == 123
    # Retention keeps every set for two days only: older than that, nobody knows.
    assert [slot.key for slot in report.slots if slot.state == "unknown"] == ["2026-10-26T0000"]


def test_months_that_are_none_or_to_come_are_refused(tmp_path: Path):
    database = a_place(tmp_path).database

    with pytest.raises(Refused, match="is no month"):
        month_bounds("2026-13", database, NOW)
    with pytest.raises(Refused, match="has not begun"):
        month_bounds("2026-12", database, NOW)


def test_a_month_is_one_of_the_schedules_zone(tmp_path: Path):
    start, end = month_bounds(MONTH, a_place(tmp_path).database, NOW)

    assert start == datetime(2026, 9, 30, 15, tzinfo=UTC)
    assert end == datetime(2026, 10, 31, 15, tzinfo=UTC)


def test_keeping_few_days_makes_older_gaps_unknown(tmp_path: Path):
    place = an_october(tmp_path, Wrong(missed=(20,)))
    few = place.database.model_copy(update={"retention": RetentionSettings(daily=3)})
    place = Place(place.settings.model_copy(update={"databases": (few,)}), place.local, place.usb)

    assert states(place)["2026-10-20"] == "unknown"
