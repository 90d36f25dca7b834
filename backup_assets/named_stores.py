"""Which store does a configured name mean, and which sets does it hold?"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from backup_assets.errors import SettingsError
from backup_assets.local import local_store
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.place import Place, ReadableStore
from backup_assets.settings import Settings
from backup_assets.settings_stores import StoreSettings
from backup_assets.stores.contract import Store
from backup_assets.stores.folder import FolderStore
from backup_assets.stores.remembered import Documents, RememberingStore
from backup_assets.stores.ssh import SshStore
from backup_assets.stores.ssh_location import SshLocation

if TYPE_CHECKING:
    from backup_assets.stores.s3 import S3Store
    from backup_assets.stores.s3_location import S3Location

LOCAL = "local"
#: Manifests that are fetched at a time from a store that answers over a network.
READERS = 8
#: Below BACKUP_DIR, and no object of the store there: its name begins with a dot.
DOCUMENTS_DIRECTORY = ".documents"


def configured_store(settings: Settings, name: str) -> StoreSettings:
    """Return what is configured of a further store; raises SettingsError naming those that are."""
    for store in settings.stores:
        if store.name == name:
            return store
    known = ", ".join((LOCAL, *(store.name for store in settings.stores)))
    raise SettingsError(
        f"there is no store {name}",
        why=f"configured: {known}",
        remedy="correct the name, or configure the store (docs/off-site.md)",
    )


def store_named(settings: Settings, name: str, *, writing: bool = False) -> Store:
    """Return the store of that name, ``local`` being the one below BACKUP_DIR; nothing is contacted yet.

    Only the demo's own S3 server is started when it does not run (EnvironmentFault when it cannot be). ``writing``
    chooses the role that stores copies, otherwise the one that reads, where they are kept apart. Raises SettingsError
    for an unknown name or for values that a bucket cannot have.
    """
    if name == LOCAL:
        return local_store(settings)
    configured = configured_store(settings, name)
    if configured.kind == "s3":
        return _in_demo(_bucket(configured, writing=writing), configured)
    if configured.kind == "ssh":
        return SshStore(_other_host(configured), name)
    if configured.directory is None:
        raise SettingsError(f"the store {name} has no directory", remedy="set `directory`, or FOLDER_COPY_DIR")
    return FolderStore(configured.directory, name=name, create_root=False, must_be_mount=configured.must_be_mount)


def description_of(settings: Settings, name: str) -> str:
    """Return where the store of that name is; nothing is contacted or started for it. Raises as `store_named` does."""
    if name != LOCAL and (configured := configured_store(settings, name)).kind == "s3":
        return _place_in_s3(configured, writing=False).describe()
    return store_named(settings, name).describe()


def _in_demo(store: S3Store, configured: StoreSettings) -> S3Store:
    """Return the bucket in the demo's own server, whose address and keys are known once it runs; others unchanged."""
    if configured.embedded is None:
        return store
    from backup_assets.demo.object_server import demo_object_server
    from backup_assets.stores.s3_location import Credentials

    server = demo_object_server(configured.embedded)
    keys = Credentials(server.keys.access, server.keys.secret)
    return replace(store, location=replace(store.location, endpoint_url=server.url, credentials=keys))


def _bucket(configured: StoreSettings, *, writing: bool) -> S3Store:
    # boto3 costs a third of a second: only who works with a bucket pays it.
    from backup_assets.stores.s3 import S3Store

    return S3Store(_place_in_s3(configured, writing=writing), configured.name)


def _place_in_s3(configured: StoreSettings, *, writing: bool) -> S3Location:
    from backup_assets.stores.s3_location import MIB, PART_BYTES, ObjectLock, S3Location

    limit, part, lock = configured.bandwidth_limit_mb, configured.part_size_mb, configured.object_lock
    profile = configured.profile if writing else configured.read_profile or configured.profile
    return S3Location(
        bucket=configured.bucket or "",
        region=configured.region,
        prefix=configured.prefix,
        endpoint_url=configured.endpoint_url,
        addressing_style=configured.addressing_style,
        checksum_mode=configured.checksum_mode,
        kms_key_id=configured.sse_kms_key_id,
        sse_s3=configured.sse_s3 is not None,
        object_lock=lock and ObjectLock(lock.mode, lock.daily_days, lock.weekly_days, lock.monthly_days),
        sha256_tag=configured.sha256_tag,
        retention_tags=configured.retention_tags,
        bandwidth_limit_bytes_per_second=None if limit is None else max(1, int(limit * 1_000_000)),
        part_bytes=PART_BYTES if part is None else part * MIB,
        max_parts=configured.max_parts,
        profile=profile,
    )


def _other_host(configured: StoreSettings) -> SshLocation:
    if not configured.host or not configured.remote_dir:
        raise SettingsError(
            f"the store {configured.name} has no host or no directory there",
            remedy="set `host` and `remote_dir`, or REMOTE_HOST and REMOTE_DIR",
        )
    limit = configured.bandwidth_limit_mb
    return SshLocation(
        host=configured.host,
        remote_dir=configured.remote_dir,
        port=configured.port,
        user=configured.user,
        ssh_key=configured.ssh_key,
        known_hosts=configured.known_hosts,
        bandwidth_limit_bytes_per_second=None if limit is None else max(1, int(limit * 1_000_000)),
    )


def catalog_in(store: Store, place: Place) -> Catalog:
    """Return the sets of one place in a store as they are now, telling in messages which store that is."""
    return catalog_of(store, store, place)


def catalog_to_show(settings: Settings, store: Store, place: Place) -> Catalog:
    """Return the sets of one place as they are now, for who only tells of them.

    Which sets there are and whether their files are whole is asked of the store. The documents of a store far away,
    which never change, are read there once, and copies of them kept below BACKUP_DIR for a day.
    """
    return catalog_of(remembering(settings, store), store, place)


def catalog_of(readable: ReadableStore, store: Store, place: Place) -> Catalog:
    """Return the sets that are read by way of ``readable``, which stands before ``store``."""
    readers = 1 if isinstance(store, FolderStore) else READERS
    return Catalog(readable, place, readers=readers, where=f"{store.describe()}, {place.root}")


def remembering(settings: Settings, store: Store) -> ReadableStore:
    """Return what reads the documents of a store far away once a day; a folder as it is."""
    if isinstance(store, FolderStore) or not settings.backup_dir.is_dir():
        return store
    name = hashlib.sha256(store.describe().encode()).hexdigest()[:16]
    return RememberingStore(store, Documents(settings.backup_dir.absolute() / DOCUMENTS_DIRECTORY / name))


def address_of(store: Store, key: str) -> str:
    """Return where an object of the store is, for a person or a stock program: a path, ``s3://…``, ``host:path``."""
    if isinstance(store, FolderStore):
        return str(store.path_of(key))
    if isinstance(store, SshStore):
        return store.location.address(key)
    from backup_assets.stores.s3 import S3Store

    return f"{store.location.url}/{key}" if isinstance(store, S3Store) else f"{key} in {store.describe()}"
