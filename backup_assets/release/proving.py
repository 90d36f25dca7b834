"""Can we come back from this release? What was captured is whole in every store, proven, and held, or this fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from backup_assets.errors import BackupError, CheckFailed, Refused
from backup_assets.local import local_store, place_of
from backup_assets.named_stores import LOCAL, catalog_in, store_named
from backup_assets.retention.holding import place_hold
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.manifest import Hold
from backup_assets.sets.records import VerificationRecord
from backup_assets.settings import DatabaseSettings, Settings

#: How long a release may be taken back, unless somebody says otherwise.
HELD_FOR = timedelta(days=90)
_UNHASHED = (
    "its contents were not compared as a whole, because it lacks content hashes (`content_hashes: always`; those of "
    "large objects need a role with pg_read_all_data)"
)


@dataclass(frozen=True)
class Released:
    """A set that a release can rely on; ``stores`` all hold it whole, and each of them knows of ``hold``."""

    set: BackupSet
    stores: tuple[str, ...]
    proof: VerificationRecord
    hold: Hold
    words: str


def release_hold(label: str | None, reason: str | None, until: datetime | None, now: datetime) -> Hold:
    """Return the hold of a release: for 90 days and by its name, unless given otherwise."""
    return Hold(reason=reason or f"release {label or 'without a name'}", until=until or now + HELD_FOR)


def prove_release(
    database: DatabaseSettings,
    settings: Settings,
    run: str,
    *,
    log: Callable[[str], None],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Released:
    """Return what a release can rely on: the set that ``run`` (as in its id) captured.

    A set that nobody holds yet is held now. Raises Refused when the run captured nothing, CheckFailed naming
    everything that is missing for the set to be relied on.
    """
    one = _captured(database, settings, run)
    problems: list[str] = []
    proof = one.proof_at(now())
    if one.faults:
        problems.append(f"it is incomplete: {one.faults[0]}")
    if proof is None:
        problems.append("it was not restored on trial, or that failed")
    elif not proof.content:
        problems.append(_UNHASHED)
    names = (LOCAL, *(store.name for store in settings.stores))
    problems += [text for name in names[1:] if (text := _missing_in(database, settings, name, one.id))]
    if problems or proof is None:
        raise _not_safe(one, problems)
    hold = _held_everywhere(database, settings, one, names, now(), log)
    return Released(one, names, proof, hold, _words(database, settings, one, proof, hold, names))


def _captured(database: DatabaseSettings, settings: Settings, run: str) -> BackupSet:
    catalog = catalog_in(local_store(settings), place_of(database, settings))
    for one in catalog.sets():
        if one.manifest.backup_id.run == run and one.manifest.kind == "full":
            return one
    raise Refused(
        f"this run has captured no set of {database.name}",
        why="a release relies on a set that was captured, copied and proven for it in one run",
        remedy=f"launch {database.name}_release_backup_job as a whole",
    )


def _missing_in(database: DatabaseSettings, settings: Settings, name: str, set_id: str) -> str:
    """Return why the store cannot be relied on for the set, or nothing."""
    try:
        found = catalog_in(store_named(settings, name), place_of(database, settings)).find(set_id)
    except BackupError as error:
        return f"{name} does not answer: {error.what}"
    if found is None:
        return f"it is not in {name}"
    return f"it is incomplete in {name}: {found.faults[0]}" if found.faults else ""


def _not_safe(one: BackupSet, problems: list[str]) -> CheckFailed:
    return CheckFailed(
        f"do not release: the set {one.id} cannot be relied on",
        why="; ".join(problems),
        remedy="see to what is missing and take the release backup again",
    )


def _held_everywhere(
    database: DatabaseSettings,
    settings: Settings,
    one: BackupSet,
    names: tuple[str, ...],
    now: datetime,
    log: Callable[[str], None],
) -> Hold:
    wanted = one.hold_at(now) or release_hold(one.manifest.label, None, None, now)
    if not all(_knows(database, settings, name, one.id, now) for name in names):
        log(f"holding {one.id} in every store: {wanted.reason}")
        held = place_hold(database, settings, one.id, wanted, now=now)
        if not held.is_well or held.hold is None:
            failed = [f"{placed.store}: {placed.error}" for placed in held.stores if placed.error is not None]
            raise _not_safe(one, ["it is not held everywhere: " + "; ".join(failed)])
        return held.hold
    return wanted


def _knows(database: DatabaseSettings, settings: Settings, name: str, set_id: str, now: datetime) -> bool:
    found = catalog_in(store_named(settings, name), place_of(database, settings)).find(set_id)
    return found is not None and found.hold_at(now) is not None


def _words(
    database: DatabaseSettings,
    settings: Settings,
    one: BackupSet,
    proof: VerificationRecord,
    hold: Hold,
    names: tuple[str, ...],
) -> str:
    """Return the sentence for a release's record: everything that whoever takes it back has to know."""
    zone, manifest = ZoneInfo(database.schedule.timezone), one.manifest

    def at(moment: datetime) -> str:
        return moment.astimezone(zone).isoformat(" ", "seconds")

    rows, tables = manifest.fingerprints.total_rows, len(manifest.fingerprints.tables)
    which = f"--database {database.name} " if len(settings.databases) > 1 else ""
    buckets = [store.name for store in settings.stores if store.kind == "s3"]
    expiring = f" (in {', '.join(buckets)} as long as the bucket's lifecycle rules keep it)" if buckets else ""
    return (
        f"Release backup of {database.name}{f' for {manifest.label}' if manifest.label else ''}: set {one.id}, "
        f"taken {at(one.taken_at)}, {rows:,} rows in {tables} tables; whole in {', '.join(names)}; restored on trial "
        f"at {at(proof.at)}, every row equal to the source; held "
        f"{f'until {at(hold.until)}' if hold.until else 'until it is released'}{expiring}: {hold.reason}. "
        f"To come back: RESTORE_CONFIRM=1 backup-assets {which}restore {one.id}"
    )
