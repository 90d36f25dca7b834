"""Which sets may go, which must stay, and why?

Pure and total: sets, policy and clock go in, a plan comes out, for whatever a store may hold. Nothing is read or
deleted here. The rules add up: a set goes only when not a single one of them keeps it. Where two servers write under
one name, each of them is counted apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cached_property

from backup_assets.sets.backup_set import BackupSet, Damage
from backup_assets.sets.record_order import believed, is_in_future
from backup_assets.sets.retention_brakes import brakes, time_text, too_large_a_share
from backup_assets.sets.retention_generations import (
    Candidate,
    Quality,
    by_age,
    by_generation,
    duration,
    local_day,
    newest,
)
from backup_assets.sets.retention_plan import Code, Line, Reason, RetentionPlan
from backup_assets.sets.retention_policy import Elsewhere, RetentionPolicy, has_failed, is_verified
from backup_assets.sets.servers import series_of, server_of
from backup_assets.sets.uncollected import uncollected

_NOTHING = Elsewhere()
_FAILED = Reason("failed", "its verification failed")


def plan(
    sets: Iterable[BackupSet],
    policy: RetentionPolicy,
    now: datetime,
    *,
    store: str = "local",
    elsewhere: Elsewhere = _NOTHING,
    damaged: Iterable[Damage] = (),
) -> RetentionPlan:
    """Decide about every set of one database in one store.

    ``sets`` are all that ``store`` lists, complete or not, in any order, and ``damaged`` what it could not read;
    ``elsewhere`` is what other stores know. ``now`` is aware. Applied and made again for the same ``now``, the plan
    deletes nothing more, unless what went was all that overlapped of two servers: then one has followed the other.
    """
    with uncollected():  # one walk of the collector through a hundred thousand sets takes longer than the plan
        return _Planning(sets, policy, now, store, elsewhere, damaged).plan()


class _Planning:
    def __init__(
        self,
        sets: Iterable[BackupSet],
        policy: RetentionPolicy,
        now: datetime,
        store: str,
        elsewhere: Elsewhere,
        damaged: Iterable[Damage],
    ) -> None:
        self._policy = policy
        self._now = now
        self._store = store
        self._elsewhere = elsewhere
        self._all = sorted([self._candidate(one) for one in sets], key=newest, reverse=True)
        self._by_id = {candidate.id: candidate for candidate in self._all}
        self._past = [candidate for candidate in self._all if not candidate.in_future]
        self._series = list(_series(self._past))
        self._damaged = tuple(sorted({damage.set_id for damage in damaged if damage.kind == "manifest"}))
        self._kept: dict[str, list[Reason]] = {}

    def plan(self) -> RetentionPlan:
        for past in self._series:
            self._keep_floors(past)
            self._keep_generations(past)
            self._keep_what_nothing_follows(past)
        self._keep_by_wish()
        self._keep_required()
        going = sum([candidate.id not in self._kept for candidate in self._all])
        held = {set_id for set_id, reasons in self._kept.items() if any(reason.code == "held" for reason in reasons)}
        blocked = (
            *brakes(self._all, held, self._policy, self._now),
            *too_large_a_share(going, len(self._all), self._policy),
        )
        lines = tuple([self._line(candidate, bool(blocked)) for candidate in self._all])
        return RetentionPlan(lines, blocked, self._damaged)

    # -- what is known of a set --------------------------------------------------------------------------------------

    def _candidate(self, one: BackupSet) -> Candidate:
        manifest = one.manifest
        kinds = {record.kind for record in one.records}
        known = self._elsewhere.verifications.get(manifest.id, ())
        quality = Quality.VERIFIED
        if one.faults:
            quality = Quality.INCOMPLETE
        elif not (one.records or known):
            quality = Quality.COMPLETE
        elif not is_verified(one, self._store, known, now=self._now):
            # Also what failed elsewhere and was never proven: the copies are equal.
            records = believed((*one.verifications, *known), self._now)
            failed = has_failed(records, self._store, self._now) or (bool(records) and not records[-1].passed)
            quality = Quality.FAILED if failed else Quality.COMPLETE
        taken_at = one.taken_at
        return Candidate(
            set=one,
            id=manifest.id,
            taken_at=taken_at,
            kind=manifest.kind,
            quality=quality,
            day=local_day(taken_at, self._policy.zone),
            in_future=is_in_future(taken_at, self._now),
            may_be_held=bool(manifest.hold or one.damaged_records or "hold" in kinds),
        )

    def _keep(self, candidate: Candidate, code: Code, text: str) -> None:
        self._kept.setdefault(candidate.id, []).append(Reason(code, text))

    # -- rules -------------------------------------------------------------------------------------------------------

    def _keep_floors(self, past: Sequence[Candidate]) -> None:
        self._keep(past[0], "newest", "the newest set")
        complete = next((candidate for candidate in past if candidate.quality.is_complete), None)
        if complete is not None and complete is not past[0]:
            self._keep(complete, "newest_complete", "the newest complete set")
        verified = _newest_verified(past)
        if verified is not None:
            self._keep(verified, "last_verified", "the last verified set")

    def _keep_generations(self, past: Sequence[Candidate]) -> None:
        chosen = by_age if self._policy.keep_days is not None else by_generation
        for candidate, reason in chosen(past, self._policy, self._now):
            self._kept.setdefault(candidate.id, []).append(reason)

    def _keep_what_nothing_follows(self, past: Sequence[Candidate]) -> None:
        verified = _newest_verified(past)
        days = duration(self._policy.damaged_for)
        for candidate in past:
            if verified is None or candidate.taken_at > verified.taken_at:
                self._keep(candidate, "no_newer_verified", "there is no newer verified set")
            elif not candidate.quality.is_good and self._now - candidate.taken_at <= self._policy.damaged_for:
                self._keep(candidate, "damaged_recently", f"{candidate.quality.text}, and not older than {days}")

    def _keep_by_wish(self) -> None:
        for candidate in self._all:
            if candidate.in_future:
                self._keep(
                    candidate,
                    "from_the_future",
                    f"taken at {time_text(candidate.taken_at)}, which is in the future: a clock was wrong",
                )
            hold = candidate.set.hold_at(self._now) if candidate.may_be_held else None
            if hold is not None:
                end = f", until {time_text(hold.until)}" if hold.until else ""
                self._keep(candidate, "held", f"held: {hold.reason}{end}")
            elif (reason := self._elsewhere.held.get(candidate.id)) is not None:
                self._keep(candidate, "held", f"held in another store: {reason}")
            for other in self._elsewhere.last_verified.get(candidate.id, ()):
                self._keep(candidate, "last_verified_elsewhere", f"the last verified set of the store {other}")
            if self._damaged and _has_full_archive(candidate.set):
                self._keep(
                    candidate,
                    "may_be_required",
                    f"{self._damaged[0]} may need it: the manifest of that set is damaged",
                )

    def _keep_required(self) -> None:
        """Keep what a kept set cannot be restored without, and what that needs in turn."""
        needed_by: dict[str, list[Candidate]] = {}
        # Newest first, so that a reason names the newest set that needs it.
        waiting = [candidate for candidate in reversed(self._all) if candidate.id in self._kept]
        reached = set(self._kept)
        while waiting:
            candidate = waiting.pop()
            for set_id in candidate.set.manifest.needs:
                needed = self._by_id.get(set_id)
                if needed is None:
                    continue
                needed_by.setdefault(set_id, []).append(candidate)
                if set_id not in reached:
                    reached.add(set_id)
                    waiting.append(needed)
        for set_id, dependants in needed_by.items():
            more = f", and {len(dependants) - 1} more," if len(dependants) > 1 else ""
            verb = "need" if more else "needs"
            text = f"{max(dependants, key=newest).id}{more} {verb} it to be restored"
            self._keep(self._by_id[set_id], "required", text)

    # -- the answer --------------------------------------------------------------------------------------------------

    def _line(self, candidate: Candidate, blocked: bool) -> Line:
        kept = self._kept.get(candidate.id)
        if kept:
            return Line(candidate.set, "keep", tuple(kept))
        reasons = self._why_deleted(candidate)
        if blocked:
            return Line(candidate.set, "keep", _instead_of(reasons))
        return Line(candidate.set, "delete", reasons)

    def _why_deleted(self, candidate: Candidate) -> tuple[Reason, ...]:
        usual = self._superseded.get(candidate.id) or self._outlived[candidate.kind]
        if candidate.quality is Quality.INCOMPLETE:
            return (Reason("incomplete", f"incomplete: {candidate.set.faults[0]}"), *usual)
        if candidate.quality is Quality.FAILED:
            return (_FAILED, *usual)
        return usual

    @cached_property
    def _outlived(self) -> dict[str, tuple[Reason]]:
        """Why sets of a kind go that nothing keeps; for one that is kept of its day there is more to say."""
        policy = self._policy
        kept = f"{policy.weekly} weekly and {policy.monthly} monthly sets that are kept"
        daily = f"none of the {policy.daily} daily, {kept}"
        texts = {"full": daily, "infrastructure": daily, "important_tables": f"none of the {kept}"}
        if policy.keep_days is not None:
            texts = dict.fromkeys(texts, f"older than the {policy.keep_days} days that this store keeps")
        return {kind: (Reason("outlived", text),) for kind, text in texts.items()}

    @cached_property
    def _superseded(self) -> dict[str, tuple[Reason]]:
        """Why a set goes when another one of its kind, server and day is kept of that day."""
        found: dict[str, tuple[Reason]] = {}
        for past in self._series:
            kept = {candidate.day: candidate.id for candidate in past if self._is_daily(candidate)}
            texts = {day: (Reason("superseded", f"{set_id} is kept of that day"),) for day, set_id in kept.items()}
            found.update({candidate.id: texts[candidate.day] for candidate in past if candidate.day in texts})
        return found

    def _is_daily(self, candidate: Candidate) -> bool:
        return any(reason.code == "daily" for reason in self._kept.get(candidate.id, ()))


def _series(past: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """Yield what is counted together, newest first as ``past`` is: the sets of one kind and one line of servers."""
    for kind in sorted({candidate.kind for candidate in past}):
        of_kind = [candidate for candidate in past if candidate.kind == kind]
        numbers = series_of([server_of(candidate.set.manifest) for candidate in reversed(of_kind)])[::-1]
        for number in sorted(set(numbers)):
            yield [candidate for candidate, its in zip(of_kind, numbers, strict=True) if its == number]


def _instead_of(reasons: tuple[Reason, ...]) -> tuple[Reason]:
    """Return the one reason of a set that stays only because nothing is deleted now."""
    text = "; ".join([reason.text for reason in reasons])
    return (Reason("blocked", f"nothing is deleted now; otherwise: {text}"),)


def _newest_verified(past: Sequence[Candidate]) -> Candidate | None:
    return next((candidate for candidate in past if candidate.quality is Quality.VERIFIED), None)


def _has_full_archive(one: BackupSet) -> bool:
    attachments = one.manifest.attachments
    return attachments is not None and attachments.mode == "full"
