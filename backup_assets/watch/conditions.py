"""What is wrong with the backups of one database now, as one sentence of cause, of what is safe, and of what to do?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from backup_assets.watch.alert_words import IN_ENGLISH, AlertWords
from backup_assets.watch.figures import DatabaseFigures, Objective, ObjectiveName, SetFigures, StoreFigures
from backup_assets.watch.kinds import DUE_LATER, OF_FURTHER_STORES, OF_RECORDS, TOLD, Kind, Severity
from backup_assets.watch.troubles import Trouble

#: What is about the watch itself and about no database; no database can bear this name.
THE_WATCH = "the-watch"
#: The subject of `not_measured` where the figures are known, and what is looked at beside them is not.
FACTS = "facts"
#: What vanished is told after so long: the stores are looked at side by side, and a deletion can begin in between.
_VANISHED_FOR = timedelta(hours=1)
#: So many sets are named.
_MOST_NAMED = 3


@dataclass(frozen=True)
class Condition:
    """Something that is wrong now.

    ``database``, ``kind`` and ``subject`` (a store, a job with its slot) tell it from others and stay the same while
    it holds. Every text is a sentence or empty. What is not ``lasting`` is an event: it is told once, without reminders
    and without a word when it is over. What has ``patience`` is told once it has been so for as long.
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
    patience: timedelta = timedelta()

    @property
    def key(self) -> str:
        """What makes it the same condition in the next look."""
        return key_of(self.database, self.kind, self.subject)


@dataclass(frozen=True)
class Found:
    """What a look found. Keys among ``undecided`` could not be judged: nothing about them is over.

    One that ends with `:` or `/` stands for every key that begins so, any other for itself alone. Those in ``dropped``
    are no longer told, which does not mean that they are over.
    """

    conditions: tuple[Condition, ...] = ()
    undecided: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    def is_undecided(self, key: str) -> bool:
        """Return whether a condition with this key may hold, although it was not found."""
        # Not by their beginnings alone: the store `s3` says nothing about `s3_osaka`.
        return any(key.startswith(one) if one.endswith((":", "/")) else key == one for one in self.undecided)


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
class Expiring:
    """A hold that a store does not keep: the held set, the store, and one sentence with the day."""

    set_id: str
    store: str
    why: str


@dataclass(frozen=True)
class Facts:
    """What is looked at beside the figures; None, or a name in ``unknown_stores``, is what could not be looked at.

    ``unknown_because`` is one sentence about why nothing could be, empty where the look has only not ended yet.
    """

    blocked: tuple[Blocked, ...] | None = None
    unknown_stores: tuple[str, ...] = ()
    encryption: tuple[Concern, ...] | None = None
    expiring: tuple[Expiring, ...] | None = ()
    unknown_because: str = ""


def no_facts(why: str = "") -> Facts:
    """Return what is known when the look at the facts has not ended (no ``why``), or failed."""
    return Facts(expiring=None, unknown_because=why)


def key_of(database: str, kind: Kind, subject: str = "") -> str:
    """Return the key of a condition; without a subject the beginning of those of its kind."""
    return f"{database}:{kind}:{subject}"


def conditions_of(
    figures: DatabaseFigures,
    troubles: Sequence[Trouble],
    facts: Facts,
    now: datetime,
    *,
    ended: Sequence[Trouble] = (),
    ui_url: str | None = None,
    words: AlertWords = IN_ENGLISH,
) -> Found:
    """Return everything that is wrong with one database, and what could not be judged. ``now`` must be aware.

    ``ended`` are troubles that began and ended since the last look.
    """
    found = [
        *_of_runs(troubles, ended, figures.database, now, ui_url, words),
        *_of_objectives(figures, words),
        *(condition for store in figures.stores for condition in _of_store(store, figures.database, words)),
        *(_of_missed_slot(slot, figures.database, ui_url, words) for slot in figures.missed_slots),
        *_of_facts(facts, figures.database, words),
    ]
    safe = safe_sentence(figures, now, words)
    conditions = tuple(_with_safe(one, safe) for one in found)
    return Found(conditions, tuple(_undecided(figures, facts)), _dropped(troubles, figures.database, now))


def not_measured(
    database: str,
    why: str,
    troubles: Sequence[Trouble],
    now: datetime,
    *,
    ended: Sequence[Trouble] = (),
    ui_url: str | None = None,
    words: AlertWords = IN_ENGLISH,
) -> Found:
    """Return what can be said where the stores could not be looked at: what Dagster told, and that.

    An empty ``why`` means that the look is not finished, which is nothing to tell yet.
    """
    condition = Condition(
        database,
        "not_measured",
        "",
        "error",
        title=words.say("not_measured.title"),
        cause=why,
        safe=words.say("not_measured.safe"),
        remedy=words.say("not_measured.remedy"),
    )
    kinds: tuple[Kind, ...] = (
        "slot_missed", "rpo", "copy_late", "verified", "drill", "rto", "copies", "store_space", "store_unreachable",
        "sets_damaged", "sets_incomplete", "servers_mixed", "important_tables", "infrastructure", "retention_blocked",
        "hold_expires", "encryption_key",
    )  # fmt: skip
    # The facts are looked at after the stores, and so are as little known.
    of_facts = key_of(database, "not_measured", FACTS if why else "")
    undecided = (*(key_of(database, kind) for kind in kinds), of_facts)
    found = (condition,) if why else ()
    conditions = (*found, *_of_runs(troubles, ended, database, now, ui_url, words))
    return Found(conditions, undecided, _dropped(troubles, database, now))


