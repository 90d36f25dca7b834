"""Which sets does a store hold, and which one is meant?"""

from __future__ import annotations

import difflib
from datetime import UTC, datetime

from backup_assets.errors import BackupError, CheckFailed, Refused
from backup_assets.sets.backup_id import BackupId
from backup_assets.sets.backup_set import BackupSet, Damage
from backup_assets.sets.documents import Documents
from backup_assets.sets.manifest import Manifest
from backup_assets.sets.place import Place, ReadableStore, set_id_of
from backup_assets.sets.record_order import CLOCK_TOLERANCE
from backup_assets.sets.unlocked import unlocked_property
from backup_assets.sets.wholeness import needed_by, sets_of


class NoSuchSet(Refused):
    """No set is meant by what was asked for, or more than one."""


class AmbiguousSet(NoSuchSet):
    """More than one set is meant by what was asked for: to ask another store does not make it one."""


class IncompleteSet(CheckFailed):
    """The set that was asked for cannot be restored from this store."""


class Catalog:
    """The sets of one place in one store, as they were at the first look; make a new one to look again.

    Made from the manifests and records alone. Every method may raise EnvironmentFault when the store does not
    answer, AccessDenied when this role may read none of the manifests that are there; a document that is damaged, or
    may not be read though others may, is told in ``problems`` and hides no other.
    """

    def __init__(self, store: ReadableStore, place: Place, *, readers: int = 1, where: str = "") -> None:
        """``readers`` threads fetch the documents: 1 is right for a local disk, more for a store far away.

        ``where`` is what messages call the store; left out, the place alone.
        """
        self.place = place
        self.where = where or place.root
        self._documents = Documents(store, place, readers=readers, where=self.where)

    @property
    def _manifests(self) -> dict[str, Manifest]:
        return self._documents.manifests[0]

    @property
    def _damaged_manifests(self) -> tuple[Damage, ...]:
        return self._documents.manifests[1]

    @unlocked_property
    def _sets(self) -> dict[str, BackupSet]:
        return sets_of(self._documents)

    # -- asking ----------------------------------------------------------------------------------------------------

    @property
    def problems(self) -> tuple[Damage, ...]:
        """Every manifest and record that cannot be read."""
        manifests, (_, records) = self._damaged_manifests, self._documents.records
        return (*manifests, *(damage for damages in records.values() for damage in damages))

    def manifests(self) -> tuple[Manifest, ...]:
        """Return every manifest that can be read, without reading records."""
        return tuple(self._manifests.values())

    def manifests_newest_first(self) -> list[Manifest]:
        """Return every manifest that can be read, newest first, without reading records."""
        return sorted(self._manifests.values(), key=lambda one: (one.snapshot.taken_at, one.id), reverse=True)

    def sets(self) -> list[BackupSet]:
        """Return every set whose manifest can be read, newest first by the moment that it shows."""
        return list(self._sets.values())

    def find(self, set_id: str) -> BackupSet | None:
        """Return the set of that id, complete or not, or None."""
        return self._sets.get(set_id)

    def latest(
        self, before: datetime | None = None, *, kind: str = "full", complete_only: bool = True
    ) -> BackupSet | None:
        """Return the newest set that shows a moment not after ``before`` (aware; left out: now), or None.

        A set that was taken under a clock far ahead is none of now: it would be the newest until that time has come.
        """
        limit = _limit(before)
        for one in self._sets.values():
            if one.manifest.kind != kind or (complete_only and one.faults):
                continue
            if one.taken_at <= limit:
                return one
        return None

    def passed_over(self, chosen: BackupSet, before: datetime | None = None) -> tuple[str, ...]:
        """Return one sentence for each newer set that could not be chosen, for whoever is given an older one.

        ``before`` is as it was for :meth:`latest`. A damaged manifest counts by the time in its id.
        """
        limit = _limit(before)
        found: list[str] = []
        for one in self._sets.values():
            if one.taken_at <= chosen.taken_at or one.manifest.kind != chosen.manifest.kind:
                continue
            if one.taken_at > limit:
                found += [_to_come(one)] if before is None else []
            elif one.faults:
                found.append(f"the newer set {one.id} is incomplete: {one.faults[0]}")
        for damage in self._damaged_manifests:
            taken_at = BackupId.parse(damage.set_id).taken_at
            # The id's time is that of the capture's start, in whole seconds; the snapshot comes a little later.
            if taken_at >= chosen.manifest.backup_id.taken_at and (before is None or taken_at <= limit):
                found.append(f"the manifest of the newer set {damage.set_id} is damaged")
        return tuple(found)

    def resolve(
        self,
        selector: str = "latest",
        *,
        before: datetime | None = None,
        kind: str = "full",
        complete_only: bool = True,
    ) -> BackupSet:
        """Return the set meant by ``latest``, an id, or the beginning of exactly one id.

        ``before`` and ``kind`` are for ``latest`` only. Raises NoSuchSet when nothing or more than one is meant,
        IncompleteSet when what is meant cannot be restored (unless ``complete_only`` is off).
        """
        chosen = self._newest(before, kind, complete_only) if selector == "latest" else self._by_id(selector)
        if complete_only and chosen.faults:
            raise IncompleteSet(
                f"the set {chosen.id} is incomplete in {self.where}",
                why="; ".join(chosen.faults),
                remedy="choose another set, or fetch this one again from another store",
            )
        return chosen

    def closure_ids(self, one: BackupSet) -> frozenset[str]:
        """Return the ids of all sets that ``one`` needs, directly or through another, present or not."""
        return frozenset(needed_by(one.manifest, self._manifests))

    def closure(self, chosen: BackupSet) -> tuple[BackupSet, ...]:
        """Return every set that restoring ``chosen`` takes, those it needs first; raises IncompleteSet."""
        needed = self.closure_ids(chosen)
        missing = sorted(needed - self._sets.keys())
        if missing:
            raise IncompleteSet(
                f"the set {chosen.id} cannot be restored from {self.where}",
                why=f"it needs {', '.join(missing)}, not found there",
                remedy="fetch the missing set from another store, or choose another set",
            )
        return (*sorted((self._sets[set_id] for set_id in needed), key=lambda one: (one.taken_at, one.id)), chosen)

    # -- explaining ------------------------------------------------------------------------------------------------

    def _newest(self, before: datetime | None, kind: str, complete_only: bool) -> BackupSet:
        chosen = self.latest(before, kind=kind, complete_only=complete_only)
        if chosen is not None:
            return chosen
        of_kind = [one for one in self._sets.values() if one.manifest.kind == kind]
        if not of_kind:
            raise self._nothing_at_all(kind)
        whole = [one for one in of_kind if not (complete_only and one.faults)]
        if not whole:
            newest = of_kind[0]
            raise IncompleteSet(
                f"none of the {len(of_kind)} sets in {self.where} is complete",
                why=f"{newest.id}: {'; '.join(newest.faults)}",
                remedy="fetch a set from another store",
            )
        oldest = whole[-1]
        if before is None:
            raise NoSuchSet(
                f"every set in {self.where} shows a moment that is still to come",
                why=_to_come(oldest),
                remedy="check the clocks of this machine and of the server; to use that set nevertheless, give its id",
            )
        raise NoSuchSet(
            f"no set in {self.where} shows {before} or an earlier moment",
            why=f"the oldest is {oldest.id}, taken at {oldest.taken_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
            remedy="ask for a later moment, or look into another store",
        )

    def _nothing_at_all(self, kind: str) -> BackupError:
        damaged = self._damaged_manifests
        if damaged:
            return IncompleteSet(
                f"no manifest in {self.where} can be read",
                why=damaged[0].text,
                remedy="fetch a set from another store",
            )
        what = "no backup set" if kind == "full" else f"no set of kind {kind}"
        return NoSuchSet(
            f"there is {what} in {self.where}",
            remedy="take a backup, or check the prefix, the environment's name and the store",
        )

    def _by_id(self, selector: str) -> BackupSet:
        if selector in self._sets:
            return self._sets[selector]
        matching = [set_id for set_id in self._sets if selector and set_id.startswith(selector)]
        damaged = [one for one in self._damaged_manifests if selector and one.set_id.startswith(selector)]
        if len(matching) + len(damaged) > 1:
            matching += [one.set_id for one in damaged]
            raise AmbiguousSet(
                f"{selector!r} is the beginning of {len(matching)} ids",
                why=", ".join(matching[:5]) + (", …" if len(matching) > 5 else ""),
                remedy="give more of the id",
            )
        if matching:
            return self._sets[matching[0]]
        if damaged:
            fault = "may not be read by this role" if damaged[0].denied else "is damaged"
            raise IncompleteSet(
                f"the manifest of the set {damaged[0].set_id} {fault}",
                why=damaged[0].text,
                remedy="choose another set, or fetch this one again from another store",
            )
        if not self._sets:
            raise self._nothing_at_all("full")
        files = [name for name in self._documents.names if selector and set_id_of(name) == selector]
        if files:
            raise IncompleteSet(
                f"the set {selector} was never finished or is half deleted",
                why=f"there is {files[0]}, but no manifest",
                remedy="choose another set: `backup-assets list` shows them",
            )
        close = difflib.get_close_matches(selector, self._sets, n=3, cutoff=0.5) or list(self._sets)[:3]
        raise NoSuchSet(
            f"there is no set {selector!r} in {self.where}",
            why=f"the closest ids are {', '.join(close)}",
            remedy="take an id from `backup-assets list`",
        )


def _aware(moment: datetime | None) -> datetime | None:
    if moment is not None and moment.tzinfo is None:
        raise Refused(f"the time {moment} has no time zone", remedy="add one, for example 2026-11-22T02:00+09:00")
    return moment


def _limit(before: datetime | None) -> datetime:
    return datetime.now(UTC) + CLOCK_TOLERANCE if (aware := _aware(before)) is None else aware


def _to_come(one: BackupSet) -> str:
    shown = f"{one.taken_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"the set {one.id} says that it shows {shown}, which is still to come: a clock was wrong when it was taken"
