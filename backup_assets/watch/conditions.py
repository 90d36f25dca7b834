"""What is wrong with the backups of one database now, as one sentence of cause, of what is safe, and of what to do?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from backup_assets.watch.figures import DatabaseFigures, Objective, SetFigures
from backup_assets.watch.kinds import OF_FURTHER_STORES, TOLD, Kind, Severity
from backup_assets.watch.troubles import Trouble

#: What is about the watch itself and about no database; no database can bear this name.
THE_WATCH = "the-watch"


@dataclass(frozen=True)
class Condition:
    """Something that is wrong now.

    ``database``, ``kind`` and ``subject`` (a store, a job with its slot) tell it from others and stay the same while
    it holds. Every text is a sentence or empty. What is not ``lasting`` is an event: it is told once, without reminders
    and without a word when it is over.
    """

    database: str
    kind: Kind
    subject: str
    severity: Severity
    title: str
    cause: str = ""
    safe: str = ""
    remedy: str = ""
    slot: str = ""
    link: str = ""
    since: datetime | None = None
    lasting: bool = True

    @property
    def key(self) -> str:
        """What makes it the same condition in the next look."""
        return key_of(self.database, self.kind, self.subject)


@dataclass(frozen=True)
class Found:
    """What a look found. Keys that begin with one of ``undecided`` could not be judged: nothing about them is over.

    Those in ``dropped`` are no longer told, which does not mean that they are over.
    """

    conditions: tuple[Condition, ...] = ()
    undecided: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Blocked:
    """Why the retention deletes nothing in a store, although there is something to delete."""

    store: str
    why: str


@dataclass(frozen=True)
class Concern:
    """Something about the encryption that ends the backups sooner or later."""

    key: str
    severity: Severity
    what: str
    remedy: str


@dataclass(frozen=True)
class Facts:
    """What is looked at beside the figures; None, or a name in ``unknown_stores``, is what could not be looked at."""

    blocked: tuple[Blocked, ...] | None = None
    unknown_stores: tuple[str, ...] = ()
    encryption: tuple[Concern, ...] | None = None


def key_of(database: str, kind: Kind, subject: str = "") -> str:
    """Return the key of a condition; without a subject the beginning of those of its kind."""
    return f"{database}:{kind}:{subject}"


def conditions_of(
    figures: DatabaseFigures, troubles: Sequence[Trouble], facts: Facts, now: datetime, *, ui_url: str | None = None
) -> Found:
    """Return everything that is wrong with one database, and what could not be judged. ``now`` must be aware."""
    found = [
        *_of_runs(troubles, figures.database, now, ui_url),
        *_of_objectives(figures),
        *_of_stores(figures),
        *(
            Condition(
                figures.database, "slot_missed", slot, "error",
                title=f"the slot {slot} has no complete set, and is over",
                cause="no backup of that time was finished; see its run, if there is one",
                remedy="a past slot is not filled with today's data; make sure that the next backup runs",
                slot=slot,
                lasting=False,
            )
            for slot in figures.missed_slots
        ),
        *_of_facts(facts, figures.database),
    ]  # fmt: skip
    safe = safe_sentence(figures, now)
    conditions = tuple(_with_safe(one, safe) for one in found)
    return Found(conditions, tuple(_undecided(figures, facts)), _dropped(troubles, figures.database, now))


def not_measured(
    database: str, why: str, troubles: Sequence[Trouble], now: datetime, *, ui_url: str | None = None
) -> Found:
    """Return what can be said where the stores could not be looked at: what Dagster told, and that.

    An empty ``why`` means that the look is not finished, which is nothing to tell yet.
    """
    condition = Condition(
        database,
        "not_measured",
        "",
        "error",
        title="the stores could not be looked at",
        cause=why,
        safe="What is safe is not known.",
        remedy="`backup-assets status` and `backup-assets doctor` say more",
    )
    kinds: tuple[Kind, ...] = (
        "slot_missed", "rpo", "copy_late", "verified", "drill", "rto", "copies", "store_space", "store_unreachable",
        "sets_damaged", "retention_blocked", "encryption_key",
    )  # fmt: skip
    undecided = tuple(key_of(database, kind) for kind in kinds)
    found = (condition,) if why else ()
    if not why:
        undecided = (*undecided, key_of(database, "not_measured"))
    conditions = (*found, *_of_runs(troubles, database, now, ui_url))
    return Found(conditions, undecided, _dropped(troubles, database, now))


def safe_sentence(figures: DatabaseFigures, now: datetime) -> str:
    """Return which set is good, where, and how old it is."""
    proven = _newest(figures, [store.proven for store in figures.stores])
    newest = _newest(figures, [store.newest for store in figures.stores])
    silent = [store.name for store in figures.stores if store.error]
    if proven is not None:
        text = f"{_told(proven, now)} is proven by a restore"
        if newest is not None and newest[0].taken_at > proven[0].taken_at:
            text += f"; {_told(newest, now)} is complete and not proven yet"
        return text
    if newest is not None:
        return f"{_told(newest, now)} is complete; no set is proven by a restore"
    if silent:
        return f"not known: {', '.join(silent)} did not answer, and there is no complete set elsewhere"
    return "nothing: there is no complete set in any store"


def span(seconds: float) -> str:
    """Return a duration in its largest unit: ``3 days``, ``5 h``, ``12 min``."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        # Two days at least, so that a number is not rounded by half.
        if seconds >= length * (2 if unit == "days" else 1):
            return f"{int(seconds // length)} {unit}"
    return f"{int(max(seconds, 0))} s"


