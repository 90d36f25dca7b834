"""Which copies are verified again, and what of one that cannot be."""

from __future__ import annotations

import errno
import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backup_assets.errors import Refused
from backup_assets.local import local_store
from backup_assets.named_stores import store_named
from backup_assets.offsite.encrypted import encrypt_sets
from backup_assets.restore.rotation import LOCK, Copy, copies_of, due, rotate
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.records import VerificationRecord
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets.settings_restore import VerificationSettings
from backup_assets_tests.ciphers.keys import Keyrings
from backup_assets_tests.offsite.copying import copied, flip_a_bit, folder_store, settings_with
from backup_assets_tests.restore.restoring import path_of
from backup_assets_tests.retention.test_pruning import filled
from backup_assets_tests.sets.examples import a_verification, put_record
from backup_assets_tests.sets.histories import DAY, HOUR, NIGHT, NOW, a_set
from backup_assets_tests.sources import Source, capture, catalog_of, listed, no_log

DATABASE = DatabaseSettings(name="erp4", database="erp4")


def old(days: float, *, looked: float | None = None, store: str = "local", run: str = "1a2b3c4d") -> Copy:
    """A copy of a set that was taken ``days`` ago and last verified ``looked`` days ago."""
    return Copy(store, a_set(NOW - days * DAY, run=run), None if looked is None else NOW - looked * DAY)


def limited(every_days: int = 30, nightly_limit: int = 3) -> DatabaseSettings:
    wanted = VerificationSettings(every_days=every_days, nightly_limit=nightly_limit)
    return DATABASE.model_copy(update={"verification": wanted})


def test_the_least_recently_verified_come_first_and_no_more_than_the_limit() -> None:
    copies = [old(40, looked=20), old(60), old(50, looked=45), old(90, looked=16), old(70, looked=29)]
    assert due(copies, limited(), NOW) == [copies[1], copies[2], copies[4]]


def test_what_was_looked_at_in_the_first_half_of_the_time_waits() -> None:
    assert due([old(90, looked=14.9), old(14)], limited(), NOW) == []


def test_the_order_depends_on_nothing_but_the_copies() -> None:
    copies = [old(40, store=store, run=run) for store in ("usb", "local") for run in ("00000002", "00000001")]
    assert due(copies, limited(), NOW) == due(copies[::-1], limited(), NOW)


def test_every_copy_has_its_turn_within_the_days_that_are_promised() -> None:
    wanted = limited(every_days=10, nightly_limit=3)
    copies = {(f"store{n % 3}", n): old(100 + n, run=f"{n:08x}", store=f"store{n % 3}") for n in range(30)}
    seen: dict[tuple[str, int], list[int]] = {key: [] for key in copies}
    for night in range(60):
        now = NOW + night * DAY
        for chosen in due(list(copies.values()), wanted, now):
            key = next(key for key, copy in copies.items() if copy is chosen)
            copies[key] = Copy(chosen.store, chosen.set, now)
            seen[key].append(night)
    for nights in seen.values():
        gaps = [later - earlier for earlier, later in zip([0, *nights], [*nights, 60], strict=True)]
        assert max(gaps) <= 10, nights


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "usb").mkdir()
    return settings_with(tmp_path / "backups", folder_store(tmp_path / "usb"))


def test_the_last_look_at_a_copy_may_be_recorded_in_another_store(settings: Settings) -> None:
    one = a_set(NIGHT)
    filled(settings, [one])
    record = VerificationRecord(
        set_id=one.id, tool_version="0.1.0", passed=True, level="stored", content=False, store="usb",
        started_at=NOW - HOUR,
    )  # fmt: skip
    put_record(store_named(settings, "local"), record)

    looked_at = {copy.store: copy.looked_at for copy in copies_of(settings.databases[0], settings, now=NOW)}

    assert looked_at == {"local": NIGHT + HOUR, "usb": NOW - HOUR}


def test_a_look_from_the_future_is_none_and_the_copy_has_its_turn_tonight(settings: Settings) -> None:
    one = a_set(NIGHT, "complete")
    filled(settings, [one], "local")
    wrong = a_verification(one.id, at=NOW.astimezone(UTC) + 300 * DAY)
    put_record(store_named(settings, "local"), wrong)

    def tonight() -> list[Copy]:
        return due(copies_of(settings.databases[0], settings, now=NOW), settings.databases[0], NOW)

    assert [copy.set.id for copy in tonight()] == [one.id]
    again = a_verification(one.id, at=NOW.astimezone(UTC)).model_copy(
        update={"ordered_at": wrong.order + timedelta(microseconds=1)}
    )
    put_record(store_named(settings, "local"), again)
    assert tonight() == []


def test_a_store_that_does_not_answer_is_told_and_the_others_are_looked_at(settings: Settings, tmp_path: Path) -> None:
    filled(settings, [a_set(NIGHT)], "local")
    (tmp_path / "usb").rmdir()
    unread: dict[str, Exception] = {}

    copies = copies_of(settings.databases[0], settings, unread, now=NOW)  # type: ignore[arg-type]

    assert [copy.store for copy in copies] == ["local"]
    assert list(unread) == ["usb"]


