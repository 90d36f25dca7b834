"""The SSH store: the contract on a real server, and what only another host has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from backup_assets.errors import EnvironmentFault, TransientFault
from backup_assets.sets.catalog import Catalog
from backup_assets.stores.contract import ConflictingObject, MissingObject, Store, StoredObject, TransferDamaged
from backup_assets.stores.read_back import read_back
from backup_assets.stores.ssh import SshStore
from backup_assets.stores.ssh_scripts import INCOMING
from backup_assets.stores.ssh_upload import _partial_of
from backup_assets_tests.sets.examples import ERP4, a_manifest, put, put_set, sha256
from backup_assets_tests.stores.conformance import KEY, MIB, StoreConformance, content_of, keys, noise
from backup_assets_tests.stores.faulty import Fault, FaultyStore, Kind
from backup_assets_tests.stores.ssh_server import SshServer, as_another_user, link_to

PUT = """
import json, pathlib, sys
from backup_assets.stores.ssh import SshStore
from backup_assets.stores.ssh_location import SshLocation
given, key, source, digest, size = sys.argv[1:]
given = json.loads(given)
paths = {name: pathlib.Path(given[name]) for name in ("ssh_key", "known_hosts")}
store = SshStore(SshLocation(**{**given, **paths}), "remote")
store.put(key, pathlib.Path(source), sha256=digest, size=int(size))
"""


def command_that_puts(store: Store, key: str, source: Path, digest: str, size: int) -> list[str]:
    assert isinstance(store, SshStore)
    given = json.dumps(asdict(store.location), default=str)
    return [sys.executable, "-c", PUT, given, key, str(source), digest, str(size)]


class TestSshConformance(StoreConformance):
    @pytest.fixture
    def store(self, another_host: SshServer, tmp_path: Path) -> Iterator[Store]:
        yield SshStore(another_host.location(tmp_path / 'it\'s a "place" (há 日本) $x'), "remote")

    def command_that_puts(self, store: Store, key: str, source: Path, digest: str, size: int) -> list[str]:
        return command_that_puts(store, key, source, digest, size)


def no_links(server: SshServer) -> None:
    """Make every hard link there fail as on a disk with exFAT."""
    program = server.programs / "ln"
    program.write_text('#!/bin/sh\necho "ln: failed to create hard link: Operation not permitted" >&2\nexit 1\n')
    program.chmod(0o755)


class TestSshWithoutHardLinksConformance(TestSshConformance):
    """The other host's disk has exFAT."""

    @pytest.fixture(autouse=True)
    def _another_disk(self, another_host: SshServer) -> Iterator[None]:
        no_links(another_host)
        yield
        (another_host.programs / "ln").unlink()


@pytest.fixture
def store(another_host: SshServer, tmp_path: Path) -> SshStore:
    return SshStore(another_host.location(tmp_path / "there"), "remote")


@pytest.fixture
def a_profile_that_talks(another_host: SshServer) -> Iterator[None]:
    profile = another_host.home / ".bashrc"
    profile.write_text('echo "Welcome to backup.example"; echo "mind the gap" >&2; printf "no line end"\n')
    yield
    profile.unlink()


def a_file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def put_file(store: Store, source: Path, key: str = KEY) -> StoredObject:
    content = source.read_bytes()
    return store.put(key, source, sha256=sha256(content), size=len(content))


def waiting_in(store: SshStore) -> list[Path]:
    return sorted((Path(store.location.root) / INCOMING).iterdir())


# -- files there ---------------------------------------------------------------------------------------------------


def test_files_there_are_private_and_the_way_in_is_left_clean(store: SshStore, tmp_path: Path) -> None:
    put(store, KEY, b"small")
    put_file(store, a_file(tmp_path / "large", noise(2 * MIB)), KEY + ".zst")

    below = list(Path(store.location.root).rglob("*"))
    assert {path.name for path in below} == {INCOMING, "erp4", "prod", "db", "a.dump", "a.dump.zst"}
    for path in below:
        assert path.stat().st_mode & 0o7777 == (0o700 if path.is_dir() else 0o600), path


