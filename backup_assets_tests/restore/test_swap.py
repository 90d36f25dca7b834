from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from backup_assets.errors import EnvironmentFault
from backup_assets.postgres.cluster import Cluster
from backup_assets.postgres.server import Server
from backup_assets.restore.swap import maintenance_database, side_name, swap_database, swap_directory
from backup_assets.settings_server import ContainerSettings
from backup_assets_tests.conftest import SourceOf
from backup_assets_tests.postgres.engines import an_engine
from backup_assets_tests.restore.lost_answers import lossy_way
from backup_assets_tests.restore.restoring import databases_of, server_state, unique
from backup_assets_tests.sources import Source, make_database

AT = datetime(2026, 11, 22, 23, 30, tzinfo=timezone(timedelta(hours=9)))


@pytest.fixture
def a_pair(a_tidy_server: Cluster, source_of: SourceOf) -> tuple[Source, Source]:
    """A live database with a table `old`, and a new one with a table `new`."""
    live = source_of(a_tidy_server, "CREATE TABLE old ()")
    return live, source_of(a_tidy_server, "CREATE TABLE new ()", name=unique("new"))


@pytest.mark.parametrize("base", ["erp4", "x" * 63, "請" * 21, "ä" * 31 + "x"])
def test_a_side_name_is_never_cut_off_and_bears_the_time_in_utc(base: str):
    name = side_name(base, "before", AT)

    assert len(name.encode()) <= 63
    assert name.endswith("__before_20261122t143000z")
    assert base.startswith(name.removesuffix("__before_20261122t143000z"))


def test_postgres_is_renamed_from_another_database():
    assert maintenance_database("postgres") != "postgres"
    assert maintenance_database("erp4") == "postgres"


def test_both_databases_get_their_names_at_once(a_pair: tuple[Source, Source]):
    live, new = a_pair
    kept = unique("kept")

    assert swap_database(live.server, new.name, live.name, kept)

    assert live.value("SELECT to_regclass('new')") == "new"
    assert Source(live.cluster, kept, live.backup_dir).value("SELECT to_regclass('old')") == "old"
    assert new.name not in databases_of(live.cluster)


def test_without_a_live_database_the_new_one_takes_its_name(a_pair: tuple[Source, Source]):
    live, new = a_pair
    name = unique("lost")

    assert not swap_database(live.server, new.name, name, unique("kept"))

    assert Source(live.cluster, name, live.backup_dir).value("SELECT to_regclass('new')") == "new"


def test_when_the_second_rename_fails_the_first_is_taken_back(a_pair: tuple[Source, Source]):
    live, _ = a_pair
    before = server_state(live.cluster)

    with pytest.raises(EnvironmentFault, match="it is as it was"):
        swap_database(live.server, "no such database", live.name, unique("kept"))

    assert server_state(live.cluster) == before


def test_where_neither_is_there_nothing_is_taken_for_replaced(a_pair: tuple[Source, Source]):
    live, _ = a_pair

    with pytest.raises(EnvironmentFault, match="could not be replaced"):
        swap_database(live.server, "no such database", unique("lost"), unique("kept"))


@pytest.mark.parametrize("in_container", [False, True], ids=["direct", "container"])
@pytest.mark.parametrize("error", [EnvironmentFault("no room"), KeyboardInterrupt()], ids=["fault", "interruption"])
def test_what_fails_while_both_are_renamed_takes_their_names_back(
    a_pair: tuple[Source, Source], tmp_path: Path, in_container: bool, error: BaseException
):
    live, new = a_pair
    engine = ContainerSettings(name="erp-db", engine=str(an_engine(tmp_path, live.cluster)))
    changed: dict[str, object] = {"container": engine} if in_container else {}
    server, before = Server.from_settings(live.server_settings(**changed)), server_state(live.cluster)

    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        swap_database(server, new.name, live.name, unique("kept"), meanwhile=fail)

    assert caught.value is error
    assert server_state(live.cluster) == before


def test_a_name_that_is_taken_replaces_nothing(a_pair: tuple[Source, Source]):
    live, new = a_pair
    kept = unique("kept")
    make_database(live.cluster, kept)
    before = server_state(live.cluster)

    with pytest.raises(EnvironmentFault, match="it is as it was") as fault:
        swap_database(live.server, new.name, live.name, kept)

    assert "already exists" in fault.value.why
    assert server_state(live.cluster) == before