def safe_sentence(figures: DatabaseFigures, now: datetime, words: AlertWords = IN_ENGLISH) -> str:
    """Return which set is good, where, and how old it is."""
    proven = _newest(figures, [store.proven for store in figures.stores])
    newest = _newest(figures, [store.newest for store in figures.stores])
    silent = [store.name for store in figures.stores if store.error]
    if proven is not None:
        text = words.say("safe.proven", set=_told(proven, now, words))
        if newest is not None and newest[0].taken_at > proven[0].taken_at:
            text = words.say("safe.newer", proven=text, set=_told(newest, now, words))
        return text
    if newest is not None:
        return words.say("safe.complete", set=_told(newest, now, words))
    if silent:
        return words.say("safe.unknown", stores=words.join("listed", silent))
    return words.say("safe.nothing")


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


def _told(held: tuple[SetFigures, tuple[str, ...]], now: datetime, words: AlertWords) -> str:
    one, stores = held
    age = words.span((now - one.taken_at).total_seconds())
    return words.say("safe.set", set=one.id, slot=one.slot, age=age, stores=words.join("and", list(stores)))


def _with_safe(condition: Condition, safe: str) -> Condition:
    return condition if condition.safe else replace(condition, safe=safe)


def _dropped(troubles: Iterable[Trouble], database: str, now: datetime) -> tuple[str, ...]:
    return tuple(key_of(database, one.kind, _subject(one)) for one in troubles if one.is_forgotten(now))


def _subject(trouble: Trouble) -> str:
    return f"{trouble.subject}@{trouble.partition}" if trouble.partition else trouble.subject


def _of_runs(
    troubles: Iterable[Trouble],
    ended: Iterable[Trouble],
    database: str,
    now: datetime,
    ui_url: str | None,
    words: AlertWords,
) -> Iterator[Condition]:
    for one in (one for one in troubles if not one.is_forgotten(now)):
        found = _of_run(one, one.kind, database, ui_url, words)
        yield replace(found, remedy=one.remedy or found.remedy)
    for one in (one for one in ended if not one.is_forgotten(now)):
        # A key of its own: under that of a later failure of the same the one would be told as the other's end.
        found = _of_run(one, f"{one.kind}.ended", database, ui_url, words)
        yield replace(found, subject=f"{found.subject}#{one.run_id}", lasting=False)


def _of_run(one: Trouble, key: str, database: str, ui_url: str | None, words: AlertWords) -> Condition:
    base = _base(ui_url)
    title = f"{key}.title.slot" if one.partition else f"{key}.title"
    return Condition(
        database, one.kind, _subject(one), one.severity,
        title=words.say(title, subject=one.subject, slot=one.partition),
        cause=one.cause,
        remedy=words.say(f"{key}.remedy"),
        slot=one.partition,
        link=f"{base}/runs/{one.run_id}" if base else words.say("run_failed.link", run=one.run_id),
        since=one.at,
    )  # fmt: skip


def _of_objectives(figures: DatabaseFigures, words: AlertWords) -> Iterator[Condition]:
    has_further = len(figures.stores) > 1
    for objective in figures.objectives:
        if objective.state not in ("warn", "broken") or objective.name not in TOLD:
            continue
        if objective.name in OF_FURTHER_STORES and not has_further:
            continue
        yield _of_objective(objective, figures.database, words)


def _of_objective(objective: Objective, database: str, words: AlertWords) -> Condition:
    kind = TOLD[objective.name]
    severity: Severity = "error" if objective.state == "broken" else "warn"
    patience = timedelta()
    if objective.name in DUE_LATER and objective.measured is None:
        severity, patience = "error", timedelta(hours=objective.wanted or 0)
    return Condition(
        database,
        kind,
        objective.name if kind == "copies" else "",
        severity,
        title=words.say(f"{objective.name}.title.{severity}"),
        cause=objective.text,
        remedy=words.say(f"{objective.name}.remedy", database=database),
        patience=patience,
    )


def _of_store(store: StoreFigures, database: str, words: AlertWords) -> Iterator[Condition]:
    def told(kind: Kind, cause: str, n: int = 0) -> Condition:
        title = words.say(f"{kind}.title", store=store.name, n=n)
        remedy = words.say(f"{kind}.remedy", store=store.name)
        return Condition(database, kind, store.name, "error", title=title, cause=cause, remedy=remedy)

    if store.error:
        yield told("store_unreachable", store.error)
    elif store.late and store.kind != "local":
        yield told("copy_late", store.late)
    if store.damaged:
        yield told("sets_damaged", words.say("sets_damaged.cause"), store.damaged)
    if store.servers:
        yield told("servers_mixed", words.join("sentences", list(store.servers)), len(store.servers))
    if store.lost or store.vanished:
        yield _of_losses(store, database, words)


