"""How is the retention plan made for each store, and carried out?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import BinaryIO
from zoneinfo import ZoneInfo

from backup_assets.errors import BackupError, CheckFailed, EnvironmentFault
from backup_assets.local import place_of
from backup_assets.named_stores import LOCAL, catalog_in, catalog_to_show, configured_store, store_named
from backup_assets.retention.bucket_holds import keep_held
from backup_assets.retention.carried_holds import Carried, carry_holds
from backup_assets.retention.going import forget_going, note_going, settle_killed
from backup_assets.retention.gone import note_gone
from backup_assets.retention.unread import unread_in
from backup_assets.sets.backup_set import BackupSet, Damage
from backup_assets.sets.deletion import Deleted, delete_sets
from backup_assets.sets.place import StoredObject
from backup_assets.sets.retention import plan
from backup_assets.sets.retention_plan import RetentionPlan
from backup_assets.sets.retention_policy import RetentionPolicy, known_elsewhere
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.stores.contract import AccessDenied, Store

_BY_LIFECYCLE = "sets there expire by the lifecycle rules of the bucket; to prune it all the same, name it with --store"
_UNREAD = "; this role may not read there, so that of holds only those count that the local store knows of"
_BY_HAND = "keep_days (REMOTE_KEEP_DAYS) is not set: sets there are removed by hand"


@dataclass(frozen=True)
class Pruned:
    """What was decided and done in one store.

    ``skipped`` says why the store is not pruned here at all. ``error`` is why it could not be: it does not answer, or
    this role may not look or delete there. ``failed`` are sets that could not be deleted; the next run tries again.
    Among the ``deleted`` are those of which only the manifest and some files could be, see ``halved``.
    Without ``applied`` nothing was deleted, whatever the plan says. ``carried`` are sets that the store knows to be
    held from now on, because another store does.
    """

    store: str
    plan: RetentionPlan | None = None
    applied: bool = False
    deleted: tuple[Deleted, ...] = ()
    failed: tuple[Deleted, ...] = ()
    skipped: str = ""
    error: BackupError | None = None
    carried: tuple[str, ...] = ()

    @property
    def is_well(self) -> bool:
        """Whether everything that was to be done could be."""
        return not (self.error or self.failed or self.halved or self.is_held_up)

    @property
    def halved(self) -> tuple[Deleted, ...]:
        """The sets that are gone, of which files were left that belong to no set any more."""
        return tuple(one for one in self.deleted if one.left)

    @property
    def is_held_up(self) -> bool:
        """Whether sets that would go now must stay, because the plan is stopped; where none would, nothing is amiss."""
        return self.plan is not None and any(
            reason.code == "blocked" for line in self.plan.lines for reason in line.reasons
        )


def halved_text(store_name: str, one: Deleted) -> str:
    """Return what a set was left as of which not every file could be removed, and what removes the rest."""
    return (
        f"{one.set_id} is deleted, and {len(one.left)} files of it could not be removed ({', '.join(one.left)}): "
        f"{one.error}; `backup-assets sweep --store {store_name} --apply` removes them once that is put right"
    )


@dataclass(frozen=True)
class Survey:
    """What every configured store lists of one database, or why it could not be asked.

    ``unread`` are, by the name of a store, sets that lie there and may not be read by this role, as the local store
    knows them.
    """

    now: datetime
    sets: Mapping[str, Sequence[BackupSet]]
    damaged: Mapping[str, tuple[Damage, ...]]
    errors: Mapping[str, BackupError]
    unread: Mapping[str, Sequence[BackupSet]] = field(default_factory=dict)

    def known_in(self, store_name: str) -> Sequence[BackupSet]:
        """Return what is known to lie in a store: what was read there, and what only the local store could tell."""
        return (*self.sets.get(store_name, ()), *self.unread.get(store_name, ()))


def survey(
    database: DatabaseSettings,
    settings: Settings,
    *,
    now: datetime | None = None,
    to_show: bool = False,
    silent: Mapping[str, str] | None = None,
) -> Survey:
    """Look into every store; one that does not answer is told in ``errors``.

    ``to_show`` is for who deletes nothing, and looks often: documents are not read anew each time. ``silent`` are
    stores that are not asked, because somebody has just done so in vain, each with what came of it.
    """
    # Taken before the stores are read: nothing that they list is younger than they were looked at.
    moment = now or datetime.now(UTC)
    sets: dict[str, Sequence[BackupSet]] = {}
    damaged: dict[str, tuple[Damage, ...]] = {}
    errors: dict[str, BackupError] = {}
    unread: dict[str, Sequence[BackupSet]] = {}
    for name in (LOCAL, *(store.name for store in settings.stores)):
        if silent and name in silent:
            errors[name] = EnvironmentFault(
                f"the store {name} did not answer", why=silent[name], remedy="`backup-assets doctor` says what it needs"
            )
            continue
        try:
            store, place = store_named(settings, name), place_of(database, settings)
            catalog = catalog_to_show(settings, store, place) if to_show else catalog_in(store, place)
            try:
                sets[name], damaged[name] = catalog.sets(), catalog.problems
            except AccessDenied as error:
                errors[name] = error
            if name in errors or any(damage.denied for damage in damaged[name] if damage.kind == "manifest"):
                read = {one.id for one in sets.get(name, ())}
                unread[name] = unread_in(store, place, sets.get(LOCAL, ()), read)
        except BackupError as error:
            errors[name] = error
    return Survey(moment, sets, damaged, errors, unread)


def policy_of(database: DatabaseSettings, settings: Settings, store_name: str) -> RetentionPolicy:
    """Return what is kept of a database in a store; raises SettingsError for an unknown one."""
    kept = database.retention
    keep_days = None if store_name == LOCAL else configured_store(settings, store_name).keep_days
    return RetentionPolicy(
        zone=ZoneInfo(database.schedule.timezone),
        rpo=timedelta(hours=database.rpo_hours),
        daily=kept.daily,
        weekly=kept.weekly,
        monthly=kept.monthly,
        all_for=timedelta(days=kept.all_for_days),
        keep_days=keep_days,
        grace=timedelta(hours=kept.grace_hours),
        damaged_for=timedelta(days=kept.damaged_days),
        largest_share=kept.largest_share,
    )


def prune_all(
    database: DatabaseSettings,
    settings: Settings,
    *,
    apply: bool = False,
    allow_large_share: bool = False,
    surveyed: Survey | None = None,
) -> Iterator[Pruned]:
    """Prune the local store and every further one as :func:`prune` does, except those that prune themselves.

    With ``apply`` a bucket that does is told what is held: a copy may have come after its hold, or a hold be over.
    """
    surveyed = surveyed or survey(database, settings)
    for name in (LOCAL, *(store.name for store in settings.stores)):
        if name != LOCAL and configured_store(settings, name).kind == "s3":
            kept = keep_held(database, settings, name, surveyed.known_in(name), surveyed.now) if apply else None
            told = f"; {kept.changed} objects have another class now, for holds" if kept and kept.changed else ""
            told += _UNREAD if surveyed.unread.get(name) else ""
            error = _not_asked(settings, name, surveyed)
            error = error or (kept.trouble(name, surveyed.now) if kept else None)
            yield Pruned(name, skipped=_BY_LIFECYCLE + told, error=error)
        else:
            yield prune(database, settings, name, apply=apply, allow_large_share=allow_large_share, surveyed=surveyed)


def _not_asked(settings: Settings, store_name: str, surveyed: Survey | None) -> BackupError | None:
    """Return why it is not known what is held in a store that this run does not prune; None where that is as meant.

    The role that only stores copies may not read; where a role to read is named, it has to.
    """
    error = surveyed.errors.get(store_name) if surveyed is not None else None
    if surveyed is None or error is None:
        return None
    meant = isinstance(error, AccessDenied) and configured_store(settings, store_name).read_profile is None
    return None if meant and store_name in surveyed.unread else error


def prune(
    database: DatabaseSettings,
    settings: Settings,
    store_name: str,
    *,
    apply: bool = False,
    allow_large_share: bool = False,
    surveyed: Survey | None = None,
) -> Pruned:
    """Plan the retention of one database in one store and, with ``apply``, carry it out.

    ``allow_large_share`` lifts the limit on the share that may go, for the first run after a long time without any.
    A set that cannot be deleted does not keep the others. With ``apply`` the store is told first of holds that only
    another one knows of, so that they count also when that one does not answer the next time. Raises SettingsError for
    an unknown store; whatever the store itself says is in the result.
    """
    policy = policy_of(database, settings, store_name)
    if allow_large_share:
        policy = replace(policy, largest_share=1.0)
    configured = None if store_name == LOCAL else configured_store(settings, store_name)
    if configured is not None and configured.kind == "ssh" and configured.keep_days is None:
        return Pruned(store_name, skipped=_BY_HAND, error=_not_asked(settings, store_name, surveyed))
    surveyed = surveyed or survey(database, settings)
    if store_name in surveyed.errors:
        return Pruned(store_name, error=surveyed.errors[store_name])
    others = {name: sets for name, sets in surveyed.sets.items() if name != store_name}
    made = plan(
        surveyed.sets[store_name],
        policy,
        surveyed.now,
        store=store_name,
        elsewhere=known_elsewhere(others, surveyed.now),
        damaged=surveyed.damaged[store_name],
    )
    unreadable = _unreadable(store_name, made, surveyed.damaged[store_name])
    if not apply:
        return Pruned(store_name, made, error=unreadable)
    there = {one.id for one in surveyed.sets[store_name]} | {one.set_id for one in surveyed.damaged[store_name]}
    unsettled = settle_killed(database, settings, store_name, there, surveyed.now)
    carried = Carried()
    # Not into a bucket: the role that may delete there need not be allowed to store.
    if configured is None or configured.kind != "s3":
        carried = carry_holds(database, settings, store_name, surveyed.sets, surveyed.now)
    done = Pruned(store_name, made, applied=True)
    if made.deleted:
        # Although a hold could not be carried: this time the plan knows of it, and a full disk needs what goes.
        done = _applied(database, settings, store_name, made, surveyed.now)
    return replace(done, error=done.error or carried.error or unreadable or unsettled, carried=carried.set_ids)


def _unreadable(store_name: str, made: RetentionPlan, damaged: Sequence[Damage]) -> CheckFailed | None:
    """Return an error where sets lie in a store and not one of them can be read: what is decided about none is red."""
    if made.lines or not made.damaged:
        return None
    first = next((one.text for one in damaged if one.kind == "manifest"), "")
    return CheckFailed(
        f"none of the {len(made.damaged)} sets in {store_name} can be read, and nothing is decided about any",
        why=f"no manifest there can be read, the first: {first.partition(chr(10))[0]}",
        remedy="check that disk or service; `backup-assets list --store "
        f"{store_name}` shows all of them: fetch the manifests again from another store, or copy the sets there anew",
    )


def _applied(
    database: DatabaseSettings, settings: Settings, store_name: str, made: RetentionPlan, now: datetime
) -> Pruned:
    going = note_going(database, settings, store_name, made.lines, now)
    try:
        store = _TwoRoles(store_named(settings, store_name), store_named(settings, store_name, writing=True))
        done = delete_sets(store, place_of(database, settings), made.deleted, now=now, go_on=True)
    except BackupError as error:
        with suppress(BackupError):  # nothing went: the next run finds out
            forget_going(settings, going)
        return Pruned(store_name, made, applied=True, error=error)
    failed = tuple(one for one in done if not one.is_gone)
    denied = next((one.error for one in failed if isinstance(one.error, AccessDenied)), None)
    deleted = tuple(one for one in done if one.is_gone)
    if denied is not None:
        # Said once, not for every set: it is about the role.
        failed = tuple(one for one in failed if not isinstance(one.error, AccessDenied))
        denied = AccessDenied(
            f"the role for {store_name} may not delete: what is too old stays there",
            why=denied.what,
            remedy="where that is meant, let the store expire sets by itself; else allow this role to delete",
        )
    try:
        note_gone(database, settings, store_name, made.lines, (one.set_id for one in deleted), now)
        forget_going(settings, going)
    except BackupError as error:
        return Pruned(store_name, made, True, deleted, failed, error=denied or error)
    return Pruned(store_name, made, True, deleted, failed, error=denied)


class _TwoRoles:
    """A store that is read with one role and deleted from with another, where they are kept apart."""

    def __init__(self, reading: Store, writing: Store) -> None:
        self._reading = reading
        self._writing = writing

    def list(self, prefix: str) -> Iterator[StoredObject]:
        return self._reading.list(prefix)

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        return self._reading.open(key)

    def delete(self, key: str) -> None:
        self._writing.delete(key)