def test_what_somebody_else_keeps_there_is_no_object(store: SshStore) -> None:
    put(store, KEY, b"x")
    folder = (Path(store.location.root) / KEY).parent
    (folder / "x\n5 5 ." / "erp4" / "prod" / "db").mkdir(parents=True)
    (folder / "x\n5 5 ." / "erp4" / "prod" / "db" / "forged").touch()
    for name in (".hidden", "x.0a1b2c3d.partial", "x\n5 5 .y", os.fsdecode(b"\xff\xfe")):
        (folder / name).touch()
    (folder / "link").symlink_to(KEY.rpartition("/")[2])
    os.mkfifo(folder / "pipe")

    assert keys(store) == [KEY]
    assert store.stat("erp4/prod/db/link") is None
    with pytest.raises(MissingObject), store.open("erp4/prod/db/pipe"):
        pass
    with pytest.raises(ConflictingObject, match="exists"):
        put(store, "erp4/prod/db/link", b"x")
    with pytest.raises(ConflictingObject, match="exists"):
        put(store, "erp4/prod/db", b"x")


def test_what_nobody_has_written_to_for_a_day_is_swept_by_the_next_put(store: SshStore) -> None:
    put(store, KEY, b"x")
    incoming = Path(store.location.root) / INCOMING
    for name, age in (("old.partial", 49), ("young.partial", 23)):
        path = a_file(incoming / name, b"rest")
        then = time.time() - age * 3600
        os.utime(path, (then, then))

    put(store, KEY + "2", b"y")

    assert [path.name for path in waiting_in(store)] == ["young.partial"]


def test_a_directory_that_cannot_be_listed_is_a_fault_and_no_shorter_list(another_host: SshServer) -> None:
    with as_another_user(another_host) as (location, directory):
        store = SshStore(location, "remote")
        put(store, KEY, b"x")
        put(store, "erp4/prod/meta/m", b"y")
        (directory / "erp4/prod/db").chmod(0)

        for prefix in ("", "erp4/prod"):
            with pytest.raises(EnvironmentFault, match="permission denied") as caught:
                keys(store, prefix)
            assert "erp4/prod/db" in caught.value.why
        with pytest.raises(EnvironmentFault, match="permission denied"):
            store.stat(KEY)
        with pytest.raises(EnvironmentFault, match="permission denied"), store.open(KEY):
            pass
        assert keys(store, "erp4/prod/meta") == ["erp4/prod/meta/m"]


# -- transfers -----------------------------------------------------------------------------------------------------


def test_a_transfer_whose_link_is_cut_goes_on_where_it_was(
    store: SshStore, another_host: SshServer, tmp_path: Path
) -> None:
    source = a_file(tmp_path / "source", noise(12 * MIB))
    with link_to(another_host) as link:
        through = SshStore(replace(store.location, port=link.port), "remote")
        link.limit = 8 * MIB
        with pytest.raises(TransientFault) as caught:
            put_file(through, source)
        (partial,) = waiting_in(store)
        assert "try again later" in caught.value.remedy
        assert keys(store) == []
        already = partial.stat().st_size
        assert 4 * MIB < already < 9 * MIB

        link.sent = 0
        put_file(through, source)

        assert link.sent < 12 * MIB - already + MIB
    assert content_of(store, KEY) == source.read_bytes()
    assert waiting_in(store) == []


def test_a_transfer_whose_process_is_killed_goes_on_where_it_was(
    store: SshStore, another_host: SshServer, tmp_path: Path
) -> None:
    content = noise(12 * MIB)
    source = a_file(tmp_path / "source", content)
    with link_to(another_host) as link:
        through = SshStore(replace(store.location, port=link.port), "remote")
        reached = threading.Event()
        link.limit, link.at_limit = 8 * MIB, reached.set
        slow = SshStore(replace(through.location, bandwidth_limit_bytes_per_second=4 * MIB), "remote")
        child = subprocess.Popen(command_that_puts(slow, KEY, source, sha256(content), len(content)))
        assert reached.wait(300)
        child.kill()
        child.wait(timeout=60)
        link.cut()  # the rsync that it had started would go on, and be counted
        assert keys(store) == []

        link.sent = 0
        put_file(through, source)

        assert link.sent < 8 * MIB
    assert content_of(store, KEY) == content


