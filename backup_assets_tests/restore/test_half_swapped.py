from __future__ import annotations

import itertools
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pytest

from backup_assets.doctor import examine
from backup_assets.errors import EnvironmentFault
from backup_assets.local import local_store
from backup_assets.restore import replacing
from backup_assets.restore.attachments_alone import restore_attachments_alone
from backup_assets.restore.half_swapped import NOTES, SwapNote, notes
from backup_assets.restore.restore import Restore, RestoreRequest
from backup_assets_tests.restore.lost_answers import LossyWay, lossy_way
from backup_assets_tests.restore.restoring import Erp, files_of, quiet, unique
from backup_assets_tests.sources import catalog_of

MIXED = "was ended between the database and its attachments"


def lose_power(erp: Erp, *, after_renames: int) -> None:
    """Restore in a process that ends as so many directories are renamed."""
    rename, done = os.rename, itertools.count(1)

    def end(source: Path, target: Path) -> None:
        if after_renames:
            rename(source, target)
        if not after_renames or next(done) == after_renames:
            os._exit(9)

    child = os.fork()
    if child == 0:
        os.rename = end  # type: ignore[assignment] - only there
        try:
            erp.restore()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.fixture
def a_changed_erp(an_erp: Erp) -> Erp:
    """A captured ERP whose rows and files have changed since."""
    an_erp.captured()
    an_erp.source.execute("DELETE FROM accounting.entries")
    (an_erp.attachments / "1.pdf").write_text("made since")
    return an_erp


@pytest.fixture
def half_an_erp(a_changed_erp: Erp) -> Erp:
    """Rows of today with files of a backup."""
    lose_power(a_changed_erp, after_renames=2)
    assert a_changed_erp.rows()["accounting.entries"] == 0
    assert (a_changed_erp.attachments / "1.pdf").read_text() == "invoice 1"
    return a_changed_erp


def refuse(*_: object) -> NoReturn:
    raise PermissionError(13, "Permission denied")


def found_by_the_doctor(erp: Erp) -> list[tuple[str, str, str]]:
    findings = examine(erp.settings.databases[0], erp.settings)
    return [(one.state, one.found, one.remedy) for one in findings if one.name == "restore"]


def said_by_a_restore(erp: Erp, request: RestoreRequest) -> list[str]:
    said: list[str] = []
    chosen, store = catalog_of(erp.settings).resolve(), local_store(erp.settings)
    later = datetime.now(UTC) + timedelta(minutes=1)  # what is kept bears the second in its name
    Restore(erp.settings.databases[0], erp.settings, store, chosen, request, log=said.append, now=lambda: later).run()
    return [line for line in said if MIXED in line]


def beside(erp: Erp) -> Path:
    (found,) = erp.attachments.parent.glob("attachments__restoring_*")
    return found


def of_before(erp: Erp) -> Path:
    (found,) = erp.attachments.parent.glob("attachments__before_*")
    return found


def test_a_restore_that_ends_before_anything_is_renamed_has_replaced_nothing(a_changed_erp: Erp):
    before = files_of(a_changed_erp.attachments)

    lose_power(a_changed_erp, after_renames=0)

    assert a_changed_erp.rows()["accounting.entries"] == 0
    assert files_of(a_changed_erp.attachments) == before
    assert found_by_the_doctor(a_changed_erp) == []


def test_a_directory_that_a_restore_has_left_without_its_name_is_told(a_changed_erp: Erp):
    lose_power(a_changed_erp, after_renames=1)

    ((state, found, _),) = found_by_the_doctor(a_changed_erp)

    assert state == "fail"
    assert f"{a_changed_erp.attachments} is missing" in found
    assert str(of_before(a_changed_erp)) in found
    assert a_changed_erp.rows()["accounting.entries"] == 0

    of_before(a_changed_erp).rename(a_changed_erp.attachments)
    assert found_by_the_doctor(a_changed_erp) == []


def test_rows_of_one_generation_with_files_of_another_are_told_by_the_doctor_and_the_next_restore(half_an_erp: Erp):
    ((state, found, remedy),) = found_by_the_doctor(half_an_erp)
    (line,) = said_by_a_restore(half_an_erp, RestoreRequest(into=unique("elsewhere"), confirmed=True))

    assert state == "fail"
    assert MIXED in found
    assert remedy
    assert line == f"{found}; {remedy}"
    for name in (half_an_erp.name, str(half_an_erp.attachments), str(of_before(half_an_erp))):
        assert name in found


def test_a_restore_that_ends_well_ends_the_mixture(half_an_erp: Erp):
    assert len(said_by_a_restore(half_an_erp, RestoreRequest(confirmed=True))) == 1

    assert found_by_the_doctor(half_an_erp) == []
    assert list(notes(half_an_erp.settings)) == []
    assert (half_an_erp.attachments / "1.pdf").read_text() == "invoice 1"
    assert half_an_erp.rows()["accounting.entries"] == 100


