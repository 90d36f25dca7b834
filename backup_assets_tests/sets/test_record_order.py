"""Which verification is the last one, when clocks were wrong."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.record_order import CLOCK_TOLERANCE, believed, is_believed, order_after
from backup_assets.sets.records import PROVING_LEVELS, Level, VerificationRecord, parse_record
from backup_assets_tests.sets.examples import NOW, a_manifest, a_verification

MANIFEST = a_manifest()
HOUR = timedelta(hours=1)
#: Hours by which the clock was wrong at each verification, and what it found.
FOUND = st.lists(st.tuples(st.integers(-48, 48), st.booleans()), min_size=1, max_size=6)


def recorded(found: list[tuple[int, bool]]) -> list[VerificationRecord]:
    """Return verifications an hour apart, each made by a host that reads what is there before it begins."""
    records: list[VerificationRecord] = []
    for number, (wrong, passed) in enumerate(found):
        at = NOW + (number + wrong) * HOUR
        record = a_verification(MANIFEST.id, at=at, passed=passed)
        records.append(record.model_copy(update={"ordered_at": order_after(records, at)}))
    return records


def test_a_pass_from_the_future_does_not_count_and_a_failure_does() -> None:
    late = NOW + CLOCK_TOLERANCE + timedelta(seconds=1)
    assert is_believed(a_verification(MANIFEST.id, at=NOW + CLOCK_TOLERANCE), NOW)
    assert not is_believed(a_verification(MANIFEST.id, at=late), NOW)
    assert is_believed(a_verification(MANIFEST.id, at=late, passed=False), NOW)


def test_without_a_wrong_clock_nothing_is_said_of_an_order() -> None:
    assert order_after([], NOW) is None
    assert order_after([a_verification(MANIFEST.id, at=NOW - HOUR)], NOW) is None
    assert order_after([a_verification(MANIFEST.id, at=NOW)], NOW) == NOW + timedelta(microseconds=1)


def test_an_order_before_its_own_time_is_refused() -> None:
    with pytest.raises(ValidationError, match="not later than its own time"):
        VerificationRecord.model_validate({**a_verification(MANIFEST.id).model_dump(), "ordered_at": NOW})


@settings(deadline=None)
@given(found=FOUND)
def test_whatever_the_clocks_showed_the_order_is_that_in_which_they_were_recorded(
    found: list[tuple[int, bool]],
) -> None:
    records = recorded(found)
    assert believed(records[::-1], NOW + 999 * HOUR) == records
    assert [parse_record(record.to_json(), "here") for record in records] == records


def test_a_pass_that_looked_less_closely_takes_no_failure_back() -> None:
    def looked(
        hour: int, level: Level, *, content: bool = True, passed: bool = True, store: str = "local"
    ) -> VerificationRecord:
        made = a_verification(MANIFEST.id, at=NOW + hour * HOUR, passed=passed, level=level, store=store)
        return made.model_copy(update={"content": content})

    later = NOW + 99 * HOUR
    failed = looked(1, "restored", passed=False)
    cheap = [looked(2, "stored"), looked(3, "readable"), looked(4, "restored", content=False)]
    assert believed([failed, *cheap], later) == [failed]
    elsewhere = looked(5, "stored", store="usb")
    assert believed([failed, elsewhere], later) == [failed, elsewhere]
    for level in PROVING_LEVELS:
        healed = looked(6, level)
        assert believed([failed, *cheap, healed, looked(7, "stored")], later) == [failed, healed, looked(7, "stored")]
    # What failed at a glance is taken back by the next glance.
    assert believed([looked(1, "stored", passed=False), looked(2, "stored")], later)[-1].passed


@settings(deadline=None)
@given(found=FOUND, hours=st.integers(0, 99))
def test_a_copy_that_failed_last_is_never_proven_however_late_it_gets(
    found: list[tuple[int, bool]], hours: int
) -> None:
    records = recorded([*found, (0, False)])
    assert BackupSet(MANIFEST, tuple(records)).proof_at(NOW + (len(records) + hours) * HOUR) is None


@settings(deadline=None)
@given(found=FOUND)
def test_a_copy_that_passed_last_by_the_right_clock_is_proven_at_once(found: list[tuple[int, bool]]) -> None:
    records = recorded([*found, (0, True)])
    assert BackupSet(MANIFEST, tuple(records)).proof_at(NOW + len(found) * HOUR) is not None