def _newest(figures: DatabaseFigures, held: Iterable[SetFigures | None]) -> tuple[SetFigures, tuple[str, ...]] | None:
    """Return the newest of some sets, and every store that is known to have it."""
    newest = max((one for one in held if one is not None), key=lambda one: (one.taken_at, one.id), default=None)
    if newest is None:
        return None
    stores = (
        store.name
        for store in figures.stores
        if newest.id in (one.id for one in (store.newest, store.proven) if one is not None)
    )
    return newest, tuple(stores)


def _told(held: tuple[SetFigures, tuple[str, ...]], now: datetime) -> str:
    one, stores = held
    age = span((now - one.taken_at).total_seconds())
    return f"{one.id} (slot {one.slot}, {age} old, in {' and '.join(stores)})"


def _with_safe(condition: Condition, safe: str) -> Condition:
    return condition if condition.safe else replace(condition, safe=safe)


def _dropped(troubles: Iterable[Trouble], database: str, now: datetime) -> tuple[str, ...]:
    return tuple(key_of(database, one.kind, _subject(one)) for one in troubles if one.is_forgotten(now))


def _subject(trouble: Trouble) -> str:
    return f"{trouble.subject}@{trouble.partition}" if trouble.partition else trouble.subject


def _of_runs(troubles: Iterable[Trouble], database: str, now: datetime, ui_url: str | None) -> Iterator[Condition]:
    base = (ui_url or "").rstrip("/")
    for one in (one for one in troubles if not one.is_forgotten(now)):
        of_slot = f" for the slot {one.partition}" if one.partition else ""
        what = "the check" if one.kind == "check_failed" else "the run of"
        yield Condition(
            database, one.kind, _subject(one), one.severity,
            title=f"{what} {one.subject} failed{of_slot}",
            cause=one.cause,
            remedy=one.remedy or "open the run, mend the cause, and run it again",
            slot=one.partition,
            link=f"{base}/runs/{one.run_id}" if base else f"run {one.run_id}",
            since=one.at,
        )  # fmt: skip


def _of_objectives(figures: DatabaseFigures) -> Iterator[Condition]:
    has_further = len(figures.stores) > 1
    for objective in figures.objectives:
        if objective.state not in ("warn", "broken") or objective.name not in TOLD:
            continue
        if objective.name in OF_FURTHER_STORES and not has_further:
            continue
        yield _of_objective(objective, figures.database)


def _of_objective(objective: Objective, database: str) -> Condition:
    told = TOLD[objective.name]
    is_broken = objective.state == "broken"
    return Condition(
        database,
        told.kind,
        objective.name if told.kind == "copies" else "",
        "error" if is_broken else "warn",
        title=told.broken if is_broken else told.warn,
        cause=objective.text,
        remedy=told.remedy,
    )


def _of_stores(figures: DatabaseFigures) -> Iterator[Condition]:
    for store in figures.stores:
        if store.error:
            yield Condition(
                figures.database, "store_unreachable", store.name, "error",
                title=f"the store {store.name} did not answer",
                cause=store.error,
                remedy="`backup-assets doctor` says what it needs",
            )  # fmt: skip
        elif store.late and store.kind != "local":
            yield Condition(
                figures.database, "copy_late", store.name, "error",
                title=f"the copy in {store.name} is late",
                cause=store.late,
                remedy="look at the last run of the copy; materialize its asset for the slots that are missing",
            )  # fmt: skip
        if store.damaged:
            yield Condition(
                figures.database, "sets_damaged", store.name, "error",
                title=f"{store.damaged} manifests or records in {store.name} cannot be read",
                cause="they are damaged, or were written by a newer version",
                remedy=f"`backup-assets list --store {store.name}` names them",
            )  # fmt: skip


def _of_facts(facts: Facts, database: str) -> Iterator[Condition]:
    for blocked in facts.blocked or ():
        yield Condition(
            database, "retention_blocked", blocked.store, "warn",
            title=f"the retention deletes nothing in {blocked.store}",
            cause=blocked.why,
            remedy=f"`backup-assets prune --store {blocked.store}` says what each set waits for (docs/retention.md)",
        )  # fmt: skip
    for concern in facts.encryption or ():
        yield Condition(
            database, "encryption_key", concern.key, concern.severity,
            title="the encryption needs attention", cause=concern.what, remedy=concern.remedy,
        )  # fmt: skip


def _undecided(figures: DatabaseFigures, facts: Facts) -> Iterator[str]:
    name = figures.database
    for objective in figures.objectives:
        if objective.state == "unknown" and objective.name in TOLD:
            kind = TOLD[objective.name].kind
            yield key_of(name, kind, objective.name if kind == "copies" else "")
    for store in figures.stores:
        if store.error:
            for kind in ("copy_late", "sets_damaged"):
                yield key_of(name, kind, store.name)
    if any(store.error for store in figures.stores):
        yield key_of(name, "slot_missed")
    if facts.blocked is None:
        yield key_of(name, "retention_blocked")
    for store in facts.unknown_stores:
        yield key_of(name, "retention_blocked", store)
    if facts.encryption is None:
        yield key_of(name, "encryption_key")
