from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from backup_assets.capture.directory_dump import pack_directory, read_whole_directory, unpack_directory_dump
from backup_assets.errors import CheckFailed, EnvironmentFault
from backup_assets.postgres.clients import Clients, choose_clients, find_clients
from backup_assets.settings_capture import DumpSettings
from backup_assets_tests.conftest import ClusterOf, SourceOf
from backup_assets_tests.full_disk import files_no_larger_than
from backup_assets_tests.sources import dump_path

TABLES = (
    "CREATE TABLE large AS SELECT n, md5(n::text) FROM generate_series(1, 5000) n",
    "CREATE TABLE small AS SELECT n FROM generate_series(1, 50) n",
    'CREATE TABLE "two\nlines; 99999; and more" AS SELECT n FROM generate_series(1, 50) n',
    "SELECT lo_from_bytea(0, 'a large object')",
)


@pytest.fixture
def clients() -> Clients:
    return choose_clients(find_clients(), 17)


@pytest.fixture
def a_directory(cluster_of: ClusterOf, source_of: SourceOf, tmp_path: Path) -> Path:
    """A directory-format dump of three tables and a large object."""
    source = source_of(cluster_of(17), *TABLES)
    settings = source.settings(dump=DumpSettings(jobs=2))
    return unpack_directory_dump(dump_path(settings, source.captured(settings)), tmp_path)


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_file_is_read_by_one_process_or_another(
    clients: Clients, a_directory: Path, tmp_path: Path, jobs: int
) -> None:
    read_whole_directory(clients, a_directory, tmp_path, jobs=jobs, timeout=60)
    files = sorted(path for path in a_directory.iterdir() if path.stat().st_size)
    assert len([path for path in files if ".dat" in path.name]) == 5  # three tables, the object, and toc.dat

    for path in files:
        content = path.read_bytes()
        for kept in (len(content) // 2, len(content) - (1 if path.suffix == ".zst" else 2)):
            path.write_bytes(content[:kept])
            with pytest.raises(CheckFailed, match="cannot be read to its end"):
                read_whole_directory(clients, a_directory, tmp_path, jobs=jobs, timeout=60)
        path.write_bytes(content)


def test_a_table_that_is_missing_is_noticed(clients: Clients, a_directory: Path, tmp_path: Path) -> None:
    for path in sorted(a_directory.glob("*.dat.zst")):
        path.rename(tmp_path / "away")
        with pytest.raises(CheckFailed, match="cannot be read to its end"):
            read_whole_directory(clients, a_directory, tmp_path, jobs=2, timeout=60)
        (tmp_path / "away").rename(path)


def test_bits_that_pg_restore_cannot_decompress_are_noticed(
    clients: Clients, a_directory: Path, tmp_path: Path
) -> None:
    largest = max(a_directory.glob("*.dat.zst"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(400)
    largest.write_bytes(content)

    with pytest.raises(CheckFailed, match="cannot be read to its end"):
        read_whole_directory(clients, a_directory, tmp_path, jobs=2, timeout=60)


def test_reading_leaves_nothing_beside_the_dump(clients: Clients, a_directory: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))

    read_whole_directory(clients, a_directory, tmp_path, jobs=2, timeout=60)

    assert sorted(tmp_path.rglob("*")) == before


def test_what_was_packed_comes_back_the_same(a_directory: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed.tar"

    pack_directory(a_directory, packed)

    assert oct(packed.stat().st_mode & 0o777) == "0o600"
    again = unpack_directory_dump(packed, tmp_path)
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in a_directory.iterdir()
    }
    shutil.rmtree(again)


def test_a_disk_that_is_full_while_a_dump_is_packed_is_told_with_its_directory(tmp_path: Path):
    directory = tmp_path / "dump.d"
    directory.mkdir()
    (directory / "toc.dat").write_bytes(bytes(200_000))

    with files_no_larger_than(100_000), pytest.raises(EnvironmentFault) as caught:
        pack_directory(directory, tmp_path / "erp4.dump.tar.partial")

    assert f"could not write erp4.dump.tar.partial in {tmp_path}" in caught.value.what
    assert caught.value.remedy