def test_the_rest_of_a_damaged_source_does_not_stop_the_next_attempt(store: SshStore, tmp_path: Path) -> None:
    content = noise(3 * MIB)
    source = a_file(tmp_path / "source", content)
    with _partial_of(store.location, KEY, sha256(content)) as name:
        incoming = Path(store.location.root) / INCOMING
        incoming.mkdir(mode=0o700)
        a_file(incoming / f"{name}.partial", noise(MIB, seed=2))

    put_file(store, source)

    assert content_of(store, KEY) == content
    assert waiting_in(store) == []


@pytest.mark.parametrize("length", [2 * MIB, 2 * MIB + 1])
def test_a_large_source_that_is_not_what_was_announced_leaves_nothing(
    store: SshStore, tmp_path: Path, length: int
) -> None:
    source = a_file(tmp_path / "source", noise(length))

    with pytest.raises(TransferDamaged, match="source is not what was announced"):
        store.put(KEY, source, sha256=sha256(noise(2 * MIB, seed=2)), size=2 * MIB)

    assert keys(store) == []
    assert not (Path(store.location.root) / INCOMING).exists() or waiting_in(store) == []


def test_of_simultaneous_transfers_of_one_file_all_succeed_and_of_two_files_one_wins(
    store: SshStore, tmp_path: Path
) -> None:
    same = [a_file(tmp_path / "same", noise(3 * MIB))] * 3
    with ThreadPoolExecutor(3) as pool:
        assert {stored.size for stored in pool.map(lambda source: put_file(store, source), same)} == {3 * MIB}
    assert content_of(store, KEY) == noise(3 * MIB)

    other = [a_file(tmp_path / f"other{seed}", noise(3 * MIB, seed)) for seed in range(3)]
    with ThreadPoolExecutor(3) as pool:
        tried = [pool.submit(put_file, store, source, KEY + "2") for source in other]
    failed = [one.exception() for one in tried if one.exception() is not None]
    assert [type(error) for error in failed] == [ConflictingObject] * 2
    assert content_of(store, KEY + "2") in [source.read_bytes() for source in other]
    assert waiting_in(store) == []


def test_what_was_damaged_on_the_other_disk_is_noticed_and_removed(
    store: SshStore, another_host: SshServer, tmp_path: Path
) -> None:
    # A disk there that loses what it was given: whatever is forced to it comes back changed.
    program = another_host.programs / "sync"
    program.write_text('#!/bin/sh\ncase $1 in *.partial) printf X >> "$1";; esac\n')
    program.chmod(0o755)
    source = a_file(tmp_path / "source", noise(2 * MIB))
    try:
        for attempt in (lambda: put(store, KEY, b"content"), lambda: put_file(store, source)):
            with pytest.raises(TransferDamaged, match="damaged on its way"):
                attempt()
    finally:
        program.unlink()

    assert keys(store) == []
    assert waiting_in(store) == []


def test_the_same_name_with_damaged_content_is_a_conflict_and_stays(store: SshStore, tmp_path: Path) -> None:
    source = a_file(tmp_path / "source", noise(2 * MIB))
    put_file(store, source)
    there = Path(store.location.root) / KEY
    damaged = b"?" + source.read_bytes()[1:]
    there.write_bytes(damaged)

    with pytest.raises(ConflictingObject, match="with other content") as caught:
        put_file(store, source)

    assert sha256(damaged) in caught.value.why
    assert there.read_bytes() == damaged


@pytest.mark.parametrize("from_file", [False, True])
def test_a_limited_transfer_takes_its_time(store: SshStore, tmp_path: Path, from_file: bool) -> None:
    slow = SshStore(replace(store.location, bandwidth_limit_bytes_per_second=2 * MIB), "remote")
    source = a_file(tmp_path / "source", noise(4 * MIB))
    begun = time.monotonic()

    if from_file:
        put_file(slow, source)
    else:
        put(slow, KEY, noise(4 * MIB))

    # The first of four pieces goes at once, and rsync counts by the second: 1.5 s at least, with room for its slack.
    assert 0.9 < time.monotonic() - begun < 20


