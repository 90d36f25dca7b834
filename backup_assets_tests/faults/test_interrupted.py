"""Copies whose process, server or connection ends in the middle: the next run finishes them, nothing stays behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backup_assets.errors import Refused, TransientFault
from backup_assets.local import local_store
from backup_assets.named_stores import catalog_in, store_named
from backup_assets.offsite.copies import copy_sets
from backup_assets.restore.fetch import fetch_set
from backup_assets.sets.manifest import Manifest
from backup_assets.settings import Settings
from backup_assets.stores.s3_location import MIB
from backup_assets.stores.ssh import SshStore
from backup_assets_tests.ciphers.keys import AgeKeys
from backup_assets_tests.faults.dying_off_site import Task, perform
from backup_assets_tests.faults.test_off_site import encrypting, require_fetched
from backup_assets_tests.offsite.copying import SLOT, hold, local_set, settings_with
from backup_assets_tests.offsite.cross_copying import a_bucket_store, tokyo_and_osaka, use_profiles
from backup_assets_tests.offsite.test_another_host import host_store
from backup_assets_tests.sets.examples import ERP4, a_manifest, put, sha256
from backup_assets_tests.sources import no_log
from backup_assets_tests.stores.conftest import another_host, objects
from backup_assets_tests.stores.object_server import ObjectServer, object_server
from backup_assets_tests.stores.ssh_server import Link, SshServer, link_to

__all__ = ["another_host", "objects"]

DUMP_BYTES = 12 * MIB
YESTERDAY_BUT_ONE = timedelta(days=2)


def hold_large(settings: Settings) -> tuple[Manifest, bytes]:
    """Put a set into the local store whose dump takes three parts."""
    content = random.Random(DUMP_BYTES).randbytes(DUMP_BYTES)
    manifest = a_manifest()
    dump = manifest.artifacts[0].model_copy(update={"size_bytes": len(content), "sha256": sha256(content)})
    manifest = manifest.model_copy(update={"artifacts": (dump, *manifest.artifacts[1:])})
    local = local_store(settings)
    put(local, ERP4.key(dump.name), content)
    put(local, ERP4.key(manifest.artifacts[1].name), b"attachments")
    put(local, ERP4.manifest_key(manifest.id), manifest.to_json())
    return manifest, content


def require_back(settings: Settings, name: str, manifest: Manifest, content: bytes, directory: Path) -> None:
    store = store_named(settings, name)
    catalog = catalog_in(store, ERP4)
    directory.mkdir(exist_ok=True)
    fetched = fetch_set(store, ERP4, catalog, catalog.resolve(manifest.id), directory, settings.encryption)
    assert fetched.paths["dump"].read_bytes() == content


def states_in(settings: Settings, name: str) -> list[str]:
    return [one.state for one in catalog_in(store_named(settings, name), ERP4).sets()]


def started(task: Task) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "backup_assets_tests.faults.dying_off_site"]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(task.to_json())
    process.stdin.close()
    process.stdin = None
    return process


def killed(task: Task, link: Link | None = None, at_byte: int = 0) -> None:
    """Let another process perform a task that kills itself, or that is killed when so much has gone through a link."""
    dying: list[subprocess.Popen[bytes]] = []
    if link is not None:
        link.at_limit = lambda: dying[0].kill()
        link.limit = link.sent + at_byte
    dying.append(started(task))
    _, said = dying[0].communicate(timeout=400)
    assert dying[0].returncode == -signal.SIGKILL, said.decode()


def uploads_in(server: ObjectServer, bucket: str) -> dict[str, int]:
    """Return key and stored bytes of every unfinished upload of a bucket."""
    client = server.client()
    return {
        one["Key"]: sum(
            part["Size"]
            for part in client.list_parts(Bucket=bucket, Key=one["Key"], UploadId=one["UploadId"]).get("Parts", ())
        )
        for one in client.list_multipart_uploads(Bucket=bucket).get("Uploads", ())
    }


def bucket_of(settings: Settings, name: str) -> str:
    return str(next(one.bucket for one in settings.stores if one.name == name))


# -- a bucket ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def profiles(objects: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_profiles(objects, tmp_path, monkeypatch)


@pytest.fixture
def link(objects: ObjectServer) -> Iterator[Link]:
    one = Link(objects.ports.s3)
    yield one
    one.close()


def tokyo_through(link: Link, server: ObjectServer, **fields: Any) -> Any:
    return a_bucket_store(server, "tokyo", part_size_mb=5, **fields).model_copy(
        update={"endpoint_url": f"http://127.0.0.1:{link.port}"}
    )


@pytest.mark.parametrize("at_byte", [5_000, 9_000_000, DUMP_BYTES + 8_000])
def test_an_upload_that_is_killed_at_any_byte_is_finished_by_the_next_run(
    objects: ObjectServer, link: Link, profiles: None, tmp_path: Path, at_byte: int
) -> None:
    settings = settings_with(tmp_path / "local", tokyo_through(link, objects))
    manifest, content = hold_large(settings)
    task = Task("tokyo", settings.model_dump_json(), SLOT)

    killed(task, link, at_byte)

    assert states_in(settings, "tokyo") == []
    stored_before = sum(uploads_in(objects, bucket_of(settings, "tokyo")).values())
    sent_before = link.sent
    perform(task, settings)
    assert states_in(settings, "tokyo") == ["complete"]
    # Parts that arrived are not sent again; only when all did, the last one shows how they are encrypted.
    assert link.sent - sent_before < max(DUMP_BYTES - stored_before, DUMP_BYTES - 10 * MIB) + 200_000
    # What was begun without any part costs nothing. Parts that were still on their way when the client was killed may
    # arrive after the end, as buffers hold some MiB; the bucket's lifecycle removes both.
    assert sum(uploads_in(objects, bucket_of(settings, "tokyo")).values()) <= DUMP_BYTES - stored_before
    require_back(settings, "tokyo", manifest, content, tmp_path / "fetched")


def test_a_server_that_is_killed_and_comes_back_takes_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with object_server() as server:
        use_profiles(server, tmp_path, monkeypatch)
        link = Link(server.ports.s3)
        settings = settings_with(tmp_path / "local", tokyo_through(link, server))
        manifest, content = hold_large(settings)
        task = Task("tokyo", settings.model_dump_json(), SLOT)
        link.at_limit = server.weed.kill
        link.limit = 9_000_000

        with pytest.raises(TransientFault):
            perform(task, settings)

        server.restart()
        assert states_in(settings, "tokyo") == []
        perform(task, settings)
        assert states_in(settings, "tokyo") == ["complete"]
        assert sum(uploads_in(server, bucket_of(settings, "tokyo")).values()) == 0
        require_back(settings, "tokyo", manifest, content, tmp_path / "fetched")
        link.close()


# -- from one bucket to another ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "at_byte"), [("admin", 4_000), ("writer", 9_000_000), ("writer", DUMP_BYTES + 9_000)]
)
def test_a_copy_to_a_second_bucket_that_is_killed_is_finished_by_the_next_run(
    objects: ObjectServer, link: Link, profiles: None, tmp_path: Path, profile: str, at_byte: int
) -> None:
    """By the service itself as one role for both buckets, otherwise through this host."""
    address = {"endpoint_url": f"http://127.0.0.1:{link.port}"}
    osaka = a_bucket_store(
        objects, "osaka", copied_from="tokyo", profile=profile, read_profile="reader", part_size_mb=5
    )
    settings = tokyo_and_osaka(tmp_path, tokyo_through(link, objects), osaka.model_copy(update=address))
    manifest, content = hold_large(settings)
    perform(Task("tokyo", "", SLOT), settings)
    task = Task("osaka", settings.model_dump_json(), SLOT)

    killed(task, link, at_byte)

    assert states_in(settings, "osaka") == []
    age(settings.backup_dir / ".work")
    perform(task, settings)
    assert states_in(settings, "osaka") == states_in(settings, "tokyo") == ["complete"]
    assert list((settings.backup_dir / ".work").iterdir()) == []
    require_back(settings, "osaka", manifest, content, tmp_path / "fetched")


def age(directory: Path) -> None:
    """Make everything in a directory two days old."""
    then = time.time() - YESTERDAY_BUT_ONE.total_seconds()
    for path in directory.iterdir():
        os.utime(path, (then, then))


# -- another host ------------------------------------------------------------------------------------------------------


@pytest.fixture
def host_link(another_host: SshServer) -> Iterator[Link]:
    with link_to(another_host) as one:
        yield one


@pytest.fixture
def to_host(another_host: SshServer, host_link: Link, tmp_path: Path) -> Settings:
    remote = host_store(another_host, tmp_path / "there", "remote").model_copy(update={"port": host_link.port})
    return settings_with(tmp_path / "local", remote)


def files_in(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def whole_files(manifest: Manifest) -> set[str]:
    return {*(ERP4.key(artifact.name) for artifact in manifest.artifacts), ERP4.manifest_key(manifest.id)}


@pytest.mark.parametrize("at_byte", [3_000, 9_000_000])
def test_a_transfer_to_another_host_that_is_killed_is_finished_by_the_next_run(
    to_host: Settings, host_link: Link, tmp_path: Path, at_byte: int
) -> None:
    manifest, content = hold_large(to_host)
    task = Task("remote", to_host.model_dump_json(), SLOT)

    killed(task, host_link, at_byte)

    assert states_in(to_host, "remote") == []
    perform(task, to_host)
    assert states_in(to_host, "remote") == ["complete"]
    require_back(to_host, "remote", manifest, content, tmp_path / "fetched")
    assert files_in(tmp_path / "there") == whole_files(manifest)


def test_a_slow_transfer_that_outlives_its_killed_run_does_not_spoil_the_next_one(
    to_host: Settings, host_link: Link, tmp_path: Path
) -> None:
    slow = to_host.stores[0].model_copy(update={"bandwidth_limit_mb": 4.0})
    slowly = to_host.model_copy(update={"stores": (slow,)})
    manifest, content = hold_large(to_host)

    killed(Task("remote", slowly.model_dump_json(), SLOT), host_link, 2_000_000)

    perform(Task("remote", "", SLOT), to_host)
    assert states_in(to_host, "remote") == ["complete"]
    require_back(to_host, "remote", manifest, content, tmp_path / "fetched")
    assert files_in(tmp_path / "there") == whole_files(manifest)


@pytest.mark.parametrize("how", ["cut", "stall", "end_sessions"])
def test_a_connection_that_ends_in_the_middle_is_an_error_and_the_next_run_sends_the_rest(
    to_host: Settings, another_host: SshServer, host_link: Link, tmp_path: Path, how: str
) -> None:
    manifest, content = hold_large(to_host)
    remote = store_named(to_host, "remote", writing=True)
    assert isinstance(remote, SshStore)
    # One that is silent is given up after three times one second, and not of fifteen.
    hasty = replace(remote, location=replace(remote.location, alive_seconds=1))
    ways: dict[str, Callable[[], None]] = {
        "cut": host_link.cut,
        "stall": host_link.stall,
        "end_sessions": another_host.end_sessions,
    }
    host_link.at_limit, host_link.limit = ways[how], 9_000_000

    with pytest.raises(TransientFault):
        copy_sets(to_host.databases[0], to_host, hasty, [local_set(to_host, manifest)], log=no_log)

    direct = to_host.stores[0].model_copy(update={"port": another_host.port})
    directly = to_host.model_copy(update={"stores": (direct,)})
    assert states_in(directly, "remote") == []
    perform(Task("remote", "", SLOT), directly)
    require_back(directly, "remote", manifest, content, tmp_path / "fetched")


# -- the encryption ----------------------------------------------------------------------------------------------------


def wait_until_unlocked(settings: Settings) -> None:
    """Wait for a program that the killed run was just starting: it holds the run's lock until it is executed."""
    deadline = time.monotonic() + 120
    while True:
        try:
            with local_store(settings).capture_lock("erp4.encryption"):
                return
        except Refused:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@pytest.mark.parametrize(
    ("point", "nth"),
    [("subprocess.Popen age", 2), ("os.link .age", 1), ("os.link .age", 3), ("os.link .encryption.", 1)],
)
def test_an_encryption_that_is_killed_is_finished_by_the_next_run(
    age_keys: AgeKeys, tmp_path: Path, point: str, nth: int
) -> None:
    settings = encrypting(settings_with(tmp_path / "local"), age_keys)
    manifest = a_manifest()
    hold(settings, manifest)
    task = Task("encrypt", settings.model_dump_json(), SLOT, point, nth)

    killed(task)

    assert local_set(settings, manifest).encryption is None
    assert local_set(settings, manifest).state == "complete"
    wait_until_unlocked(settings)
    perform(task, settings)
    (tmp_path / "fetched").mkdir()
    require_fetched(settings, local_store(settings), manifest, tmp_path / "fetched")
    local_store(settings).sweep(datetime.now(UTC) + YESTERDAY_BUT_ONE)
    names = {Path(name).name for name in files_in(settings.backup_dir) if not name.startswith(".")}
    record = local_set(settings, manifest).encryption
    assert record is not None
    sealed = {Path(file.encrypted_name).name for file in record.files}
    plain = {Path(name).name for name in whole_files(manifest)}
    assert {name for name in names if ".encryption." not in name} == plain | sealed
