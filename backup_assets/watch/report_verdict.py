"""Was the month good, why not, and what is to be done next?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from backup_assets.named_stores import LOCAL
from backup_assets.watch.growth import Full, Line, full_after, line_through
from backup_assets.watch.known_sets import KnownSet
from backup_assets.watch.report import MonthReport

Verdict = Literal["good", "attention", "bad"]
Value = str | int | float | datetime
FindingCode = Literal[
    "no_slots",
    "no_set",
    "rpo_broken",
    "no_proof",
    "failed_last",
    "drill_failed",
    "store_silent",
    "objective_broken",
    "missed",
    "unknown",
    "failed",
    "unproven",
    "proof_late",
    "rto_broken",
    "no_drill",
    "not_copied",
    "lost",
    "damaged",
    "store_full",
]
_DAY = timedelta(days=1)
#: How far ahead a store that fills up is worth a word.
FULL_WITHIN_DAYS = 90
#: Sizes of so many days before the end of the month are looked at for the growth.
GROWTH_DAYS = 90
#: Of the objectives of today: what the month itself does not tell.
_OF_TODAY = (
    "rpo", "off_site", "verified", "three_copies", "two_media", "one_off_site", "important_tables", "infrastructure",
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One thing that was not as it should be; ``values`` fill the sentences of its code, in hours, days and counts."""

    code: FindingCode
    severity: Literal["attention", "bad"]
    values: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class StoreGrowth:
    """How what a store holds grew: moments with bytes; and when its free space is used up, where it tells that."""

    name: str
    totals: tuple[tuple[datetime, int], ...]
    line: Line | None
    free_bytes: int | None
    full: Full | None


def findings(report: MonthReport, growth: tuple[StoreGrowth, ...] = ()) -> tuple[Finding, ...]:
    """Return everything that was not as it should be, the worst first."""
    found = [*_of_slots(report), *_of_promises(report), *_of_stores(report), *_of_growth(report, growth)]
    return tuple(sorted(found, key=lambda one: one.severity != "bad"))


def verdict(found: tuple[Finding, ...]) -> Verdict:
    """Return the verdict that follows from the findings."""
    if any(one.severity == "bad" for one in found):
        return "bad"
    return "attention" if found else "good"


def size_line(report: MonthReport) -> Line | None:
    """Return the line through the sizes of the sets up to the end of the month; days count from that end."""
    since = report.end - GROWTH_DAYS * _DAY
    recent = [one for one in report.all_sets if one.complete and since <= one.taken_at < report.end]
    return line_through([((one.taken_at - report.end) / _DAY, float(one.size_bytes)) for one in recent])


def growth_of_stores(report: MonthReport) -> tuple[StoreGrowth, ...]:
    """Return how the stores grew of which every deletion is known: the local one and those that tell their space."""
    return tuple(
        _growth(report, store.name, store.free_bytes)
        for store in report.stores
        if store.name == LOCAL or (store.free_bytes is not None and not store.error)
    )


def _growth(report: MonthReport, name: str, free_bytes: int | None) -> StoreGrowth:
    first = min((one.taken_at for one in report.all_sets), default=report.end)
    begin = max(first, report.end - GROWTH_DAYS * _DAY)
    moments = [report.end - number * _DAY for number in range(int((report.end - begin) / _DAY), -1, -1)]
    changes = sorted(change for one in report.all_sets for change in _changes(one, name))
    totals: list[tuple[datetime, int]] = []
    total = place = 0
    for moment in moments:
        while place < len(changes) and changes[place][0] <= moment:
            total += changes[place][1]
            place += 1
        totals.append((moment, total))
    line = line_through([((moment - report.end) / _DAY, float(size)) for moment, size in totals])
    full = full_after(line, free_bytes) if line is not None and free_bytes is not None and report.is_recent else None
    return StoreGrowth(name, tuple(totals), line, free_bytes, full)