def test_a_full_disk_there_is_said_and_nothing_is_stored(another_host: SshServer, tmp_path: Path) -> None:
    directory = tmp_path / "disk"
    location = another_host.location(directory)
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(directory)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        store = SshStore(location, "remote")
        source = a_file(tmp_path / "source", noise(6 * MIB))
        for attempt in (lambda: put(store, KEY, noise(6 * MIB)), lambda: put_file(store, source)):
            with pytest.raises(EnvironmentFault, match="the disk is full") as caught:
                attempt()
            assert "free some space there" in caught.value.remedy
            assert not isinstance(caught.value, TransientFault)
        assert keys(store) == []
    finally:
        # Lazily: the rsync there may end a moment after the one here.
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


# -- reading -------------------------------------------------------------------------------------------------------


def test_a_read_whose_link_is_cut_fails_and_is_no_end_of_file(
    store: SshStore, another_host: SshServer, tmp_path: Path
) -> None:
    put_file(store, a_file(tmp_path / "source", noise(8 * MIB)))

    with pytest.raises(TransientFault, match="to its end"), store.open(KEY) as handle:
        assert handle.read(MIB) == noise(8 * MIB)[:MIB]
        another_host.end_sessions()
        while handle.read(MIB):
            pass


def test_a_reader_may_stop_early_and_its_own_error_is_the_one_that_is_seen(store: SshStore, tmp_path: Path) -> None:
    put_file(store, a_file(tmp_path / "source", noise(8 * MIB)))

    with store.open(KEY) as handle:
        assert handle.read(5) == noise(8 * MIB)[:5]
    with pytest.raises(BrokenPipeError, match="mine"), store.open(KEY) as handle:
        raise BrokenPipeError("mine")
    assert len(content_of(store, KEY)) == 8 * MIB


# -- the other host ------------------------------------------------------------------------------------------------


def test_a_profile_that_talks_is_told_by_check_and_stops_rsync_alone(
    store: SshStore, a_profile_that_talks: None, tmp_path: Path
) -> None:
    put(store, KEY, b"content")
    assert (content_of(store, KEY), keys(store)) == (b"content", [KEY])
    assert store.free_bytes()

    large = a_file(tmp_path / "large", noise(2 * MIB))
    for attempt in (store.check, lambda: put_file(store, large, KEY + "2")):
        with pytest.raises(EnvironmentFault, match="prints text of its own") as caught:
            attempt()
        assert "~/.bashrc" in caught.value.remedy
    assert keys(store) == [KEY]


def test_many_small_operations_share_one_connection(store: SshStore, another_host: SshServer) -> None:
    put(store, KEY, b"x")
    logins = (another_host.directory / "log").read_text().count("Accepted publickey")

    for _ in range(5):
        store.stat(KEY)

    assert (another_host.directory / "log").read_text().count("Accepted publickey") == logins


def test_after_the_connection_was_lost_the_next_operation_makes_another(
    store: SshStore, another_host: SshServer
) -> None:
    put(store, KEY, b"x")
    another_host.end_sessions()

    assert keys(store) == [KEY]


def test_a_set_whose_last_put_fails_is_no_set(store: SshStore) -> None:
    with pytest.raises(EnvironmentFault):
        put_set(FaultyStore(store, Fault("put", "fail", part="manifest")), a_manifest())

    assert Catalog(store, ERP4).sets() == []
    put_set(store, a_manifest())
    assert Catalog(store, ERP4).resolve().state == "complete"


@pytest.mark.parametrize("kind", ["truncate", "flip"])
def test_an_artifact_that_comes_out_damaged_is_noticed_by_reading_back(store: SshStore, kind: Kind) -> None:
    put(store, KEY, b"content")

    with pytest.raises(TransferDamaged, match="is damaged"):
        read_back(FaultyStore(store, Fault("open", kind)), KEY, sha256=sha256(b"content"), size=7)
