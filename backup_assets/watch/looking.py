"""What does each store hold of a database, in bounded time, and what is the matter with one that does not answer?"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic

from backup_assets.apart import is_off_site, not_apart
from backup_assets.errors import BackupError
from backup_assets.local import place_of
from backup_assets.named_stores import LOCAL, catalog_of, remembering, store_named
from backup_assets.retention.gone import restored_bytes
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.place import Place, ReadableStore
from backup_assets.sets.records import DrillRecord, RestoreRecord, VerificationRecord
from backup_assets.settings import DatabaseSettings, Settings, StoreSettings
from backup_assets.stores.contract import Store
from backup_assets.watch.figures import StoreKind
from backup_assets.watch.remains import NOTHING_GONE, Remains, remains_of
from backup_assets.watch.unchanged import Listed, Seen

#: All stores are asked at the same time, and each has so many seconds to answer.
ANSWER_SECONDS = 120.0


@dataclass(frozen=True)
class Held:
    """One set of the kind `full` in one store, without what is large: moments in UTC, sizes in bytes.

    ``restored_bytes`` is what a restore brings back: the database and the attachments. ``copied`` says when it was
    copied whole to which other store. ``faults`` are those that the catalog found in this store.
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


@dataclass(frozen=True)
class Look:
    """One store as it was found: ``sets`` newest first; with ``error`` (one sentence) nothing else is known.

    ``damaged`` counts manifests and records that cannot be read. ``gone`` is what the local store still tells of sets
    that were deleted from any.
    """

    name: str
    kind: StoreKind
    error: str = ""
    sets: tuple[Held, ...] = ()
    damaged: int = 0
    free_bytes: int | None = None
    not_apart: str = ""
    off_site: bool = False
    region: str = ""
    account: str = ""
    gone: Remains = NOTHING_GONE


@dataclass
class _Asked:
    """A look that was begun; ``in_vain`` once somebody has waited for it as long as one may."""

    answer: Future[Look]
    thread: threading.Thread
    in_vain: bool = False


@dataclass(frozen=True)
class _Sets:
    held: tuple[Held, ...]
    damaged: int


@dataclass
class _Remembered:
    """What followed from what was read of one database in one store."""

    sets: Seen[_Sets] | None = None


_Key = tuple[Path, str, str, str]
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
    asked = [(store, _ask(database, settings, store, now)) for store in (None, *settings.stores)]
    end = monotonic() + seconds
    return tuple(_answer(store, answer, max(0.0, end - monotonic()), seconds) for store, answer in asked)


def _ask(
    database: DatabaseSettings, settings: Settings, configured: StoreSettings | None, now: datetime
) -> _Asked | None:
    key = (settings.backup_dir, settings.env, _name(configured), database.name)
    answer: Future[Look] = Future()

    def look() -> None:
        try:
            answer.set_result(_look(database, settings, configured, now, _memories.setdefault(key, _Remembered())))
        except BaseException as error:  # noqa: BLE001 - raised again by whoever takes the answer
            answer.set_exception(error)

    with _guard:
        asked = _waiting.get(key)
        if asked is not None and asked.thread.is_alive():
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
        return Look(name, kind, error=text, off_site=_maybe_off_site(configured))
    except TimeoutError:  # before OSError, whose kind it is
        asked.in_vain = True
        return silent
    except OSError as error:
        return Look(name, kind, error=str(error), off_site=_maybe_off_site(configured))


def _look(
    database: DatabaseSettings, settings: Settings, configured: StoreSettings | None, now: datetime, memory: _Remembered
) -> Look:
    name, place = _name(configured), place_of(database, settings)
    store = store_named(settings, name)
    sets = _sets(remembering(settings, store), store, place, now, memory)
    if configured is None:
        return Look(
            LOCAL,
            LOCAL,
            sets=sets.held,
            damaged=sets.damaged,
            free_bytes=store.free_bytes(),
            gone=remains_of(database, settings, now),
        )
    why = not_apart(configured, settings.backup_dir)
    return Look(
        name,
        configured.kind,
        sets=sets.held,
        damaged=sets.damaged,
        free_bytes=store.free_bytes(),
        not_apart=why,
        off_site=is_off_site(configured, why),
        region=configured.region if configured.kind == "s3" else "",
        account=_account(configured),
    )


def _sets(readable: ReadableStore, store: Store, place: Place, now: datetime, memory: _Remembered) -> _Sets:
    """Return the sets of a place, from memory where nothing has changed."""
    listed = Listed(readable, place)
    if memory.sets is not None and memory.sets.still(listed, now):
        return memory.sets.value
    catalog = catalog_of(listed, store, place)
    full = [one for one in catalog.sets() if one.manifest.kind == "full"]
    found = _Sets(tuple(_small(one, now) for one in full), len(catalog.problems))
    # A hold that ends changes what is true without a change of what is listed.
    ends = [hold.until for one in full if (hold := one.hold_at(now)) is not None and hold.until is not None]
    memory.sets = Seen(listed.fingerprint, found, now, min(ends, default=None))
    return found


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
        verified=one.verified,
        verifications=one.verifications,
        drills=tuple(record for record in one.records if isinstance(record, DrillRecord)),
        restores=tuple(record for record in one.records if isinstance(record, RestoreRecord)),
        copied={name: record.copied_at for name, record in one.copies.items()},
    )


def _name(configured: StoreSettings | None) -> str:
    return LOCAL if configured is None else configured.name


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