def test_open_sessions_and_open_transactions_are_ended(a_pair: tuple[Source, Source]):
    live, new = a_pair
    with live.connect() as idle, live.connect(autocommit=False) as busy:
        busy.execute("LOCK TABLE old")

        swap_database(live.server, new.name, live.name, unique("kept"))

        for connection in (idle, busy):
            with pytest.raises(Exception, match=r"terminating connection|closed"):
                connection.execute("SELECT 1")


@pytest.mark.parametrize("in_container", [False, True], ids=["direct", "container"])
def test_databases_that_were_renamed_although_the_answer_was_lost_are_replaced(
    a_pair: tuple[Source, Source], tmp_path: Path, in_container: bool
):
    live, new = a_pair
    kept = unique("kept")
    with tempfile.TemporaryDirectory(prefix="way-") as short, lossy_way(live.cluster, Path(short)) as way:
        changed: dict[str, object] = {"host": way.host}
        if in_container:
            engine = an_engine(tmp_path, live.cluster)
            engine.write_text(engine.read_text().replace(str(live.cluster.socket_directory), way.host))
            changed = {"container": ContainerSettings(name="erp-db", engine=str(engine))}

        assert swap_database(Server.from_settings(live.server_settings(**changed)), new.name, live.name, kept)

        assert way.lost
    assert {live.name, kept} <= databases_of(live.cluster)
    assert new.name not in databases_of(live.cluster)


def a_disk_that_answers(code: int) -> Callable[[int], None]:
    def fsync(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    return fsync


@pytest.fixture
def directories(tmp_path: Path) -> tuple[Path, Path, Path]:
    new, live = tmp_path / "new", tmp_path / "live"
    for path in (new, live):
        path.mkdir()
        (path / f"{path.name}.pdf").write_text(path.name)
    return new, live, tmp_path / "kept"


def test_a_directory_is_replaced_and_kept(directories: tuple[Path, Path, Path]):
    new, live, kept = directories

    assert swap_directory(new, live, kept)

    assert [path.name for path in live.iterdir()] == ["new.pdf"]
    assert [path.name for path in kept.iterdir()] == ["live.pdf"]
    assert not new.exists()


def test_a_directory_that_is_missing_is_made(directories: tuple[Path, Path, Path], tmp_path: Path):
    new, _, kept = directories

    assert not swap_directory(new, tmp_path / "lost", kept)

    assert (tmp_path / "lost" / "new.pdf").exists()
    assert not kept.exists()


def test_when_the_new_directory_is_missing_the_live_one_is_put_back(directories: tuple[Path, Path, Path]):
    new, live, kept = directories
    (new / "new.pdf").unlink()
    new.rmdir()

    with pytest.raises(EnvironmentFault, match="it is as it was"):
        swap_directory(new, live, kept)

    assert [path.name for path in live.iterdir()] == ["live.pdf"]
    assert not kept.exists()


def test_both_directories_are_as_they_were_when_the_renames_cannot_be_forced_to_disk(
    directories: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
):
    new, live, kept = directories
    monkeypatch.setattr(os, "fsync", a_disk_that_answers(errno.EIO))

    with pytest.raises(EnvironmentFault, match="it is as it was"):
        swap_directory(new, live, kept)

    assert [path.name for path in live.iterdir()] == ["live.pdf"]
    assert [path.name for path in new.iterdir()] == ["new.pdf"]
    assert not kept.exists()


def test_a_file_system_that_knows_no_fsync_of_directories_is_good_enough(
    directories: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
):
    new, live, kept = directories
    monkeypatch.setattr(os, "fsync", a_disk_that_answers(errno.EINVAL))

    assert swap_directory(new, live, kept)

    assert [path.name for path in live.iterdir()] == ["new.pdf"]
    assert [path.name for path in kept.iterdir()] == ["live.pdf"]


def test_what_is_kept_already_is_not_overwritten(directories: tuple[Path, Path, Path]):
    new, live, kept = directories
    kept.mkdir()
    (kept / "earlier.pdf").touch()

    with pytest.raises(EnvironmentFault, match="it is as it was"):
        swap_directory(new, live, kept)

    assert [path.name for path in live.iterdir()] == ["live.pdf"]
    assert [path.name for path in kept.iterdir()] == ["earlier.pdf"]
