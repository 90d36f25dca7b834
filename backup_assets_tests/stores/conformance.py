"""The suite that every store must pass: subclass `StoreConformance`, give a `store`, and collect it as a test class."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup_assets.errors import BackupError, EnvironmentFault
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.deletion import delete_set
from backup_assets.stores.contract import (
    ConflictingObject,
    InvalidKey,
    MissingObject,
    Store,
    StoredObject,
    TransferDamaged,
)
from backup_assets.stores.read_back import read_back
from backup_assets_tests.sets.examples import ERP4, NOW, a_manifest, put, put_artifacts, put_set, sha256

KEY = "erp4/prod/db/a.dump"
MIB = 1 << 20


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def keys(store: Store, prefix: str = "") -> list[str]:
    return [stored.key for stored in store.list(prefix)]


def content_of(store: Store, key: str) -> bytes:
    with store.open(key) as handle:
        return handle.read()


class StoreConformance:
    """Every store passes these; a test that names nothing of the store's inside works on all of them."""

    #: Whether `put` can read a named pipe. With one the tests stop a put exactly half way.
    reads_pipes = True

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        """Yield an empty store."""
        raise NotImplementedError

    def command_that_puts(self, store: Store, key: str, source: Path, digest: str, size: int) -> list[str]:
        """Return the argument list of a program that puts ``source`` into the same store."""
        raise NotImplementedError

    # -- what is stored comes back --------------------------------------------------------------------------------

    def test_an_empty_store_lists_nothing(self, store: Store) -> None:
        assert keys(store) == []
        assert keys(store, "erp4/prod") == []
        assert store.stat(KEY) is None

    @pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, 5 * MIB + 1])
    @pytest.mark.parametrize("from_file", [False, True])
    def test_content_of_any_size_comes_back(self, store: Store, tmp_path: Path, size: int, from_file: bool) -> None:
        content = noise(size)
        source = tmp_path / "source"
        source.write_bytes(content)
        before = datetime.now(UTC) - timedelta(seconds=5)

        stored = store.put(KEY, source if from_file else content, sha256=sha256(content), size=size)

        assert (stored.key, stored.size) == (KEY, size)
        assert content_of(store, KEY) == content
        assert source.read_bytes() == content
        found = store.stat(KEY)
        assert found is not None
        assert (found.key, found.size) == (KEY, size)
        assert before < found.stored_at < datetime.now(UTC) + timedelta(seconds=5)
        assert found.sha256 in {None, sha256(content)}
        read_back(store, KEY, sha256=sha256(content), size=size)

    def test_content_is_read_in_pieces(self, store: Store) -> None:
        content = noise(MIB + 3)
        put(store, KEY, content)

        with store.open(KEY) as handle:
            pieces = list(iter(lambda: handle.read(100_000), b""))

        assert max(len(piece) for piece in pieces) <= 100_000
        assert b"".join(pieces) == content

    def test_content_can_be_hashed_by_the_standard_library(self, store: Store) -> None:
        put(store, KEY, b"content")

        with store.open(KEY) as handle:
            digest = hashlib.file_digest(handle, "sha256")  # pyright: ignore[reportArgumentType] - it asks for readinto

        assert digest.hexdigest() == sha256(b"content")

    @pytest.mark.parametrize(
        "key",
        [
            "erp4/prod/db/with space.dump",
            "erp4/prod/db/plus+percent%20amp&hash#.dump",
            "erp4/prod/db/'quotes\".dump",
            "erp4/prod/db/-dash",
            "erp4/prod/db/~tilde$(id);*?[x]",
            "erp4/prod/db/バックアップ.dump",
            "erp4/prod/db/" + "x" * 238,
            "backups/erp4/prod/db/deep.dump",
            "prod/db/shallow.dump",
        ],
    )
    def test_odd_keys_are_kept_as_they_are(self, store: Store, key: str) -> None:
        put(store, key, key.encode())

        assert content_of(store, key) == key.encode()
        assert keys(store) == [key]
        assert keys(store, key.rpartition("/")[0]) == [key]
        store.delete(key)
        assert keys(store) == []

    @pytest.mark.parametrize(
        "key",
        [
            "",
            "/erp4/prod/db/x",
            "erp4/prod/db/",
            "erp4//db/x",
            "erp4/../../etc/passwd",
            "erp4/./db/x",
            "erp4/prod/db/.hidden",
            "erp4/prod/db/x\0",
            "erp4/prod/db/x\n",
            "erp4\\prod",
            "erp4/prod/db/x.0a1b2c3d.partial",
            "erp4/prod/db/\udc80",
            "erp4/prod/db/" + "x" * 239,
            "/".join(["x" * 200] * 6),
        ],
    )
    def test_a_key_that_no_store_accepts_is_refused_by_every_operation(self, store: Store, key: str) -> None:
        with pytest.raises(InvalidKey):
            put(store, key, b"x")
        with pytest.raises(InvalidKey):
            store.stat(key)
        with pytest.raises(InvalidKey):
            store.delete(key)
        with pytest.raises(InvalidKey), store.open(key):
            pass
        if key:
            with pytest.raises(InvalidKey):
                list(store.list(key))
        assert keys(store) == []

    # -- nothing is overwritten ------------------------------------------------------------------------------------

    def test_the_same_content_again_changes_nothing(self, store: Store) -> None:
        first = put(store, KEY, b"content")
        again = put(store, KEY, b"content")

        assert (again.key, again.size) == (first.key, first.size)
        assert [stored.stored_at for stored in store.list("")] == [first.stored_at]

    @pytest.mark.parametrize("other", [b"CONTENT", b"", b"content and more"])
    def test_other_content_under_the_same_key_is_refused_and_the_first_stays(self, store: Store, other: bytes) -> None:
        put(store, KEY, b"content")

        with pytest.raises(ConflictingObject) as caught:
            put(store, KEY, other)

        assert KEY in caught.value.what
        assert caught.value.remedy
        assert content_of(store, KEY) == b"content"
        assert keys(store) == [KEY]

    def test_of_simultaneous_puts_of_one_key_one_content_wins_and_the_others_are_told(self, store: Store) -> None:
        contents = [noise(2 * MIB, seed) for seed in range(4)]
        start = threading.Barrier(len(contents))

        def attempt(content: bytes) -> bytes | None:
            start.wait()
            try:
                put(store, KEY, content)
            except ConflictingObject:
                return None
            return content

        with ThreadPoolExecutor(len(contents)) as pool:
            winners = [content for content in pool.map(attempt, contents) if content is not None]

        assert len(winners) == 1
        assert content_of(store, KEY) == winners[0]
        assert keys(store) == [KEY]

    def test_simultaneous_puts_of_the_same_content_all_succeed(self, store: Store) -> None:
        content = noise(2 * MIB)
        start = threading.Barrier(4)

        def attempt(_: int) -> StoredObject:
            start.wait()
            return put(store, KEY, content)

        with ThreadPoolExecutor(4) as pool:
            assert {stored.size for stored in pool.map(attempt, range(4))} == {len(content)}
        assert content_of(store, KEY) == content
        assert keys(store) == [KEY]

    # -- all or nothing --------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("from_file", [False, True])
    @pytest.mark.parametrize(
        ("digest", "size"),
        [(sha256(b"other"), 7), (sha256(b"content"), 6), (sha256(b"content"), 8), (sha256(b"conten"), 6)],
    )
    def test_a_source_that_is_not_what_was_announced_leaves_nothing(
        self, store: Store, tmp_path: Path, digest: str, size: int, from_file: bool
    ) -> None:
        source = tmp_path / "source"
        source.write_bytes(b"content")

        with pytest.raises(TransferDamaged) as caught:
            store.put(KEY, source if from_file else b"content", sha256=digest, size=size)

        assert KEY in caught.value.what
        assert store.stat(KEY) is None
        assert keys(store) == []
        put(store, KEY, b"content")

    def test_a_source_that_is_not_there_is_named_and_leaves_nothing(self, store: Store, tmp_path: Path) -> None:
        with pytest.raises(EnvironmentFault) as caught:
            store.put(KEY, tmp_path / "missing.dump", sha256=sha256(b""), size=0)

        assert "missing.dump" in str(caught.value)
        assert keys(store) == []

    def test_a_source_whose_disk_fails_leaves_nothing(self, store: Store) -> None:
        # Reading our own memory at address 0 fails as a bad sector does: with EIO.
        with pytest.raises(EnvironmentFault) as caught:
            store.put(KEY, Path("/proc/self/mem"), sha256=sha256(b""), size=1)

        assert "mem" in caught.value.what
        assert keys(store) == []

    def test_a_reader_sees_nothing_until_all_is_stored(self, store: Store, tmp_path: Path) -> None:
        if not self.reads_pipes:
            pytest.skip("this store cannot be stopped half way by a pipe")
        content = noise(4 * MIB)
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)

        with ThreadPoolExecutor(1) as pool:
            putting = pool.submit(store.put, KEY, pipe, sha256=sha256(content), size=len(content))
            with pipe.open("wb", buffering=0) as writer:
                writer.write(content[: 3 * MIB])
                seen = (store.stat(KEY), keys(store), keys(store, "erp4/prod/db"))
                with pytest.raises(MissingObject), store.open(KEY):
                    pass
                writer.write(content[3 * MIB :])
            putting.result(timeout=60)

        assert seen == (None, [], [])
        assert content_of(store, KEY) == content

    def test_a_put_whose_process_is_killed_leaves_nothing_and_can_be_repeated(
        self, store: Store, tmp_path: Path
    ) -> None:
        if not self.reads_pipes:
            pytest.skip("this store cannot be stopped half way by a pipe")
        content = noise(4 * MIB)
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)

        child = subprocess.Popen(self.command_that_puts(store, KEY, pipe, sha256(content), len(content)))
        with pipe.open("wb", buffering=0) as writer:
            writer.write(content[: 3 * MIB])
            child.send_signal(signal.SIGKILL)
            child.wait(timeout=60)

        assert store.stat(KEY) is None
        assert keys(store) == []
        put(store, KEY, content)
        assert content_of(store, KEY) == content

    # -- listing ---------------------------------------------------------------------------------------------------

    def test_objects_are_listed_in_order_with_sizes(self, store: Store) -> None:
        names = ["b", "a", "a-b", "a.b", "d/b", "d-b", "d0b", "A", "é", "10", "9", "a0"]
        for name in names:
            put(store, f"erp4/prod/db/x{name}", name.encode())

        listed = list(store.list("erp4/prod/db"))

        assert [stored.key for stored in listed] == sorted(f"erp4/prod/db/x{name}" for name in names)
        assert {stored.size for stored in listed} == {1, 2, 3}

    def test_a_prefix_is_a_path_and_not_the_beginning_of_a_name(self, store: Store) -> None:
        for key in ("erp4/prod/db/x", "erp40/prod/db/x", "erp4/production/db/x", "erp4-old/prod/db/x"):
            put(store, key, b"x")

        assert keys(store, "erp4") == ["erp4/prod/db/x", "erp4/production/db/x"]
        assert keys(store, "erp4/prod") == ["erp4/prod/db/x"]
        assert keys(store, "erp4/prod/db/x") == ["erp4/prod/db/x"]
        assert keys(store, "erp4/pro") == []
        assert keys(store, "erp") == []
        assert len(keys(store)) == 4

    # -- deleting --------------------------------------------------------------------------------------------------

    def test_a_deleted_object_is_gone_and_its_neighbours_stay(self, store: Store) -> None:
        put(store, KEY, b"x")
        put(store, KEY + ".zst", b"y")

        store.delete(KEY)

        assert keys(store) == [KEY + ".zst"]
        assert store.stat(KEY) is None
        with pytest.raises(MissingObject) as caught, store.open(KEY):
            pass
        assert KEY in caught.value.what

    def test_deleting_what_is_not_there_is_fine(self, store: Store) -> None:
        store.delete(KEY)
        put(store, KEY, b"x")
        store.delete(KEY)
        store.delete(KEY)
        assert keys(store) == []

        put(store, KEY, b"x")
        store.delete("erp4/prod/db")
        store.delete(f"{KEY}/below")
        assert keys(store) == [KEY]

    def test_a_deleted_key_can_be_stored_anew(self, store: Store) -> None:
        put(store, KEY, b"x")
        store.delete(KEY)
        put(store, KEY, b"other")

        assert content_of(store, KEY) == b"other"

    def test_what_is_not_there_is_missing(self, store: Store) -> None:
        put(store, "erp4/prod/db/other", b"x")

        with pytest.raises(MissingObject), store.open(KEY):
            pass
        with pytest.raises(MissingObject):
            read_back(store, KEY, sha256=sha256(b""), size=0)
        for key in ("erp4/prod/db", "erp4/prod/db/other/below"):
            assert store.stat(key) is None
            with pytest.raises(MissingObject), store.open(key):
                pass

    # -- sets ------------------------------------------------------------------------------------------------------

    def test_a_set_appears_with_its_manifest_and_disappears_with_it(self, store: Store) -> None:
        manifest = a_manifest()
        put_artifacts(store, manifest)
        assert Catalog(store, ERP4).sets() == []

        put(store, ERP4.manifest_key(manifest.id), manifest.to_json())
        found = Catalog(store, ERP4).resolve()
        assert found.manifest == manifest
        assert found.state == "complete"

        store.delete(ERP4.manifest_key(manifest.id))
        assert Catalog(store, ERP4).sets() == []

    def test_a_deleted_set_leaves_nothing_of_its_own_and_all_of_the_others(self, store: Store) -> None:
        gone, stays = put_set(store, a_manifest(NOW)), put_set(store, a_manifest(NOW - timedelta(days=1)))

        delete_set(store, ERP4, Catalog(store, ERP4).resolve(gone.id), now=NOW)

        assert [one.id for one in Catalog(store, ERP4).sets()] == [stays.id]
        assert Catalog(store, ERP4).resolve().state == "complete"
        assert not [key for key in keys(store) if gone.id in key]

    # -- the store itself ------------------------------------------------------------------------------------------

    def test_a_check_of_a_good_store_passes_and_leaves_nothing(self, store: Store) -> None:
        store.check()

        assert keys(store) == []
        assert store.describe()
        assert store.name
        free = store.free_bytes()
        assert free is None or free > 0

    def test_errors_say_what_and_what_to_do(self, store: Store) -> None:
        put(store, KEY, b"x")

        for attempt in (lambda: put(store, KEY, b"y"), lambda: content_of(store, KEY + "x")):
            with pytest.raises(BackupError) as caught:
                attempt()
            assert caught.value.what
            assert caught.value.remedy
            assert "Traceback" not in str(caught.value)