def test_a_later_restore_that_replaces_nothing_leaves_the_mixture_known(
    half_an_erp: Erp, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", refuse)
        with pytest.raises(EnvironmentFault, match="it is as it was"):
            said_by_a_restore(half_an_erp, RestoreRequest(confirmed=True))

    assert len(found_by_the_doctor(half_an_erp)) == 1


def test_files_that_are_renamed_by_hand_end_the_mixture(half_an_erp: Erp):
    kept = of_before(half_an_erp)
    half_an_erp.attachments.rename(half_an_erp.attachments.with_name("restored"))
    kept.rename(half_an_erp.attachments)

    assert found_by_the_doctor(half_an_erp) == []


def test_attachments_that_are_restored_alone_end_the_mixture(half_an_erp: Erp):
    chosen, store = catalog_of(half_an_erp.settings).resolve(), local_store(half_an_erp.settings)
    later = datetime.now(UTC) + timedelta(minutes=1)
    restore_attachments_alone(
        half_an_erp.settings.databases[0], half_an_erp.settings, store, chosen, confirmed=True, log=quiet,
        now=lambda: later,
    )  # fmt: skip

    assert found_by_the_doctor(half_an_erp) == []


def test_files_that_cannot_be_put_back_are_told(a_changed_erp: Erp, monkeypatch: pytest.MonkeyPatch):
    rename, fsync, done = os.rename, os.fsync, list[Path]()

    def twice(source: Path, target: Path) -> None:
        if len(done) == 2:
            refuse()
        rename(source, target)
        done.append(target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", twice)
        patched.setattr(os, "fsync", lambda descriptor: refuse() if len(done) == 2 else fsync(descriptor))
        with pytest.raises(EnvironmentFault, match="could not be replaced"):
            a_changed_erp.restore()

    assert a_changed_erp.rows()["accounting.entries"] == 0
    assert (a_changed_erp.attachments / "1.pdf").read_text() == "invoice 1"
    ((state, found, _),) = found_by_the_doctor(a_changed_erp)
    assert state == "fail"
    assert str(of_before(a_changed_erp)) in found


def test_a_note_of_a_restore_that_has_replaced_both_goes_before_another_database_gets_the_name(a_changed_erp: Erp):
    def end(*_: object) -> NoReturn:
        os._exit(9)

    child = os.fork()
    if child == 0:
        replacing.forget = end  # only there
        try:
            a_changed_erp.restore()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert len(list(notes(a_changed_erp.settings))) == 1

    assert found_by_the_doctor(a_changed_erp) == []
    a_changed_erp.restore(with_attachments=False, now=lambda: datetime.now(UTC) + timedelta(minutes=1))
    assert found_by_the_doctor(a_changed_erp) == []


@pytest.mark.parametrize(("live", "there", "half"), [("7", True, True), ("7", False, False), ("6", True, False)])
def test_the_notes_of_earlier_versions_are_understood(tmp_path: Path, live: str, there: bool, half: bool):
    beside = tmp_path / "attachments__restoring"
    if there:
        beside.mkdir()
    written = {
        "set_id": "s", "begun_at": "2026-11-22T00:00:00Z", "target": "t", "database": "erp4", "restored": "7",
        "kept_database": "k", "attachments": str(tmp_path / "attachments"), "beside": str(beside),
    }  # fmt: skip

    assert SwapNote.model_validate_json(json.dumps(written)).is_half(live) == half


def test_neither_a_restore_that_ends_well_nor_one_that_replaces_nothing_leaves_a_note(
    an_erp: Erp, monkeypatch: pytest.MonkeyPatch
):
    an_erp.captured()
    an_erp.restore()
    assert (an_erp.settings.backup_dir / NOTES).is_dir()
    assert list(notes(an_erp.settings)) == []

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", refuse)
        with pytest.raises(EnvironmentFault, match="it is as it was"):
            an_erp.restore()

    assert list(notes(an_erp.settings)) == []
    assert list(an_erp.attachments.parent.glob("attachments__restoring_*")) == []


@pytest.fixture
def a_way(a_changed_erp: Erp) -> Iterator[Callable[[bool], tuple[Erp, LossyWay]]]:
    """Return a captured ERP whose rows and files have changed since, behind a way that loses one answer."""
    an_erp = a_changed_erp
    with tempfile.TemporaryDirectory(prefix="way-") as short, ExitStack() as stack:

        def of(closes: bool) -> tuple[Erp, LossyWay]:
            way = stack.enter_context(lossy_way(an_erp.cluster, Path(short), closes=closes))
            server = an_erp.source.server_settings(host=way.host)
            database = an_erp.settings.databases[0].model_copy(update={"server": server})
            return replace(an_erp, settings=an_erp.settings.model_copy(update={"databases": (database,)})), way

        yield of


def test_a_database_that_was_replaced_although_the_answer_was_lost_gets_its_files(
    a_way: Callable[[bool], tuple[Erp, LossyWay]],
):
    erp, way = a_way(False)

    erp.restore()

    assert way.lost
    assert erp.rows()["accounting.entries"] == 100
    assert (erp.attachments / "1.pdf").read_text() == "invoice 1"
    assert list(notes(erp.settings)) == []


def test_when_nobody_can_say_whether_the_database_was_replaced_both_generations_stay_and_are_told(
    a_way: Callable[[bool], tuple[Erp, LossyWay]],
):
    erp, way = a_way(True)

    with pytest.raises(EnvironmentFault, match="nobody can say whether") as fault:
        erp.restore()
    way.mend()

    assert way.lost
    assert "backup-assets doctor" in fault.value.remedy
    assert (beside(erp) / "1.pdf").read_text() == "invoice 1"
    ((state, found, _),) = found_by_the_doctor(erp)
    assert state == "fail"
    assert MIXED in found


def test_a_note_that_cannot_be_written_replaces_nothing_and_leaves_no_files(an_erp: Erp):
    an_erp.captured()
    (an_erp.settings.backup_dir / NOTES).write_text("in the way")
    before = an_erp.state()

    with pytest.raises(EnvironmentFault, match="write down what a restore is about to replace"):
        an_erp.restore()

    assert an_erp.state() == before
