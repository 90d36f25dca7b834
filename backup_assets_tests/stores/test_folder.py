"""The folder store: the contract, and what only a folder has."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup_assets.errors import EnvironmentFault, Refused
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.place import Place
from backup_assets.stores.contract import ConflictingObject, InvalidKey, MissingObject, Store, TransferDamaged
from backup_assets.stores.folder import FolderStore
from backup_assets_tests.sets.examples import ERP4, NOW, a_manifest, put, put_artifacts, put_set, sha256
from backup_assets_tests.stores.conformance import KEY, StoreConformance, keys, noise

DAY = timedelta(days=1)
#: What is made now is a leftover then: when a file came to a folder cannot be pretended.
LATER = datetime.now(UTC) + 2 * DAY
PUT = """
import sys, pathlib
from backup_assets.stores.folder import FolderStore
root, key, source, digest, size = sys.argv[1:]
FolderStore(pathlib.Path(root), "local").put(key, pathlib.Path(source), sha256=digest, size=int(size))
"""


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "backups", "local")


class TestFolderConformance(StoreConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        yield FolderStore(tmp_path / "backups", "local")

    def command_that_puts(self, store: Store, key: str, source: Path, digest: str, size: int) -> list[str]:
        assert isinstance(store, FolderStore)
        return [sys.executable, "-c", PUT, str(store.root), key, str(source), digest, str(size)]


def test_a_small_object_is_read_at_once_and_what_is_none_is_told_as_ever(store: FolderStore, tmp_path: Path) -> None:
    listed = put(store, KEY, b"content")
    assert store.read_small(listed) == b"content"
    store.path_of(KEY).write_bytes(b"grown since it was listed")
    assert store.read_small(listed) == b"grown since it was listed"
    store.path_of(KEY).unlink()
    with pytest.raises(MissingObject):
        store.read_small(listed)
    (tmp_path / "elsewhere").write_bytes(b"content")
    store.path_of(KEY).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MissingObject):
        store.read_small(listed)


def no_links(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


class TestFolderWithoutHardLinksConformance(TestFolderConformance):
    """An external disk with exFAT answers link() with EPERM."""

    @pytest.fixture(autouse=True)
    def _no_links(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "link", no_links)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def files_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def made_old(path: Path, days: float = 2) -> Path:
    then = NOW.timestamp() - days * 86400
    os.utime(path, (then, then))
    return path


# -- files ---------------------------------------------------------------------------------------------------------


def test_files_and_directories_are_private_whatever_the_umask(store: FolderStore) -> None:
    old = os.umask(0)
    try:
        put(store, KEY, b"x")
        with store.capture_lock("erp4"):
            pass
    finally:
        os.umask(old)

    for path in [store.root, *store.root.rglob("*")]:
        assert mode(path) == (0o700 if path.is_dir() else 0o600), path


def test_content_is_private_already_while_it_is_written(store: FolderStore, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    old = os.umask(0)
    try:
        with ThreadPoolExecutor(1) as pool:
            putting = pool.submit(store.put, KEY, pipe, sha256=sha256(noise(4 << 20)), size=4 << 20)
            with pipe.open("wb", buffering=0) as writer:
                writer.write(noise(4 << 20)[: 3 << 20])
                modes = [mode(path) for path in store.path_of(KEY).parent.glob("*.partial")]
                writer.write(noise(4 << 20)[3 << 20 :])
            putting.result(timeout=60)
    finally:
        os.umask(old)

    assert modes == [0o600]


def test_a_wrong_source_is_told_apart_from_a_wrong_disk(store: FolderStore) -> None:
    with pytest.raises(TransferDamaged, match="its source is not what was announced"):
        store.put(KEY, b"content", sha256=sha256(b"CONTENT"), size=7)


def test_what_is_no_object_is_not_listed(store: FolderStore, tmp_path: Path) -> None:
    put(store, KEY, b"x")
    folder = store.path_of(KEY).parent
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "b.dump.0a1b2c3d.partial").write_bytes(b"x")
    (folder / "link").symlink_to(store.path_of(KEY))
    (folder / "elsewhere").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    (folder / "c.0a1b2c3d.partial").mkdir()
    (folder / "c.0a1b2c3d.partial" / "toc.dat").write_bytes(b"x")

    assert keys(store) == [KEY]
    assert store.stat("erp4/prod/db/link") is None
    assert store.stat("erp4/prod/db/pipe") is None


def test_damage_between_writing_and_reading_back_is_noticed_and_leaves_nothing(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def a_disk_that_flips_a_bit(descriptor: int, *_: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)

    monkeypatch.setattr(os, "posix_fadvise", a_disk_that_flips_a_bit)

    with pytest.raises(TransferDamaged, match="damaged on its way"):
        put(store, KEY, b"content")

    assert files_below(store.root) == []


def test_a_stored_file_that_was_damaged_is_not_taken_for_the_same(store: FolderStore) -> None:
    put(store, KEY, b"content")
    store.path_of(KEY).write_bytes(b"contenT")

    with pytest.raises(ConflictingObject, match="with other content"):
        put(store, KEY, b"content")


def test_a_missing_root_is_made_or_is_a_fault_as_the_store_was_told(store: FolderStore) -> None:
    unmounted = FolderStore(store.root, "disk", create_root=False)

    for attempt in (
        lambda: put(unmounted, KEY, b"x"),
        lambda: list(unmounted.list("")),
        lambda: unmounted.stat(KEY),
        lambda: unmounted.delete(KEY),
        unmounted.check,
        unmounted.free_bytes,
        lambda: unmounted.sweep(NOW),
        lambda: unmounted.partial_for(KEY),
    ):
        with pytest.raises(EnvironmentFault, match="does not exist") as caught:
            attempt()
        assert "mount" in caught.value.remedy
    assert not store.root.exists()
    store.check()
    unmounted.check()


def test_a_root_that_is_a_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "backups").write_bytes(b"x")

    store = FolderStore(tmp_path / "backups", "local")

    for attempt in (store.check, lambda: list(store.list("")), lambda: put(store, KEY, b"x"), lambda: store.sweep(NOW)):
        with pytest.raises(EnvironmentFault, match="is a file") as caught:
            attempt()
        assert str(store.root) in caught.value.what
        assert caught.value.remedy


# -- a full and a read-only disk ---------------------------------------------------------------------------------------

TRIAL = """
import hashlib, pathlib, sys
from backup_assets.errors import BackupError
from backup_assets.stores.folder import FolderStore
store = FolderStore(pathlib.Path(sys.argv[1]) / "backups", "local")
for size in map(int, sys.argv[2:]):
    content = b"x" * size
    try:
        store.put(f"erp4/prod/db/{size}", content, sha256=hashlib.sha256(content).hexdigest(), size=size)
        print("stored", size)
    except BackupError as error:
        print(type(error).__name__, error)
