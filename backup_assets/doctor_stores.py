"""Do further stores hold the sets, and would any outlive this machine's disk?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from backup_assets.apart import not_apart
from backup_assets.errors import BackupError
from backup_assets.findings import Finding, failed
from backup_assets.local import local_store, place_of
from backup_assets.named_stores import catalog_in, configured_store, store_named
from backup_assets.offsite.copies import newest_in, whole_in
from backup_assets.progress import human_bytes
from backup_assets.retention.bucket_holds import endings
from backup_assets.retention.unread import sets_as_known
from backup_assets.sets.backup_set import BackupSet
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.stores.contract import Store

NAME = "off-site"


@dataclass(frozen=True)
class _Held:
    """Which of the local sets a store has whole, and why it is no other medium, where it is none."""

    name: str
    ids: frozenset[str]
    not_apart: str


def examine_stores(database: DatabaseSettings, settings: Settings) -> Iterator[Finding]:
    """Yield a finding for each further store, and one that says which sets this machine alone has."""
    place = place_of(database, settings)
    try:
        local = [one for one in catalog_in(local_store(settings), place).sets() if not one.faults]
    except BackupError:  # the finding `sets` tells it
        local = []
    held: list[_Held] = []
    unknown: list[str] = []
    for configured in settings.stores:
        name = f"store {configured.name}"
        try:
            store = store_named(settings, configured.name, writing=True)
            store.check()
            ids = whole_in(store, place, local)
            newest = newest_in(store, place)
            yield _store(name, store, newest.taken_at if newest else None, local, ids)
        except BackupError as error:
            unknown.append(configured.name)
            yield failed(name, error)
        else:
            if configured.kind == "s3" and configured.embedded is None:  # nobody configures the demo's own buckets
                yield from _examined_bucket(settings, configured.name)
                yield from _holds(database, settings, configured.name)
            held.append(_Held(configured.name, ids, not_apart(configured, settings.backup_dir)))
    yield _off_site(local, held, unknown, bool(settings.stores))


def _store(name: str, store: Store, newest: datetime | None, local: list[BackupSet], ids: frozenset[str]) -> Finding:
    free = store.free_bytes()
    found = f"{store.describe()} can be written" + (f", {human_bytes(free)} free" if free is not None else "")
    if newest is None:
        return Finding(name, "warn", f"{found}, no set yet", "take one: `backup-assets backup` copies it there")
    hours = (datetime.now(UTC) - newest).total_seconds() / 3600
    found += f", the newest set was taken {hours:.1f} h ago"
    if local and local[0].id not in ids:
        return Finding(name, "warn", f"{found}; {local[0].id} is not there", _backfill(local[0]))
    return Finding(name, "ok", found)


def _examined_bucket(settings: Settings, store_name: str) -> Iterator[Finding]:
    """Yield what the role that reads sees of the bucket: a line for all that is not as it should be, else one."""
    # boto3 costs a third of a second: only who has a bucket pays it.
    from backup_assets.stores.s3 import S3Store
    from backup_assets.stores.s3_preflight import examine_bucket

    store = store_named(settings, store_name)
    if not isinstance(store, S3Store):
        return
    name = f"bucket {store_name}"
    try:
        found = examine_bucket(store.location)
    except BackupError as error:  # the store itself was examined by the role that writes, and answers
        yield Finding(name, "warn", f"not examined: {error}", "let the role that reads list the bucket")
        return
    for one in found:
        if one.level != "ok" and not one.denied:
            # A failure is what makes a backup fail: an unsafe bucket does not, a lock that it cannot have does.
            fails = one.level == "fail" and one.name == "object lock"
            remedy = one.remedy or f"see `backup-assets bucket plan {store_name}`"
            yield Finding(name, "fail" if fails else "warn", f"{one.name}: {one.text}", remedy)
    hidden = [one.name for one in found if one.denied]
    if hidden:
        yield Finding(
            name,
            "warn",
            f"this role may not look at {', '.join(hidden)}",
            f"`backup-assets bucket plan {store_name} --profile ADMIN` looks with another role",
        )
    elif all(one.level == "ok" for one in found):
        yield Finding(name, "ok", ", ".join(f"{one.name}: {one.text}" for one in found))


def _holds(database: DatabaseSettings, settings: Settings, store_name: str) -> Iterator[Finding]:
    """Yield the held sets that the bucket removes all the same; where this role may not read, as is known locally."""
    name, place = f"holds {store_name}", place_of(database, settings)
    try:
        store = store_named(settings, store_name)
        if configured_store(settings, store_name).read_profile is None:
            sets = sets_as_known(store, place, catalog_in(local_store(settings), place).sets())
        else:  # a role that is named to read has to
            sets = catalog_in(store, place).sets()
        found = list(endings(database, settings, store_name, sets, datetime.now(UTC)))
    except BackupError as error:
        yield Finding(name, "warn", f"whether held sets are kept is not known: {error}", error.remedy)
        return
    for one in found:
        what = "it" if one.part == one.set_id else f"{one.part}, which it needs,"
        yield Finding(
            name,
            "warn",
            f"{one.set_id} is held ({one.hold.reason}), and lifecycle rules remove {what} around {one.at:%Y-%m-%d}",
            "repeat `backup-assets hold` with a role that may tag objects: docs/retention.md",
        )


def _backfill(one: BackupSet) -> str:
    return f"materialize the copy of the slot {one.manifest.slot} in Dagster, or take another backup"


def _off_site(local: list[BackupSet], held: list[_Held], unknown: list[str], configured: bool) -> Finding:
    if not configured:
        found = "every set lies on this machine only"
        return Finding(NAME, "warn", found, "configure a further store: docs/off-site.md")
    notes = [*(one.not_apart for one in held if one.not_apart), *(f"{name} does not answer" for name in unknown)]
    away: frozenset[str] = frozenset().union(*(one.ids for one in held if not one.not_apart))
    alone = [one for one in local if one.id not in away]
    where = ", ".join(f"{len(one.ids)} in {one.name}" for one in held if not one.not_apart) or "none"
    if not local:
        return Finding(NAME, "warn", "; ".join(["there is no set to copy yet", *notes]), "`backup-assets backup`")
    if alone:
        text = f"{len(alone)} of {len(local)} sets are on this medium only, the newest of them {alone[0].id}"
        elsewhere = unknown or any(not one.not_apart for one in held)
        remedy = _backfill(alone[0]) if elsewhere else "configure a store on another medium: docs/off-site.md"
        return Finding(NAME, "warn", "; ".join([text, *notes]), remedy)
    encrypted = sum(one.is_encrypted for one in local)
    how = "not encrypted by this program" if not encrypted else f"{encrypted} of them encrypted"
    text = f"all {len(local)} sets are on another medium too ({where}), {how}"
    return Finding(NAME, "warn" if unknown else "ok", "; ".join([text, *notes]))
