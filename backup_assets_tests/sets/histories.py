"""Histories of sets for the retention, and their plans as the pages below `retention/` show them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from backup_assets.sets.backup_set import BackupSet, Damage
from backup_assets.sets.manifest import Hold, Manifest
from backup_assets.sets.records import Record
from backup_assets.sets.retention import plan
from backup_assets.sets.retention_plan import Line, RetentionPlan
from backup_assets.sets.retention_policy import Elsewhere, RetentionPolicy
from backup_assets.sets.servers import ServerIdentity
from backup_assets_tests.sets.examples import a_manifest, a_verification

PAGES = Path(__file__).with_name("retention")
TOKYO = ZoneInfo("Asia/Tokyo")
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
#: In every history the last nightly backup was taken at 02:00 and proven an hour later; now it is noon of a Sunday.
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=TOKYO)
NIGHT = datetime(2026, 11, 22, 2, 0, tzinfo=TOKYO)
NOTHING_ELSEWHERE = Elsewhere()
POLICY = RetentionPolicy(zone=TOKYO, rpo=24 * HOUR)
#: The policy without the brake on large shares: for rules that are looked at one at a time.
UNBRAKED = replace(POLICY, largest_share=1.0)
State = Literal["verified", "complete", "failed", "incomplete"]


def a_set(
    taken_at: datetime,
    state: State = "verified",
    *,
    full: BackupSet | None = None,
    hold: str | None = None,
    until: datetime | None = None,
    kind: Literal["full", "important_tables"] = "full",
    store: str = "local",
    run: str = "1a2b3c4d",
    server: ServerIdentity | None = None,
) -> BackupSet:
    """Return a set; one that is verified or failed was looked at an hour after it was taken."""
    manifest = a_manifest(
        taken_at.astimezone(UTC),
        kind=kind,
        full_set=full.id if full else None,
        hold=Hold(reason=hold, until=until) if hold else None,
        run=run,
        tables=0,
        server=server,
    )
    return as_found(manifest, state, store=store)


def as_found(manifest: Manifest, state: State, *, store: str = "local") -> BackupSet:
    """Return the set of a manifest in a state."""
    looked = manifest.snapshot.taken_at + HOUR
    records: tuple[Record, ...] = ()
    if state in {"verified", "failed"}:
        records = (a_verification(manifest.id, at=looked, passed=state == "verified", store=store),)
    faults = (f"db/{manifest.id}.dump is missing",) if state == "incomplete" else ()
    return BackupSet(manifest, records, faults)


def nightly(days: int, *, last: datetime = NIGHT) -> list[BackupSet]:
    """Return a verified set of every night, the newest first."""
    return [a_set(last - day * DAY) for day in range(days)]


@dataclass(frozen=True)
class History:
    """What a page shows: its words, what is there, and what the plan is given."""

    words: str
    sets: Sequence[BackupSet]
    policy: RetentionPolicy = POLICY
    now: datetime = NOW
    elsewhere: Elsewhere = NOTHING_ELSEWHERE
    damaged: Sequence[Damage] = ()

    def plan(self) -> RetentionPlan:
        return plan(self.sets, self.policy, self.now, elsewhere=self.elsewhere, damaged=self.damaged)


def every_six_hours() -> History:
    sets = [a_set(NIGHT.replace(hour=6) - number * 6 * HOUR) for number in range(12 * 4)]
    policy = replace(POLICY, rpo=6 * HOUR, largest_share=1.0)
    words = (
        "An important database, backed up every six hours for twelve days: all sets of the last two days, then daily."
    )
    return History(words, sets, policy)


def differentials() -> History:
    sets: list[BackupSet] = []
    full: BackupSet | None = None
    for day in range(40):
        taken_at = NIGHT - 39 * DAY + day * DAY
        one = a_set(taken_at, full=None if day % 7 == 0 else full)
        full = one if day % 7 == 0 else full
        sets.append(one)
    words = (
        "A full archive of the attachments every seventh night, differentials between: what a kept set needs is kept."
    )
    return History(words, sets, replace(UNBRAKED, daily=5, weekly=3, monthly=1))


def holds() -> History:
    before = a_set(datetime(2025, 9, 10, 12, 0, tzinfo=TOKYO), hold="before release 4.2")
    audit = a_set(datetime(2025, 9, 11, 2, 0, tzinfo=TOKYO), hold="audit", until=NOW + 30 * DAY)
    over = a_set(datetime(2025, 9, 12, 2, 0, tzinfo=TOKYO), hold="audit", until=NOW - DAY)
    far = a_set(datetime(2025, 9, 13, 2, 0, tzinfo=TOKYO))
    words = (
        "Old sets that are held: without an end, until a day to come, until yesterday, and one that is held in another "
        "store. A week of nightly sets before now."
    )
    elsewhere = Elsewhere(held={far.id: "after release 4.2"})
    return History(
        words,
        [*nightly(7), before, audit, over, far],
        replace(UNBRAKED, daily=7, weekly=1, monthly=1),
        elsewhere=elsewhere,
    )


def failed_and_incomplete() -> History:
    sets = nightly(12)
    states: dict[int, State] = {2: "incomplete", 3: "failed", 8: "incomplete", 9: "failed", 11: "complete"}
    for day, state in states.items():
        sets[day] = a_set(NIGHT - day * DAY, state)
    sets.append(a_set(NIGHT - 8 * DAY + 5 * HOUR))
    words = (
        "Sets that lost a file or failed their verification do not count. They stay for seven days, and longer as the "
        "only set of a kept day; then they go, because a newer set is verified."
    )
    return History(words, sets, replace(UNBRAKED, daily=5, weekly=1, monthly=1))


def damaged_manifest() -> History:
    history = differentials()
    lost = next(one for one in history.sets if one.taken_at == NIGHT - 17 * DAY)
    sets = [one for one in history.sets if one is not lost]
    words = (
        "The same nights as in differentials.txt, but one manifest cannot be read: nobody knows which full archive its "
        "set needs, so none goes."
    )
    return History(words, sets, history.policy, damaged=[Damage("key", lost.id, "manifest", "it is damaged")])


def pruned_by_age() -> History:
    sets = [a_set(NIGHT - day * DAY) for day in range(0, 50, 5)]
    words = "Another host, with `keep_days` 30: by age alone."
    return History(words, sets, replace(POLICY, keep_days=30))


def important_tables() -> History:
    sets = [
        a_set(NIGHT.replace(hour=3) - week * 7 * DAY, kind="important_tables", run="0b0b0b0b") for week in range(20)
    ]
    words = "Weekly sets of the important tables are planned on their own, beside the nightly ones."
    return History(words, [*nightly(3), *sets], replace(UNBRAKED, weekly=4, monthly=2))


def from_the_future(*, held: bool) -> History:
    future = a_set(NIGHT + 300 * DAY, hold="taken while the clock was wrong" if held else None)
    after = (
        "It is held, so somebody has looked at it: the others are planned without it."
        if held
        else "Until somebody has looked, nothing goes."
    )
    return History(f"A set that was taken 300 days from now. {after}", [future, *nightly(20)])


def unverified_newest() -> History:
    sets = [*(a_set(NIGHT - day * DAY, "complete") for day in range(3)), *nightly(20, last=NIGHT - 3 * DAY)]
    return History("Backups are taken every night, but for three nights none was verified.", sets)


HISTORIES: dict[str, Callable[[], History]] = {
    "a_month_of_daily_sets": lambda: History("A verified set of every night, for a month.", nightly(31)),
    "a_year_of_daily_sets": lambda: History(
        "A verified set of every night for a year, when retention is introduced and its first run is allowed.",
        nightly(366),
        UNBRAKED,
    ),
    "an_important_database_every_six_hours": every_six_hours,
    "differentials": differentials,
    "holds": holds,
    "failed_and_incomplete_sets": failed_and_incomplete,
    "a_damaged_manifest": damaged_manifest,
    "pruned_by_age_alone": pruned_by_age,
    "important_tables": important_tables,
    "unverified_newest": unverified_newest,
    "older_than_its_rpo": lambda: History(
        "Backups have failed for two nights: what is there may be all that is left.", nightly(20, last=NIGHT - 2 * DAY)
    ),
    "from_the_future": lambda: from_the_future(held=False),
    "from_the_future_and_held": lambda: from_the_future(held=True),
    "too_large_a_share": lambda: History("The first run after a year without retention.", nightly(366)),
}


def page_of(history: History) -> str:
    """Return a page: its words, what stops everything, and the decisions with runs of equal ones in one line."""
    made = history.plan()
    lines = [history.words, "", f"now: {_local(history.now)} (Asia/Tokyo)"]
    lines += [f"nothing is deleted: {reason.text}" for reason in made.blocked]
    lines += [f"cannot be read: {set_id}" for set_id in made.damaged]
    lines += [f"{len(made.kept)} sets stay, {len(made.deleted)} go", ""]
    for _, run in groupby(made.lines, key=_alike):
        lines.append(_told(list(run)))
    return "\n".join(lines) + "\n"


def _alike(line: Line) -> object:
    plain = line.decision == "delete" or line.codes == {"blocked"}
    return (line.codes, line.set.manifest.kind) if plain else line.set.id


def _told(lines: Sequence[Line]) -> str:
    first, last = lines[0], lines[-1]
    reasons = "; ".join(reason.text for reason in first.reasons)
    kind = " (important tables)" if first.set.manifest.kind == "important_tables" else ""
    if len(lines) > 1:
        reasons = f"{len(lines)} sets{kind} since {_local(last.set.taken_at)}: {reasons}"
        kind = ""
    return f"{first.decision:6} {_local(first.set.taken_at)}{kind}  {reasons}"


def _local(moment: datetime) -> str:
    return f"{moment.astimezone(TOKYO):%a %Y-%m-%d %H:%M}"


def write_pages(names: Iterable[str] = HISTORIES) -> None:
    """Write the pages anew: look at what changed before it is kept."""
    PAGES.mkdir(exist_ok=True)
    for name in names:
        (PAGES / f"{name}.txt").write_text(page_of(HISTORIES[name]()), encoding="utf-8")


if __name__ == "__main__":
    write_pages()
