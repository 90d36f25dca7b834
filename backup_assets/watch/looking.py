"""What does each store hold of a database, in bounded time, and what is the matter with one that does not answer?"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Literal
from zoneinfo import ZoneInfo

from backup_assets.apart import is_off_site, not_apart
from backup_assets.errors import AccessDenied, BackupError
from backup_assets.local import place_of
from backup_assets.named_stores import LOCAL, catalog_of, remembering, store_named
from backup_assets.retention.bucket_holds import removes_by_class
from backup_assets.retention.gone import restored_bytes
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.manifest import Manifest, SetKind
from backup_assets.sets.place import Place, ReadableStore
from backup_assets.sets.record_order import CLOCK_TOLERANCE, is_believed
from backup_assets.sets.records import DrillRecord, RestoreRecord, VerificationRecord
from backup_assets.sets.retention_class import KEPT_DAYS, retention_class
from backup_assets.sets.servers import ServerIdentity, server_of
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_stores import StoreSettings
from backup_assets.stores.contract import Store
from backup_assets.watch.figures import StoreKind
from backup_assets.watch.remains import NOTHING_GONE, Remains, remains_of
from backup_assets.watch.unchanged import Listed, Seen

#: All stores are asked at the same time, and each has so many seconds to answer.
ANSWER_SECONDS = 120.0
#: Who removes what is too old from a store: our retention, which writes it down; rules of the bucket by the classes of
#: the sets, or by others that are not known here; or somebody by hand.
RemovedBy = Literal["retention", "class_rules", "own_rules", "hand"]
#: A lifecycle rule takes the files of a set on the same day or on the next one, as they were stored.
_RULES_DIFFER_BY = timedelta(days=1)


@dataclass(frozen=True)
class Held:
    """One set in one store, without what is large: moments in UTC, sizes in bytes.

    ``restored_bytes`` is what a restore brings back: the database and the attachments. ``copied`` says when it was
    copied whole to which other store. ``faults`` are those that the catalog found in this store; ``is_damaged`` when
    they were still found at a second look, ``expires_at`` is from when on a lifecycle rule may be what removes it.
    ``server`` is the one that it was taken from, None where nobody knows.
    """

    id: str
    slot: str
    taken_at: datetime
    size_bytes: int
    restored_bytes: int
    capture_seconds: float
    label: str | None
    hold: str | None
    faults: tuple[str, ...]
    verified: VerificationRecord | None
    verifications: tuple[VerificationRecord, ...]
    drills: tuple[DrillRecord, ...]
    restores: tuple[RestoreRecord, ...]
    copied: dict[str, datetime]
    is_damaged: bool = False
    expires_at: datetime | None = None
    server: ServerIdentity | None = None


@dataclass(frozen=True)
class Look:
    """One store as it was found: ``sets`` newest first; with ``error`` (one sentence) nothing else is known.

    ``denied``: it answers, and the error is that this role may not read there.

    ``sets`` are of the kind `full`, ``others`` those of the other kinds. ``damaged`` counts manifests and records that
    cannot be read, ``damaged_ids`` are the sets of those manifests. ``gone`` is what the local store still tells of
    sets that were deleted from any. ``removed_by`` says who removes what is too old there.
    """

    name: str
    kind: StoreKind
    error: str = ""
    denied: bool = False
    sets: tuple[Held, ...] = ()
    damaged: int = 0
    free_bytes: int | None = None
    not_apart: str = ""
    off_site: bool = False
    region: str = ""
    account: str = ""
    gone: Remains = NOTHING_GONE
    others: Mapping[SetKind, tuple[Held, ...]] = field(default_factory=dict)
    damaged_ids: frozenset[str] = frozenset()
    removed_by: RemovedBy = "retention"

    def of(self, kind: SetKind) -> Look:
        """Return the same store as if it held the sets of one other kind alone."""
        return replace(self, sets=self.others.get(kind, ()), others={})

    @property
    def all_sets(self) -> tuple[Held, ...]:
        """The sets of every kind."""
        return (*self.sets, *(one for sets in self.others.values() for one in sets))


@dataclass
class _Asked:
    """A look that was begun; ``in_vain`` once somebody has waited for it as long as one may."""

    answer: Future[Look]
    thread: threading.Thread
    in_vain: bool = False


@dataclass(frozen=True)
class _Sets:
    held: tuple[Held, ...]
    others: Mapping[SetKind, tuple[Held, ...]]
    damaged: int
    damaged_ids: frozenset[str]


@dataclass
class _Remembered:
    """What followed from what was read of one database in one store."""

    sets: Seen[_Sets] | None = None


_Key = tuple[Path, str, str, str, str]
_waiting: dict[_Key, _Asked] = {}
_memories: dict[_Key, _Remembered] = {}
_guard = threading.Lock()


def look_at_stores(
    database: DatabaseSettings, settings: Settings, now: datetime, *, seconds: float = ANSWER_SECONDS
) -> tuple[Look, ...]:
    """Return what every store holds, the local one first.

    A store that fails, or has no answer after ``seconds``, is a look with an error and hides no other. One that has
    still not answered the last time is not asked again, so that nothing piles up before a disk that hangs. Who asks
    while another's look goes on gets the same answer.
    """
    (looks,) = look_at_places((database,), settings, now, seconds=seconds)
    return looks


def look_at_places(
    databases: Sequence[DatabaseSettings], settings: Settings, now: datetime, *, seconds: float = ANSWER_SECONDS
) -> tuple[tuple[Look, ...], ...]:
    """Do what :func:`look_at_stores` does for several places at the same time; ``seconds`` are those of all."""
    stores = (None, *settings.stores)
    asked = [[(store, _ask(database, settings, store, now)) for store in stores] for database in databases]
    end = monotonic() + seconds
    return tuple(
        tuple(_answer(store, answer, max(0.0, end - monotonic()), seconds) for store, answer in place)
        for place in asked
    )


def _ask(
    database: DatabaseSettings, settings: Settings, configured: StoreSettings | None, now: datetime
) -> _Asked | None:
    # Not by its name alone: the infrastructure has that of the first database, and a place of its own.
    key = (settings.backup_dir, settings.env, _name(configured), database.name, database.store_prefix)
    answer: Future[Look] = Future()

    def look() -> None:
        try:
            answer.set_result(_look(database, settings, configured, now, _memories.setdefault(key, _Remembered())))
        except BaseException as error:  # noqa: BLE001 - raised again by whoever takes the answer
            answer.set_exception(error)

    with _guard:
        asked = _waiting.get(key)
        # A thread lives on for a moment after its answer, which says nothing about what has changed since then.
        if asked is not None and asked.thread.is_alive() and not asked.answer.done():
            return None if asked.in_vain else asked
        # Not a pool: its threads are waited for when the process ends, and one before a dead disk never returns.
        thread = threading.Thread(target=look, name=f"look at {_name(configured)}", daemon=True)
        asked = _waiting[key] = _Asked(answer, thread)
        thread.start()
    return asked


def _answer(configured: StoreSettings | None, asked: _Asked | None, left: float, seconds: float) -> Look:
    name, kind = _name(configured), configured.kind if configured else LOCAL
    silent = Look(name, kind, error=f"no answer within {seconds:.0f} s", off_site=_maybe_off_site(configured))
    if asked is None:
        return silent
    try:
        return asked.answer.result(left)
    except BackupError as error:
        text = " ".join(f"{error.what}: {error.why}".split() if error.why else error.what.split())
        denied = isinstance(error, AccessDenied)
        return Look(name, kind, error=text, denied=denied, off_site=_maybe_off_site(configured))
    except TimeoutError:  # before OSError, whose kind it is
        asked.in_vain = True
        return silent
    except OSError as error:
        return Look(name, kind, error=str(error), off_site=_maybe_off_site(configured))
    except Exception as error:  # noqa: BLE001 - what nobody expected of one store hides no other
        text = " ".join(f"{type(error).__name__}: {error}".split())
        return Look(name, kind, error=text, off_site=_maybe_off_site(configured))


def _look(
    database: DatabaseSettings, settings: Settings, configured: StoreSettings | None, now: datetime, memory: _Remembered
) -> Look:
    name, place = _name(configured), place_of(database, settings)
    store = store_named(settings, name)
    zone = ZoneInfo(database.schedule.timezone) if removes_by_class(settings, name) else None
    sets = _sets(remembering(settings, store), store, place, now, memory, zone)
    if configured is None:
        return Look(
            LOCAL,
            LOCAL,
            sets=sets.held,
            others=sets.others,
            damaged=sets.damaged,
            damaged_ids=sets.damaged_ids,
            free_bytes=store.free_bytes(),
            gone=remains_of(database, settings, now),
        )
    why = not_apart(configured, settings.backup_dir)
    return Look(
        name,
        configured.kind,
        sets=sets.held,
        others=sets.others,
        damaged=sets.damaged,
        damaged_ids=sets.damaged_ids,
        free_bytes=store.free_bytes(),
        removed_by=_removed_by(configured),
        not_apart=why,
        off_site=is_off_site(configured, why),
        region=configured.region if configured.kind == "s3" else "",
        account=_account(configured),
    )


def _sets(
    readable: ReadableStore, store: Store, place: Place, now: datetime, memory: _Remembered, zone: ZoneInfo | None
) -> _Sets:
    """Return the sets of a place, from memory where nothing has changed; ``zone`` is for the classes of a bucket."""
    listed = Listed(readable, place)
    if memory.sets is not None and memory.sets.still(listed, now):
        return memory.sets.value
    catalog = catalog_of(listed, store, place)
    damaged = _incomplete(catalog)
    if damaged or catalog.problems:
        # A set whose deletion is under way loses its manifest first: its manifest was listed and cannot be read, or
        # its files are gone. What is listed once more has really lost them.
        listed = Listed(readable, place)
        catalog = catalog_of(listed, store, place)
        damaged &= _incomplete(catalog)
    sets = catalog.sets()
    manifests = [one.manifest for one in sets] if damaged and zone is not None else []
    small: dict[SetKind, list[Held]] = {}
    for one in sets:
        held = _small(one, now)
        if one.id in damaged:
            until = expires_at(one, manifests, zone, now) if zone is not None else None
            held = replace(held, is_damaged=True, expires_at=until)
        small.setdefault(one.manifest.kind, []).append(held)
    found = _Sets(
        tuple(small.pop("full", ())),
        {kind: tuple(some) for kind, some in small.items()},
        len(catalog.problems),
        frozenset(damage.set_id for damage in catalog.problems if damage.kind == "manifest"),
    )
    # A hold that ends changes what is true without a change of what is listed.
    ends = [hold.until for one in sets if (hold := one.hold_at(now)) is not None and hold.until is not None]
    # So does a moment that is no longer in the future.
    ends += [r.at - CLOCK_TOLERANCE for one in sets for r in one.verifications if not is_believed(r, now)]
    memory.sets = Seen(listed.fingerprint, found, now, min(ends, default=None))
    return found


def _incomplete(catalog: Catalog) -> set[str]:
    return {one.id for one in catalog.sets() if one.faults}


def expires_at(one: BackupSet, manifests: Sequence[Manifest], zone: ZoneInfo, now: datetime) -> datetime | None:
    """Return from when on rules by class may be what removes a set; None while it is held: then none does."""
    if one.hold_at(now) is not None:
        return None
    return one.taken_at + timedelta(days=KEPT_DAYS[retention_class(one.manifest, manifests, zone)]) - _RULES_DIFFER_BY


def _small(one: BackupSet, now: datetime) -> Held:
    manifest, hold = one.manifest, one.hold_at(now)
    return Held(
        id=one.id,
        slot=manifest.slot,
        taken_at=one.taken_at,
        size_bytes=manifest.size_bytes,
        restored_bytes=restored_bytes(manifest),
        capture_seconds=sum(manifest.durations.values()),
        label=manifest.label,
        hold=None if hold is None else hold.reason,
        faults=one.faults,
        verified=one.proof_at(now),
        verifications=one.verifications,
        drills=tuple(record for record in one.records if isinstance(record, DrillRecord)),
        restores=tuple(record for record in one.records if isinstance(record, RestoreRecord)),
        copied={name: record.copied_at for name, record in one.copies.items()},
        server=server_of(manifest),
    )


def _name(configured: StoreSettings | None) -> str:
    return LOCAL if configured is None else configured.name


def _removed_by(configured: StoreSettings) -> RemovedBy:
    if configured.kind == "s3":
        return "class_rules" if configured.retention_tags else "own_rules"
    return "hand" if configured.kind == "ssh" and configured.keep_days is None else "retention"


def _maybe_off_site(configured: StoreSettings | None) -> bool:
    """Return whether a store that does not answer would be off-site; nothing of it is looked at."""
    if configured is None:
        return False
    own = configured.kind != "folder" and not_apart(configured, Path())
    return is_off_site(configured, own or "")


def _account(configured: StoreSettings) -> str:
    """Return the AWS account that the settings name, in the ARN of the KMS key; nothing is asked for it."""
    parts = (configured.sse_kms_key_id or "").split(":")
    return parts[4] if len(parts) == 6 and parts[0] == "arn" else ""