print([stored.key for stored in store.list("")], [path.name for path in store.root.rglob("*.partial")])
"""


def on_a_tmpfs(directory: Path, after: str, *arguments: str) -> str:
    """Run TRIAL in a mount namespace of its own with a tmpfs of 2 MiB on ``directory``; skip where that is refused."""
    directory.mkdir()
    script = f'mount -t tmpfs -o size=2m none "$1" && shift && {after}'
    unshare = ["unshare", "--mount", "--map-root-user"] if os.getuid() else ["unshare", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("mount namespaces are not available")
    argv = [*unshare, "sh", "-c", script, "sh", str(directory), sys.executable, "-c", TRIAL, str(directory), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    if "permission denied" in done.stderr and "mount" in done.stderr:
        pytest.skip("mounting is not allowed")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path: Path) -> None:
    said = on_a_tmpfs(tmp_path / "disk", '"$@"', "1000000", "4000000")

    assert "stored 1000000" in said
    assert f"EnvironmentFault could not store erp4/prod/db/4000000 in {tmp_path}/disk/backups: the disk is full" in said
    assert "next: free some space" in said
    assert said.endswith("['erp4/prod/db/1000000'] []\n")


def test_a_read_only_disk_is_one_clear_error(tmp_path: Path) -> None:
    after = 'mkdir "$4/backups" && mount -o remount,ro "$4" && "$@"'

    said = on_a_tmpfs(tmp_path / "disk", after, "1")

    assert f"in {tmp_path}/disk/backups: the file system is read-only" in said


@pytest.mark.skipif(os.getuid() != 0, reason="needs another user to be refused as")
def test_a_folder_of_another_user_is_one_clear_error(tmp_path: Path) -> None:
    program = (
        "import os, sys, pathlib\n"
        "from backup_assets.stores.folder import FolderStore\n"
        "from backup_assets.errors import BackupError\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try:\n"
        "    FolderStore(pathlib.Path(sys.argv[1]), 'local').check()\n"
        "except BackupError as error:\n"
        "    print(error)\n"
    )
    root = tmp_path / "backups"
    root.mkdir(mode=0o700)

    done = subprocess.run([sys.executable, "-c", program, root], capture_output=True, text=True, check=True, timeout=60)

    assert f"in {root}: permission denied" in done.stdout
    assert "next: let the user that runs this program own the directory" in done.stdout


# -- adopting what was written in place --------------------------------------------------------------------------------


def a_partial(store: FolderStore, content: bytes, key: str = KEY) -> Path:
    partial = store.partial_for(key)
    partial.write_bytes(content)
    return partial


def test_a_partial_is_a_fresh_name_beside_the_final_one(store: FolderStore) -> None:
    first, second = store.partial_for(KEY), store.partial_for(KEY)

    assert first != second
    assert first.parent == store.path_of(KEY).parent
    assert first.parent.is_dir()
    assert not first.exists()


def test_an_adopted_partial_is_the_object_without_being_copied(store: FolderStore) -> None:
    partial = a_partial(store, b"content")
    partial.chmod(0o644)
    inode = partial.stat().st_ino

    stored = store.adopt(KEY, partial, sha256=sha256(b"content"), size=7)

    assert (stored.key, stored.size, stored.sha256) == (KEY, 7, sha256(b"content"))
    assert store.path_of(KEY).stat().st_ino == inode
    assert mode(store.path_of(KEY)) == 0o600
    assert not partial.exists()


def test_a_partial_of_another_size_is_not_adopted(store: FolderStore) -> None:
    partial = a_partial(store, b"conten")

    with pytest.raises(TransferDamaged, match="not written completely"):
        store.adopt(KEY, partial, sha256=sha256(b"content"), size=7)

    assert keys(store) == []


def test_adopting_the_same_content_twice_changes_nothing(store: FolderStore) -> None:
    first = store.adopt(KEY, a_partial(store, b"content"), sha256=sha256(b"content"), size=7)
    second = store.adopt(KEY, a_partial(store, b"content"), sha256=sha256(b"content"), size=7)

    assert second == first
    assert files_below(store.root) == [KEY]


def test_adopting_other_content_is_refused_and_keeps_both_files(store: FolderStore) -> None:
    put(store, KEY, b"content")
    partial = a_partial(store, b"CONTENT")

    with pytest.raises(ConflictingObject):
        store.adopt(KEY, partial, sha256=sha256(b"CONTENT"), size=7)

    assert store.path_of(KEY).read_bytes() == b"content"
    assert partial.read_bytes() == b"CONTENT"


def test_a_partial_from_elsewhere_is_no_partial_of_the_key(store: FolderStore, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no partial of"):
        store.adopt(KEY, tmp_path / "x.partial", sha256=sha256(b""), size=0)
    with pytest.raises(InvalidKey):
        store.path_of("../x")


# -- one capture at a time ---------------------------------------------------------------------------------------------

HOLD = """
import pathlib, sys
from backup_assets.stores.folder import FolderStore
with FolderStore(pathlib.Path(sys.argv[1]), "local").capture_lock("erp4", "run-1"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_capture_is_refused_and_told_who_is_at_work(store: FolderStore) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, store.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"

        with pytest.raises(Refused, match="another run is at work on erp4") as caught, store.capture_lock("erp4"):
            pass
        assert f"process {other.pid} on {socket.gethostname()} (run run-1) holds" in caught.value.why
        assert "since 20" in caught.value.why
        with store.capture_lock("erp5"):
            pass
        other.kill()
        other.wait(timeout=60)

    with store.capture_lock("erp4"):
        pass


def test_a_lock_is_held_against_other_threads_and_free_after_an_error(store: FolderStore) -> None:
    refused: list[Refused] = []

    def attempt() -> None:
        try:
            with store.capture_lock("erp4"):
                pass
        except Refused as error:
            refused.append(error)

    with pytest.raises(RuntimeError, match="capture failed"), store.capture_lock("erp4", "a"):
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join(timeout=60)
        raise RuntimeError("capture failed")

    assert len(refused) == 1
    attempt()
    assert len(refused) == 1
    assert keys(store) == []


# -- sweeping ----------------------------------------------------------------------------------------------------------


def make_all_old(store: FolderStore) -> None:
    for path in store.root.rglob("*"):
        made_old(path)


def test_a_sweep_removes_old_leftovers_and_keeps_sets(store: FolderStore) -> None:
    stays = put_set(store, a_manifest(NOW - 3 * DAY))
    put_artifacts(store, a_manifest(NOW - 3 * DAY, run="deadbeef"))
    a_partial(store, b"12345")
    directory = store.partial_for("erp4/prod/db/b.tar")
    directory.mkdir()
    (directory / "toc.dat").write_bytes(b"123")
    make_all_old(store)
    kept = files_below(store.root / "erp4/prod/meta")
    young = a_partial(store, b"x")
    half_a_day_before = (LATER - DAY / 2).timestamp()
    os.utime(young, (half_a_day_before, half_a_day_before))

    planned = store.sweep(LATER, dry_run=True)
    before = files_below(store.root)
    swept = store.sweep(LATER)

    assert planned == swept
    assert len(before) == 8
    assert sorted(one.size for one in swept) == [3, 5, 11, len(b"the dump of ") + len(stays.id)]
    assert Catalog(store, ERP4).resolve().id == stays.id
    assert len(keys(store)) == 3
    assert files_below(store.root / "erp4/prod/meta") == kept
    assert young.exists()
    assert not directory.exists()
    assert store.sweep(LATER) == []


def test_what_somebody_brings_with_the_times_of_its_origin_is_not_swept_before_its_manifest_comes(
    store: FolderStore, tmp_path: Path
) -> None:
    put_set(store, a_manifest(NOW - 3 * DAY))
    elsewhere = FolderStore(tmp_path / "elsewhere", "usb")
    brought = put_set(elsewhere, a_manifest(NOW - 3 * DAY, run="deadbeef"))
    make_all_old(elsewhere)
    for artifact in brought.artifacts:
        shutil.copy2(elsewhere.path_of(ERP4.key(artifact.name)), store.path_of(ERP4.key(artifact.name)))

    assert store.sweep(datetime.now(UTC)) == []

    assert {one.key for one in store.sweep(LATER)} == {ERP4.key(artifact.name) for artifact in brought.artifacts}


def test_a_sweep_of_one_place_leaves_every_other_as_it_is(store: FolderStore) -> None:
    other = Place("erp40", "prod")
    for place in (ERP4, other):
        put_set(store, a_manifest(NOW - 3 * DAY), place)
        put_artifacts(store, a_manifest(NOW - 3 * DAY, run="deadbeef"), place)

    swept = store.sweep(LATER, only=other)

    assert len(swept) == 2
    assert {one.key.partition("/")[0] for one in swept} == {"erp40"}


def test_a_partial_directory_that_is_still_written_is_kept(store: FolderStore) -> None:
    directory = store.partial_for(KEY)
    directory.mkdir()
    (directory / "1.dat").write_bytes(b"x")
    made_old(directory / "1.dat", days=0)
    made_old(directory)

    assert store.sweep(NOW) == []
    assert (directory / "1.dat").exists()


def test_a_damaged_manifest_protects_its_files_from_the_sweep(store: FolderStore) -> None:
    put_set(store, a_manifest(NOW - 3 * DAY))
    damaged = put_set(store, a_manifest(NOW - 3 * DAY, run="deadbeef"))
    store.path_of(ERP4.manifest_key(damaged.id)).write_bytes(b"")
    make_all_old(store)

    assert store.sweep(LATER) == []
    assert len(keys(store)) == 6


def test_a_lost_meta_folder_does_not_take_the_dumps_with_it(store: FolderStore) -> None:
    put_set(store, a_manifest(NOW - 3 * DAY))
    make_all_old(store)
    shutil.rmtree(store.root / "erp4/prod/meta")

    assert store.sweep(LATER) == []
    assert len(keys(store)) == 2


def test_each_place_is_swept_by_its_own_manifests(store: FolderStore) -> None:
    put_set(store, a_manifest(NOW - 3 * DAY))
    orphan = a_manifest(NOW - 3 * DAY, run="deadbeef")
    put_artifacts(store, orphan)
    other = a_manifest(NOW - 3 * DAY, run="deadbeef")
    put_set(store, other, Place("erp4", "staging"))
    put(store, "notes/of/mine/db.txt", noise(3))
    make_all_old(store)

    swept = store.sweep(LATER)

    assert {one.key for one in swept} == {ERP4.key(artifact.name) for artifact in orphan.artifacts}
