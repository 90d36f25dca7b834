"""One set: what proves it and what holds it."""

from __future__ import annotations

from datetime import timedelta

from backup_assets.sets.backup_set import BackupSet, Damage
from backup_assets.sets.manifest import Hold
from backup_assets.sets.records import HoldRecord, ReleaseRecord
from backup_assets_tests.sets.examples import NOW, a_manifest, a_verification, proof_of

MANIFEST = a_manifest()
HOUR = timedelta(hours=1)


def hold(hours: int, until: int | None = None) -> HoldRecord:
    return HoldRecord(
        set_id=MANIFEST.id,
        placed_at=NOW + hours * HOUR,
        reason=f"held at {hours}",
        until=None if until is None else NOW + until * HOUR,
        tool_version="0.1.0",
    )


def release(hours: int) -> ReleaseRecord:
    return ReleaseRecord(set_id=MANIFEST.id, released_at=NOW + hours * HOUR, reason="done", tool_version="0.1.0")


def test_a_set_without_a_restore_is_not_verified() -> None:
    assert proof_of(BackupSet(MANIFEST)) is None
    assert proof_of(BackupSet(MANIFEST, (a_verification(MANIFEST.id, level="readable"),))) is None


def test_the_highest_proof_is_shown_then_the_newest() -> None:
    first = a_verification(MANIFEST.id, at=NOW)
    second = a_verification(MANIFEST.id, at=NOW + HOUR)
    drilled = a_verification(MANIFEST.id, at=NOW, level="drilled")

    assert proof_of(BackupSet(MANIFEST, (first, second))) == second
    assert proof_of(BackupSet(MANIFEST, (first, drilled, second))) == drilled


def test_a_later_failure_voids_the_proof_of_the_same_store_only() -> None:
    passed = a_verification(MANIFEST.id, at=NOW)
    failed = a_verification(MANIFEST.id, at=NOW + HOUR, passed=False, level="stored", content=False)
    elsewhere = a_verification(MANIFEST.id, at=NOW, store="osaka")
    again = a_verification(MANIFEST.id, at=NOW + 2 * HOUR)

    assert proof_of(BackupSet(MANIFEST, (passed, failed))) is None
    assert proof_of(BackupSet(MANIFEST, (passed, elsewhere, failed))) == elsewhere
    assert proof_of(BackupSet(MANIFEST, (passed, failed, again))) == again


def test_a_pass_from_the_future_is_no_proof_and_takes_nothing_from_an_earlier_one() -> None:
    passed = a_verification(MANIFEST.id, at=NOW)
    failed = a_verification(MANIFEST.id, at=NOW + HOUR, passed=False)
    future = a_verification(MANIFEST.id, at=NOW + 20 * HOUR)
    now = NOW + 2 * HOUR

    assert BackupSet(MANIFEST, (failed, future)).proof_at(now) is None
    assert BackupSet(MANIFEST, (passed, future)).proof_at(now) == passed
    assert BackupSet(MANIFEST, (passed, future)).proof_at(NOW + 20 * HOUR) == future


def test_an_incomplete_set_is_not_verified_whatever_its_records_say() -> None:
    assert proof_of(BackupSet(MANIFEST, (a_verification(MANIFEST.id),), ("db/x is missing",))) is None


def test_a_hold_ends_with_its_time() -> None:
    held = BackupSet(MANIFEST, (hold(0, until=2),))

    found = held.hold_at(NOW + HOUR)
    assert found is not None
    assert found.reason == "held at 0"
    assert held.hold_at(NOW + 2 * HOUR) is None


def test_a_release_ends_earlier_holds_and_the_manifests_own_but_no_later_one() -> None:
    own = BackupSet(a_manifest(hold=Hold(reason="before the release")))

    assert own.hold_at(NOW) == Hold(reason="before the release")
    assert BackupSet(own.manifest, (hold(1), release(2))).hold_at(NOW + 3 * HOUR) is None
    assert BackupSet(own.manifest, (hold(1), release(2), hold(3))).hold_at(NOW + 3 * HOUR) == Hold(reason="held at 3")


def test_a_release_from_the_future_ends_nothing_before_its_time() -> None:
    released_ahead = BackupSet(MANIFEST, (hold(0), release(9)))

    assert released_ahead.hold_at(NOW + HOUR) == Hold(reason="held at 0")
    assert released_ahead.hold_at(NOW + 9 * HOUR) is None


def test_of_a_hold_and_a_release_the_one_that_says_so_counts_after_the_other() -> None:
    ahead = NOW + 9 * HOUR + timedelta(microseconds=1)
    held_after = hold(1).model_copy(update={"ordered_at": ahead})
    released_after = release(1).model_copy(update={"ordered_at": ahead})

    assert BackupSet(MANIFEST, (release(9), held_after)).hold_at(NOW + 10 * HOUR) == Hold(reason="held at 1")
    assert BackupSet(MANIFEST, (hold(9), released_after)).hold_at(NOW + 2 * HOUR) is None


def test_the_longest_of_several_holds_is_in_force() -> None:
    assert BackupSet(MANIFEST, (hold(0), hold(1, until=5))).hold_at(NOW) == Hold(reason="held at 0")
    longest = BackupSet(MANIFEST, (hold(0, until=9), hold(1, until=5))).hold_at(NOW)
    assert longest is not None
    assert longest.reason == "held at 0"


def test_a_damaged_hold_record_holds() -> None:
    damage = Damage("erp4/prod/meta/x", MANIFEST.id, "hold", "it is damaged")

    found = BackupSet(MANIFEST, (release(5),), damaged_records=(damage,)).hold_at(NOW)

    assert found is not None
    assert "erp4/prod/meta/x" in found.reason
