"""One set: what proves it and what holds it."""

from __future__ import annotations

from datetime import timedelta

from backup_assets.sets.backup_set import BackupSet, Damage
from backup_assets.sets.manifest import Hold
from backup_assets.sets.records import HoldRecord, ReleaseRecord
from backup_assets_tests.sets.examples import NOW, a_manifest, a_verification

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
    assert BackupSet(MANIFEST).verified is None
    assert BackupSet(MANIFEST, (a_verification(MANIFEST.id, level="readable"),)).verified is None


def test_the_highest_proof_is_shown_then_the_newest() -> None:
    first = a_verification(MANIFEST.id, at=NOW)
    second = a_verification(MANIFEST.id, at=NOW + HOUR)
    drilled = a_verification(MANIFEST.id, at=NOW, level="drilled")

    assert BackupSet(MANIFEST, (first, second)).verified == second
    assert BackupSet(MANIFEST, (first, drilled, second)).verified == drilled


def test_a_later_failure_voids_the_proof_of_the_same_store_only() -> None:
    passed = a_verification(MANIFEST.id, at=NOW)
    failed = a_verification(MANIFEST.id, at=NOW + HOUR, passed=False, level="stored", content=False)
    elsewhere = a_verification(MANIFEST.id, at=NOW, store="osaka")
    again = a_verification(MANIFEST.id, at=NOW + 2 * HOUR)

    assert BackupSet(MANIFEST, (passed, failed)).verified is None
    assert BackupSet(MANIFEST, (passed, elsewhere, failed)).verified == elsewhere
    assert BackupSet(MANIFEST, (passed, failed, again)).verified == again


def test_an_incomplete_set_is_not_verified_whatever_its_records_say() -> None:
    assert BackupSet(MANIFEST, (a_verification(MANIFEST.id),), ("db/x is missing",)).verified is None


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