def _changes(one: KnownSet, name: str) -> Iterator[tuple[datetime, int]]:
    if name not in one.stores and name not in one.gone:
        return
    yield (one.copied.get(name) or one.taken_at), one.size_bytes
    if name in one.gone:
        yield one.gone[name], -one.size_bytes


def _of_slots(report: MonthReport) -> Iterator[Finding]:
    over = [slot for slot in report.slots if slot.state != "due"]
    good = [one for one in report.sets if one.is_good]
    if not over and not report.sets:
        yield Finding("no_slots", "attention" if not report.is_over else "bad")
        return
    if not good:
        yield Finding("no_set", "bad")
    elif not any(one.proven_at for one in good):
        yield Finding("no_proof", "bad")
    failed = [slot for slot in over if slot.state == "failed"]
    if failed:
        # With no better set after it, the database is without a good backup of that time on.
        last = all(slot.state in ("failed", "missed", "unknown") for slot in over if slot.key >= failed[-1].key)
        code: FindingCode = "failed_last" if last else "failed"
        yield Finding(code, "bad" if last else "attention", {"n": len(failed), "slot": failed[-1].key})
    if missed := [slot for slot in over if slot.state == "missed"]:
        yield Finding("missed", "attention", {"n": len(missed), "slot": missed[0].key})
    if unknown := report.count("unknown"):
        yield Finding("unknown", "attention", {"n": unknown})
    # One of today may still be waiting for its proof.
    unproven = [slot for slot in over if slot.state == "taken" and report.made_at - slot.due_at > _DAY]
    if unproven and any(one.proven_at for one in good):
        yield Finding("unproven", "attention", {"n": len(unproven)})


def _of_promises(report: MonthReport) -> Iterator[Finding]:
    rpo, proof, rto = report.promise("rpo"), report.promise("verified"), report.promise("rto")
    if rpo.state == "broken" and report.gap is not None:
        values: dict[str, Value] = {"hours": report.gap.hours, "wanted": rpo.wanted, "since": report.gap.since}
        yield Finding("rpo_broken", "bad", values)
    if proof.state == "broken" and proof.measured is not None:
        yield Finding("proof_late", "attention", {"hours": proof.measured, "wanted": proof.wanted})
    if rto.state == "broken" and rto.measured is not None:
        yield Finding("rto_broken", "attention", {"hours": rto.measured, "wanted": rto.wanted})
    if report.drills and not report.drills[-1].passed:
        yield Finding("drill_failed", "bad", {"store": report.drills[-1].store, "at": report.drills[-1].at})
    elif not report.drills and report.further and report.is_over:
        yield Finding("no_drill", "attention")


def _of_stores(report: MonthReport) -> Iterator[Finding]:
    for store in report.stores:
        if store.error:
            # Of the local one nothing is known then, and that is most of what a report is made of.
            severity: Literal["attention", "bad"] = "bad" if store.name == LOCAL else "attention"
            yield Finding("store_silent", severity, {"store": store.name})
        elif store.got < store.wanted and store.name != LOCAL:
            none = store.got == 0
            values: dict[str, Value] = {"store": store.name, "n": store.wanted - store.got, "of": store.wanted}
            yield Finding("not_copied", "bad" if none and store.off_site else "attention", values)
        if store.lost:
            yield Finding("lost", "attention", {"store": store.name, "n": store.lost})
        if store.damaged:
            yield Finding("damaged", "attention", {"store": store.name, "n": store.damaged})
    if report.is_recent:
        for objective in report.figures.broken:
            if objective.name in _OF_TODAY:
                yield Finding("objective_broken", "bad", {"objective": objective.name})


def _of_growth(report: MonthReport, growth: tuple[StoreGrowth, ...]) -> Iterator[Finding]:
    for store in growth:
        if store.full is None or store.full.likely is None or store.full.likely > FULL_WITHIN_DAYS:
            continue
        severity: Literal["attention", "bad"] = "bad" if store.full.likely < 7 else "attention"
        at = report.made_at + store.full.likely * _DAY
        yield Finding("store_full", severity, {"store": store.name, "at": at})
