"""Two buckets as stores `tokyo` and `osaka`, profiles for the roles of the test servers, and ways to disturb them."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from backup_assets.named_stores import catalog_in, store_named
from backup_assets.offsite.copied import Copied
from backup_assets.offsite.cross_copies import cross_copy_slot
from backup_assets.sets.manifest import Manifest
from backup_assets.settings import Settings
from backup_assets.settings_stores import StoreSettings
from backup_assets.stores.s3 import S3Store
from backup_assets.stores.s3_location import client_of
from backup_assets_tests.offsite.copying import SLOT, settings_with
from backup_assets_tests.sets.examples import ERP4, put_set
from backup_assets_tests.sources import no_log
from backup_assets_tests.stores.faulty import Stopped
from backup_assets_tests.stores.object_server import Identity, ObjectServer

ROLES: tuple[Identity, ...] = ("admin", "writer", "tagger", "reader")


def use_profiles(server: ObjectServer, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let profiles named after the roles of the test server be what boto3 knows, as an operator configures them."""
    lines: list[str] = []
    for role in ROLES:
        keys = server.credentials(role)
        lines += [
            f"[{role}]",
            f"aws_access_key_id = {keys.access_key_id}",
            f"aws_secret_access_key = {keys.secret_access_key}",
        ]
    (directory / "credentials").write_text("\n".join(lines))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(directory / "credentials"))


def a_bucket_store(server: ObjectServer, name: str, **fields: Any) -> StoreSettings:
    """Return a store in a new bucket of a server."""
    if "sse_kms_key_id" not in fields:
        fields.setdefault("sse_s3", "AES256")
    return StoreSettings(
        name=name,
        kind="s3",
        bucket=server.bucket(),
        endpoint_url=server.url,
        addressing_style="path",
        **{"profile": "admin", **fields},
    )


def tokyo_and_osaka(directory: Path, tokyo: StoreSettings, osaka: StoreSettings) -> Settings:
    return settings_with(directory / "backups", tokyo, osaka)


def bucket(settings: Settings, name: str) -> S3Store:
    """Return a store with all rights."""
    store = store_named(
        settings.model_copy(
            update={"stores": tuple(one.model_copy(update={"read_profile": None}) for one in settings.stores)}
        ),
        name,
    )
    assert isinstance(store, S3Store)
    return store


def hold_in(store: S3Store, *manifests: Manifest) -> None:
    for manifest in manifests:
        put_set(store, manifest)


def cross_copied(settings: Settings, slot: str = SLOT, **options: Any) -> dict[str, Copied]:
    osaka = next(store for store in settings.stores if store.copied_from)
    done = cross_copy_slot(settings.databases[0], settings, osaka, slot, **{"log": no_log, **options})
    return {one.set_id: one for one in done}


def content_in(store: S3Store) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for stored in store.list(""):
        with store.open(stored.key) as handle:
            found[stored.key] = handle.read()
    return found


def states_in(store: S3Store) -> dict[str, str]:
    return {one.id: one.state for one in catalog_in(store, ERP4).sets()}


def replace_content(store: S3Store, key: str, content: bytes) -> None:
    """Do what no store of ours does: put other content in the place of an object."""
    location = store.location
    client_of(location).put_object(
        Bucket=location.bucket, Key=location.object_key(key), Body=content, **location.encryption()
    )


@contextmanager
def requests_to(store: S3Store, stop_at: int | None = None) -> Iterator[list[tuple[str, str]]]:
    """Yield operation and key of every request that changes or reads an object; the process dies before one of them."""
    seen: list[tuple[str, str]] = []
    operations = ("CopyObject", "PutObject", "GetObject", "UploadPart", "UploadPartCopy")
    events = client_of(store.location).meta.events
    unique_id = uuid.uuid4().hex
    one_at_a_time = threading.Lock()  # several files of a set are copied at once

    def before(params: dict[str, Any], model: Any, **_: object) -> None:
        if f"/{store.location.bucket}/" not in params["url"]:
            return
        with one_at_a_time:
            if stop_at is not None and len(seen) == stop_at:
                raise Stopped(model.name)
            seen.append((model.name, params["url"].partition(f"/{store.location.bucket}/")[2]))

    for operation in operations:
        events.register(f"before-call.s3.{operation}", before, unique_id=f"{unique_id}{operation}")
    try:
        yield seen
    finally:
        for operation in operations:
            events.unregister(f"before-call.s3.{operation}", before, unique_id=f"{unique_id}{operation}")