def _of_losses(store: StoreFigures, database: str, words: AlertWords) -> Condition:
    vanished = store.vanished or ()
    causes = [
        words.say(f"sets_incomplete.{what}", n=len(ids), names=_named(ids, words))
        for what, ids in (("lost", store.lost), ("vanished", vanished))
        if ids
    ]
    where = "local" if store.kind == "local" else "further"
    return Condition(
        database, "sets_incomplete", store.name, "error",
        title=words.say("sets_incomplete.title", store=store.name, n=len(store.lost) + len(vanished)),
        cause=words.join("sentences", causes),
        remedy=words.say(f"sets_incomplete.remedy.{where}", store=store.name),
        patience=timedelta() if store.lost else _VANISHED_FOR,
    )  # fmt: skip


def _named(ids: Sequence[str], words: AlertWords) -> str:
    return words.join("listed", [*ids[:_MOST_NAMED], *(["…"] if len(ids) > _MOST_NAMED else [])])


def _of_missed_slot(slot: str, database: str, ui_url: str | None, words: AlertWords) -> Condition:
    base = _base(ui_url)
    return Condition(
        database, "slot_missed", slot, "error",
        title=words.say("slot_missed.title", slot=slot),
        cause=words.say("slot_missed.cause"),
        remedy=words.say("slot_missed.remedy"),
        slot=slot,
        link=f"{base}/assets/{database}/metadata?view=events" if base else "",
        lasting=False,
    )  # fmt: skip


def _of_facts(facts: Facts, database: str, words: AlertWords) -> Iterator[Condition]:
    if facts.unknown_because:
        yield Condition(
            database, "not_measured", FACTS, "error",
            title=words.say("not_measured.facts.title"),
            cause=facts.unknown_because,
            remedy=words.say("not_measured.facts.remedy"),
        )  # fmt: skip
    for blocked in facts.blocked or ():
        yield Condition(
            database, "retention_blocked", blocked.store, "warn",
            title=words.say("retention_blocked.title", store=blocked.store),
            cause=blocked.why,
            remedy=words.say("retention_blocked.remedy", store=blocked.store),
        )  # fmt: skip
    for one in facts.expiring or ():
        yield Condition(
            database, "hold_expires", f"{one.store}/{one.set_id}", "warn",
            title=words.say("hold_expires.title", store=one.store),
            cause=one.why,
            remedy=words.say("hold_expires.remedy"),
        )  # fmt: skip
    for concern in facts.encryption or ():
        yield Condition(
            database, "encryption_key", concern.key, concern.severity,
            title=words.say("encryption_key.title"), cause=concern.what, remedy=concern.remedy,
        )  # fmt: skip


def _base(ui_url: str | None) -> str:
    return (ui_url or "").rstrip("/")


def _hides(name: ObjectiveName, stores: Iterable[StoreFigures]) -> bool:
    """Return whether an objective may look met only because a store that tells otherwise does not answer."""
    silent = [store for store in stores if store.error]
    if name in OF_RECORDS and any(store.kind == "local" for store in silent):
        return True
    # One that denies this role its documents never told anything.
    may_tell = [store for store in silent if not store.denied]
    if name == "store_space":
        return any(store.kind != "s3" for store in may_tell)  # a bucket has room
    # That a copy failed its verification lies beside it.
    return name in (*DUE_LATER, "verified") and bool(may_tell)


def _undecided(figures: DatabaseFigures, facts: Facts) -> Iterator[str]:
    name = figures.database
    for objective in figures.objectives:
        met_by_silence = objective.state == "met" and _hides(objective.name, figures.stores)
        if (objective.state == "unknown" or met_by_silence) and objective.name in TOLD:
            kind = TOLD[objective.name]
            yield key_of(name, kind, objective.name if kind == "copies" else "")
    for store in figures.stores:
        if store.error:
            for kind in ("copy_late", "sets_damaged", "servers_mixed"):
                yield key_of(name, kind, store.name)
        if store.error or (store.vanished is None and not store.lost):
            yield key_of(name, "sets_incomplete", store.name)
    if any(store.error for store in figures.stores):
        yield key_of(name, "slot_missed")
    if facts.blocked is None and not facts.unknown_because:
        yield key_of(name, "not_measured", FACTS)
    if facts.blocked is None:
        yield key_of(name, "retention_blocked")
    if facts.expiring is None:
        yield key_of(name, "hold_expires")
    for store in facts.unknown_stores:
        yield key_of(name, "retention_blocked", store)
        yield key_of(name, "hold_expires", f"{store}/")
    if facts.encryption is None:
        yield key_of(name, "encryption_key")
