"""Which store does a configured name mean, and which sets does it hold?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backup_assets.errors import SettingsError
from backup_assets.local import local_store
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.place import Place
from backup_assets.settings import Settings, StoreSettings
from backup_assets.stores.contract import Store
from backup_assets.stores.folder import FolderStore

if TYPE_CHECKING:
    from backup_assets.stores.s3 import S3Store

LOCAL = "local"
#: Manifests that are fetched at a time from a store that answers over a network.
READERS = 8


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

    ``writing`` chooses the role that stores copies, otherwise the one that reads, where they are kept apart. Raises
    SettingsError for an unknown name or for values that a bucket cannot have.
    """
    if name == LOCAL:
        return local_store(settings)
    configured = configured_store(settings, name)
    if configured.kind == "s3":
        return _bucket(configured, writing=writing)
    if configured.directory is None:
        raise SettingsError(f"the store {name} has no directory", remedy="set `directory`, or FOLDER_COPY_DIR")
    return FolderStore(configured.directory, name=name, create_root=False, must_be_mount=configured.must_be_mount)


def _bucket(configured: StoreSettings, *, writing: bool) -> S3Store:
    # boto3 costs a third of a second: only who works with a bucket pays it.
    from backup_assets.stores.s3 import S3Store
    from backup_assets.stores.s3_location import S3Location

    limit = configured.bandwidth_limit_mb
    profile = configured.profile if writing else configured.read_profile or configured.profile
    return S3Store(
        S3Location(
            bucket=configured.bucket or "",
            region=configured.region,
            prefix=configured.prefix,
            endpoint_url=configured.endpoint_url,
            addressing_style=configured.addressing_style,
            checksum_mode=configured.checksum_mode,
            kms_key_id=configured.sse_kms_key_id,
            sse_s3=configured.sse_s3 is not None,
            sha256_tag=configured.sha256_tag,
            bandwidth_limit_bytes_per_second=None if limit is None else max(1, int(limit * 1_000_000)),
            max_parts=configured.max_parts,
            profile=profile,
        ),
        configured.name,
    )


def catalog_in(store: Store, place: Place) -> Catalog:
    """Return the sets of one place in a store as they are now, telling in messages which store that is."""
    if isinstance(store, FolderStore):
        return Catalog(store, place, where=f"{store.describe()}, {place.root}")
    return Catalog(store, place, readers=READERS, where=f"{store.describe()}, {place.root}")


def address_of(store: Store, key: str) -> str:
    """Return where an object of the store is, for a person or a stock program: a path, or ``s3://…``."""
    if isinstance(store, FolderStore):
        return str(store.path_of(key))
    from backup_assets.stores.s3 import S3Store

    return f"{store.location.url}/{key}" if isinstance(store, S3Store) else f"{key} in {store.describe()}"