def test_two_rotations_at_a_time_are_refused(settings: Settings) -> None:
    local_store(settings).check()
    with local_store(settings).capture_lock(LOCK), pytest.raises(Refused, match=f"at work on {LOCK}"):
        rotate(settings.databases[0], settings, log=no_log)


def test_copies_are_restored_again_and_only_one_that_is_damaged_fails(a_database: Source, tmp_path: Path) -> None:
    (tmp_path / "usb").mkdir()
    settings = a_database.settings().model_copy(update={"stores": (folder_store(tmp_path / "usb"),)})
    first = capture(settings).manifest
    copied(settings, slot=first.slot)
    (dump,) = (tmp_path / "usb").rglob(f"{first.id}.dump*")
    flip_a_bit(dump)

    done = rotate(settings.databases[0], settings, log=no_log, now=lambda: first.generated_at + timedelta(days=40))

    outcomes = {one.copy.store: one for one in done.checked}
    assert {store: one.passed for store, one in outcomes.items()} == {"local": True, "usb": False}
    assert outcomes["local"].proof is not None
    assert (outcomes["local"].proof.record.level, outcomes["local"].proof.record.content) == ("restored", True)
    assert (done.copies, done.overdue, done.unread) == (2, (), {})
    assert [record.store for one in listed(settings) for record in one.verifications] == ["local"]


class ADisk:
    """Answers for one file as a disk does that cannot or may not give its content."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._read = hashlib.file_digest
        self._path: Path | None = None
        self._code = 0
        monkeypatch.setattr(hashlib, "file_digest", self._file_digest)

    def answers(self, code: int, path: Path) -> None:
        self._path, self._code = path, code

    def _file_digest(self, handle: Any, digest: str) -> Any:
        if Path(handle.name) == self._path:
            raise OSError(self._code, os.strerror(self._code), handle.name)
        return self._read(handle, digest)


@pytest.fixture
def a_disk(monkeypatch: pytest.MonkeyPatch) -> ADisk:
    return ADisk(monkeypatch)


def test_a_file_that_the_disk_cannot_give_is_damage_and_the_next_copy_has_its_turn(
    a_database: Source, a_disk: ADisk
) -> None:
    settings = a_database.settings(verification=VerificationSettings(every_days=2))
    older, newer = (capture(settings).manifest for _ in range(2))
    a_disk.answers(errno.EIO, path_of(settings, older, "dump"))

    rotation = rotate(settings.databases[0], settings, log=no_log, now=lambda: datetime.now(UTC) + 2 * DAY)

    outcomes = {one.copy.set.id: one.proof.record for one in rotation.checked if one.proof is not None}
    assert (outcomes[older.id].passed, outcomes[newer.id].passed) == (False, True)
    assert "cannot be read: Input/output error" in outcomes[older.id].problems[0].found
    found = catalog_of(settings).find(older.id)
    assert found is not None
    assert found.verifications == (outcomes[older.id],)


def test_a_file_that_may_not_be_read_is_told_and_the_next_copy_has_its_turn(a_database: Source, a_disk: ADisk) -> None:
    settings = a_database.settings(verification=VerificationSettings(every_days=2))
    older, newer = (capture(settings).manifest for _ in range(2))
    dump = path_of(settings, older, "dump")
    a_disk.answers(errno.EACCES, dump)

    rotation = rotate(settings.databases[0], settings, log=no_log, now=lambda: datetime.now(UTC) + 2 * DAY)

    first, second = rotation.checked
    assert (first.copy.set.id, second.copy.set.id, second.passed) == (older.id, newer.id, True)
    assert first.proof is None
    assert first.error is not None
    assert "permission denied" in first.error.what
    assert str(dump) in first.error.why
    found = catalog_of(settings).find(older.id)
    assert found is not None
    assert found.verifications == ()


def test_an_encrypted_copy_whose_key_is_elsewhere_is_compared_byte_by_byte(
    a_database: Source, tmp_path: Path, keyrings: Keyrings
) -> None:
    (tmp_path / "usb").mkdir()
    encryption = EncryptionSettings(recipients=(keyrings.lena,), gpg_homedir=keyrings.host)
    settings = a_database.settings().model_copy(
        update={"stores": (folder_store(tmp_path / "usb"),), "encryption": encryption}
    )
    first = capture(settings).manifest
    (encrypted,) = encrypt_sets(settings.databases[0], settings, listed(settings), log=no_log)
    assert encrypted.error is None
    copied(settings, slot=first.slot)

    done = rotate(settings.databases[0], settings, log=no_log, now=lambda: first.generated_at + timedelta(days=40))

    levels = {one.copy.store: one.proof.record.level for one in done.checked if one.proof and one.passed}
    assert levels == {"local": "restored", "usb": "stored"}


def test_a_set_that_was_deleted_before_its_turn_is_no_failure(settings: Settings) -> None:
    def another_process_deletes(_line: str) -> None:
        for path in settings.backup_dir.rglob("*.manifest.json"):
            path.unlink()

    sets: list[BackupSet] = [a_set(NIGHT - 40 * DAY), a_set(NIGHT - 41 * DAY, run="2a2b3c4d")]
    filled(settings, sets, "local")

    done = rotate(settings.databases[0], settings, log=another_process_deletes, now=lambda: NOW)

    assert [one.copy.set.id for one in done.checked] == []
    assert {copy.set.id for copy in done.gone} == {one.id for one in sets}
