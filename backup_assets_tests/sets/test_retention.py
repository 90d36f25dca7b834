"""The retention plan: its pages, its floors, and what holds for every history that a store may have.

The general rules are looked at in twenty thousand histories from a seeded generator: they come out alike every time,
and cost a fraction of a search for small examples. Hypothesis looks at clocks and calendars, where the ends matter.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_assets.sets.backup_set import BackupSet, Damage
from backup_assets.sets.manifest import Hold
from backup_assets.sets.records import HoldRecord
from backup_assets.sets.retention import plan
from backup_assets.sets.retention_plan import Line, RetentionPlan
from backup_assets.sets.retention_policy import Elsewhere, RetentionPolicy, known_elsewhere
from backup_assets.sets.servers import ServerIdentity
from backup_assets_tests.sets.examples import a_manifest, a_verification
from backup_assets_tests.sets.histories import (
    DAY,
    HISTORIES,
    HOUR,
    NIGHT,
    NOW,
    PAGES,
    POLICY,
    TOKYO,
    UNBRAKED,
    State,
    a_set,
    as_found,
    nightly,
    page_of,
)

MADE_HISTORIES = 20_000
OURS, COPY = ServerIdentity("7000", 1), ServerIdentity("8000", 1)


def line_of(made: RetentionPlan, one: BackupSet) -> Line:
    return next(line for line in made.lines if line.set.id == one.id)


def codes(made: RetentionPlan, one: BackupSet) -> frozenset[str]:
    return line_of(made, one).codes


def blocked(made: RetentionPlan) -> list[str]:
    return [reason.code for reason in made.blocked]


def of_server(server: ServerIdentity | None, days: int, *, hour: int, last: datetime = NIGHT) -> list[BackupSet]:
    """Return a verified set of every day at one hour, the newest first."""
    return [a_set(last.replace(hour=hour) - day * DAY, server=server, run=f"0000000{hour}") for day in range(days)]


# -- pages -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HISTORIES)
def test_a_plan_reads_as_its_page_says(name: str) -> None:
    """After a change that is meant: ``python -m backup_assets_tests.sets.histories``, and look at every difference."""
    assert page_of(HISTORIES[name]()) == (PAGES / f"{name}.txt").read_text(encoding="utf-8")


def test_every_page_has_a_history() -> None:
    assert {path.stem for path in PAGES.iterdir()} == set(HISTORIES)


# -- rules one by one ------------------------------------------------------------------------------------------------


def test_nothing_gives_an_empty_plan_that_blocks_nothing() -> None:
    assert plan([], POLICY, NOW) == RetentionPlan(())


def test_totals_are_the_sizes_of_what_stays_and_what_goes() -> None:
    made = HISTORIES["a_month_of_daily_sets"]().plan()
    each = made.lines[0].set.manifest.size_bytes
    assert (made.kept_bytes, made.freed_bytes) == (18 * each, 13 * each)


def test_a_blocked_plan_has_no_line_that_says_delete() -> None:
    made = HISTORIES["too_large_a_share"]().plan()
    assert (blocked(made), made.deleted, made.freed_bytes) == (["too_large_a_share"], (), 0)
    assert sum("blocked" in line.codes for line in made.lines) == 335


def test_up_to_three_sets_may_go_whatever_their_share() -> None:
    policy = replace(POLICY, daily=1, weekly=1, monthly=1, all_for=timedelta())
    three, four = nightly(4), nightly(5)
    assert len(plan(three, policy, NOW).deleted) == 3
    assert blocked(plan(four, policy, NOW)) == ["too_large_a_share"]


def test_the_newest_set_waits_for_its_proof_as_long_as_the_grace_lasts() -> None:
    sets = [a_set(NOW - 24 * HOUR, "complete"), *nightly(20, last=NIGHT - 2 * DAY)]
    assert plan(sets, POLICY, NOW).blocked == ()
    assert blocked(plan(sets, replace(POLICY, rpo=25 * HOUR), NOW + timedelta(seconds=1))) == ["unverified"]


def test_sets_that_come_faster_than_the_grace_passes_do_not_hide_that_none_is_verified() -> None:
    sets = [a_set(NOW - number * HOUR, "complete") for number in range(48)] + nightly(20, last=NIGHT - 3 * DAY)
    assert blocked(plan(sets, POLICY, NOW)) == ["unverified"]


def test_a_newest_set_that_failed_its_verification_stops_everything_at_once() -> None:
    sets = [a_set(NOW - 2 * HOUR, "failed"), *nightly(20, last=NIGHT - DAY)]
    assert blocked(plan(sets, POLICY, NOW)) == ["verification_failed"]


def test_an_incomplete_newest_set_does_not_make_the_backup_look_recent() -> None:
    sets = [a_set(NIGHT, "incomplete"), *nightly(20, last=NIGHT - DAY)]
    made = plan(sets, POLICY, NOW)
    assert blocked(made) == ["older_than_rpo"]
    assert "newest" in codes(made, sets[0])
    assert "newest_complete" in codes(made, sets[1])


def test_of_two_servers_under_one_name_each_keeps_what_it_would_keep_alone() -> None:
    ours, copys = of_server(OURS, 400, hour=2), of_server(COPY, 400, hour=3)
    together = {one.id for one in plan([*ours, *copys], UNBRAKED, NOW).kept}
    for one_server in (ours, copys):
        alone = plan(one_server, UNBRAKED, NOW)
        assert len(alone.deleted) > 300
        assert {one.id for one in alone.kept} == together & {one.id for one in one_server}
    nobody_tells = [*of_server(None, 400, hour=2), *of_server(None, 400, hour=3)]
    assert len(plan(nobody_tells, UNBRAKED, NOW).kept) < len(together)


def test_a_server_whose_backups_stopped_keeps_its_sets_beside_one_that_goes_on() -> None:
    stopped = of_server(OURS, 60, hour=2, last=NIGHT - 40 * DAY)
    going_on = of_server(COPY, 120, hour=3)
    kept = {one.id for one in plan([*stopped, *going_on], UNBRAKED, NOW).kept}
    assert {one.id for one in stopped[:14]} <= kept


def test_a_server_that_replaced_another_changes_nothing_in_the_plan() -> None:
    for successor in (COPY, OURS._replace(timeline=2)):
        moved = [*of_server(successor, 10, hour=2), *of_server(OURS, 60, hour=2, last=NIGHT - 10 * DAY)]
        same = of_server(OURS, 70, hour=2)
        assert [one.id for one in plan(moved, UNBRAKED, NOW).deleted] == [
            one.id for one in plan(same, UNBRAKED, NOW).deleted
        ]


def test_without_any_complete_set_nothing_goes() -> None:
    made = plan([a_set(NIGHT - day * DAY, "incomplete") for day in range(40)], POLICY, NOW)
    assert (blocked(made), made.deleted) == (["no_complete_set"], ())


def test_sets_of_the_important_tables_alone_are_no_backup_of_the_database() -> None:
    made = plan([a_set(NIGHT - day * DAY, kind="important_tables") for day in range(90)], UNBRAKED, NOW)
    assert (blocked(made), made.deleted) == (["no_complete_set"], ())


def test_what_was_never_proven_is_not_deleted_before_something_is() -> None:
    sets = [a_set(NIGHT - day * DAY, "complete") for day in range(40)]
    policy = replace(UNBRAKED, grace=9999 * DAY)
    assert plan(sets, policy, NOW).deleted == ()
    proven = [a_set(NIGHT), *sets[1:]]
    assert len(plan(proven, replace(policy, daily=1, weekly=1, monthly=1, all_for=timedelta()), NOW).deleted) == 39


def test_the_verified_set_of_a_day_is_kept_before_a_newer_one_that_is_not() -> None:
    day = NIGHT - 5 * DAY
    verified, later = a_set(day), a_set(day + HOUR, "complete", run="0b0b0b0b")
    made = plan([*nightly(4), verified, later], UNBRAKED, NOW)
    assert "daily" in codes(made, verified)
    assert line_of(made, later).decision == "delete"
    assert codes(made, later) == {"superseded"}


def test_days_are_local() -> None:
    late = datetime(2026, 11, 10, 14, 59, tzinfo=UTC)  # 23:59 in Tokyo
    before, after = a_set(late), a_set(late + 2 * timedelta(minutes=1), run="0b0b0b0b")
    sets = [*nightly(3), before, after]
    assert all("daily" in codes(plan(sets, UNBRAKED, NOW), one) for one in (before, after))
    assert line_of(plan(sets, replace(UNBRAKED, zone=UTC), NOW), before).decision == "delete"


def test_a_failure_in_another_store_says_nothing_about_this_copy_and_one_here_does() -> None:
    good = a_set(NIGHT - 3 * DAY)
    failed = a_verification(good.id, at=NIGHT - 2 * DAY, passed=False, store="usb")
    known = replace(good, records=(*good.records, failed))
    sets = [*nightly(3), known, *nightly(3, last=NIGHT - 4 * DAY)]
    policy = replace(UNBRAKED, daily=4, weekly=0, monthly=0)

    assert "not counted" not in str(line_of(plan(sets, policy, NOW), known).reasons)
    assert "not counted as daily: failed" in str(line_of(plan(sets, policy, NOW, store="usb"), known).reasons)


def test_a_proof_that_only_another_store_recorded_counts_for_the_equal_copy() -> None:
    sets = [a_set(NIGHT - day * DAY, "complete") for day in range(20)]
    local = nightly(20)
    policy = replace(UNBRAKED, daily=3, weekly=1, monthly=1)

    assert blocked(plan(sets, policy, NOW, store="usb")) == ["unverified"]
    known = known_elsewhere({"local": local}, NOW)
    assert len(plan(sets, policy, NOW, store="usb", elsewhere=known).kept) == 3


def test_the_last_verified_set_of_another_store_stays_here_too() -> None:
    there = [a_set(NIGHT - 30 * DAY, store="usb"), a_set(NIGHT, "incomplete"), a_set(NIGHT + 9 * DAY, store="usb")]
    known = known_elsewhere({"usb": there}, NOW)
    made = plan(nightly(40), replace(UNBRAKED, daily=3, weekly=0, monthly=0), NOW, elsewhere=known)
    assert [line.set.id for line in made.lines if "last_verified_elsewhere" in line.codes] == [there[0].id]


def test_a_pass_from_the_future_does_not_outvote_a_failure_and_costs_the_proven_set_nothing() -> None:
    proven, bad = a_set(NIGHT - DAY), a_set(NIGHT, "failed")
    wrong = a_verification(bad.id, at=NOW.astimezone(UTC) + 20 * HOUR)
    bad = replace(bad, records=(*bad.records, wrong))
    policy = replace(UNBRAKED, daily=1, weekly=0, monthly=0, all_for=0 * DAY)

    made = plan([bad, proven], policy, NOW)

    assert "last_verified" in codes(made, proven)
    assert "last_verified" not in codes(made, bad)
    assert blocked(made) == ["verification_failed"]
    known = known_elsewhere({"local": [bad, proven]}, NOW)
    assert list(known.last_verified) == [proven.id]


def test_a_failure_that_was_recorded_after_a_pass_from_the_future_counts_when_that_time_is_over_too() -> None:
    bad = a_set(NIGHT)
    wrong = a_verification(bad.id, at=NOW.astimezone(UTC) + 20 * HOUR)
    failed = a_verification(bad.id, at=NOW.astimezone(UTC), passed=False)
    failed = failed.model_copy(update={"ordered_at": wrong.order + timedelta(microseconds=1)})
    bad = replace(bad, records=(*bad.records, wrong, failed))
    later = NOW + 21 * HOUR

    made = plan([bad, a_set(NIGHT - DAY)], UNBRAKED, later)

    assert "last_verified" not in codes(made, bad)
    assert "verification_failed" in blocked(made)


def test_a_damaged_hold_holds() -> None:
    old = replace(
        a_set(NIGHT - 400 * DAY), damaged_records=(Damage("meta/x.hold.json", a_set(NIGHT).id, "hold", "damaged"),)
    )
    assert "held" in codes(plan([*nightly(3), old], replace(UNBRAKED, daily=1, weekly=0, monthly=0), NOW), old)


def test_a_hold_record_placed_later_holds_until_its_end() -> None:
    old = a_set(NIGHT - 400 * DAY)
    until = NOW + 5 * DAY
    record = HoldRecord(set_id=old.id, placed_at=NOW - HOUR, reason="audit", until=until, tool_version="0.1.0")
    old = replace(old, records=(*old.records, record))
    policy = replace(UNBRAKED, daily=1, weekly=0, monthly=0, rpo=99 * DAY, grace=99 * DAY)
    assert line_of(plan([*nightly(3), old], policy, until - HOUR), old).decision == "keep"
    assert line_of(plan([*nightly(3), old], policy, until), old).decision == "delete"


def test_a_chain_of_needs_is_kept_whole() -> None:
    first = a_set(NIGHT - 300 * DAY)
    middle = as_found(a_manifest((NIGHT - 299 * DAY).astimezone(UTC), requires=(first.id,), tables=0), "verified")
    last = as_found(a_manifest((NIGHT - 298 * DAY).astimezone(UTC), requires=(middle.id,), tables=0), "verified")
    last = replace(last, manifest=last.manifest.model_copy(update={"hold": Hold(reason="release")}))
    made = plan([*nightly(3), first, middle, last], replace(UNBRAKED, daily=1, weekly=0, monthly=0), NOW)
    assert codes(made, middle) == codes(made, first) == {"required"}
    assert last.id in line_of(made, middle).reasons[0].text


def test_sets_that_need_each_other_or_one_that_is_gone_are_no_endless_walk() -> None:
    one, other = a_set(NIGHT), a_set(NIGHT - DAY)
    loop = [
        replace(one, manifest=one.manifest.model_copy(update={"requires": (other.id, "gone")})),
        replace(other, manifest=other.manifest.model_copy(update={"requires": (one.id,)})),
    ]
    assert len(plan(loop, POLICY, NOW).kept) == 2


def test_a_clock_that_was_set_back_stops_everything() -> None:
    assert blocked(plan(nightly(20), POLICY, NIGHT - timedelta(minutes=11))) == ["clock_skew"]
    assert plan(nightly(20), POLICY, NIGHT - timedelta(minutes=9)).blocked == ()


@pytest.mark.parametrize(
    "wrong", [{"daily": -1}, {"largest_share": 0}, {"largest_share": 1.1}, {"keep_days": 0}, {"grace": -HOUR}]
)
def test_a_policy_without_a_meaning_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"."):
        replace(POLICY, **wrong)  # type: ignore[arg-type]


# -- every history ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """A history from the generator, and what its plan is given."""

    sets: list[BackupSet]
    policy: RetentionPolicy
    elsewhere: Elsewhere
    damaged: tuple[Damage, ...]

    def plan(self, sets: Sequence[BackupSet] | None = None, policy: RetentionPolicy | None = None) -> RetentionPlan:
        return plan(
            self.sets if sets is None else sets,
            policy or self.policy,
            NOW,
            elsewhere=self.elsewhere,
            damaged=self.damaged,
        )


TEMPLATES: dict[str, BackupSet] = {
    state: a_set(NIGHT, state)
    for state in ("verified", "complete", "failed", "incomplete")  # type: ignore[arg-type]
}
PASS = a_verification(TEMPLATES["verified"].id)
AHEAD = tuple(NOW.astimezone(UTC) + hours * HOUR for hours in (1, 20, 24 * 300))
STATES: tuple[State, ...] = ("verified", "complete", "failed", "incomplete")


def a_random_set(rng: random.Random, number: int, fulls: list[BackupSet], weights: list[int]) -> BackupSet:
    """Return a set of any state and kind, made from a template: validation would take most of the time."""
    hours = rng.choice([rng.uniform(0, 72), rng.uniform(0, 24 * 40), rng.uniform(0, 24 * 500)])
    taken_at = NOW.astimezone(UTC) - hours * HOUR
    template = TEMPLATES[rng.choices(STATES, weights)[0]]
    set_id = f"{taken_at:%Y-%m-%d}-{taken_at:%Y%m%dT%H%M%SZ}-{number:08x}"
    attachments = template.manifest.attachments
    full = rng.choice(fulls).id if fulls and rng.random() < 0.4 else None
    assert attachments is not None
    update: dict[str, object] = {
        "id": set_id,
        "kind": "important_tables" if rng.random() < 0.15 else "full",
        "snapshot": template.manifest.snapshot.model_copy(update={"taken_at": taken_at}),
        "attachments": attachments.model_copy(
            update={"full_set": full or set_id, "mode": "differential" if full else "full"}
        ),
    }
    if fulls and rng.random() < 0.05:
        update["requires"] = (rng.choice(fulls).id,)
    if rng.random() < 0.05:
        update["hold"] = Hold(reason="release", until=rng.choice([None, NOW + HOUR, NOW - HOUR]))
    records = tuple(record.model_copy(update={"started_at": taken_at + HOUR}) for record in template.records)
    if rng.random() < 0.15:  # verified once more, while a clock was ahead
        records += (PASS.model_copy(update={"set_id": set_id, "started_at": rng.choice(AHEAD)}),)
    one = BackupSet(template.manifest.model_copy(update=update), records, template.faults)
    if full is None:
        fulls.append(one)
    return one


def families(rng: random.Random) -> list[list[BackupSet]]:
    """Return groups of sets that need one another: histories are drawn from these."""
    made: list[list[BackupSet]] = []
    for family in range(60):
        fulls: list[BackupSet] = []
        weights = rng.choice([[90, 5, 3, 2], [40, 30, 15, 15], [1, 1, 1, 1]])
        made.append([a_random_set(rng, family * 100 + number, fulls, weights) for number in range(30)])
    return made


def histories(count: int) -> Iterator[Made]:
    rng = random.Random(20261122)
    drawn_from = families(rng)
    tonight = [a_set(NOW - rng.uniform(0, 20) * HOUR) for _ in range(50)]
    tomorrow = [a_set(NOW + rng.uniform(0.1, 99) * HOUR, hold=rng.choice([None, "looked at"])) for _ in range(50)]
    for _ in range(count):
        family = rng.choice(drawn_from)
        sets = rng.sample(family, rng.choice([0, 1, 3, 8, 15, 25]))
        sets += rng.sample(tonight, 1) * (rng.random() < 0.7)
        sets += rng.sample(tomorrow, 1) * (rng.random() < 0.05)
        policy = RetentionPolicy(
            zone=TOKYO,
            rpo=rng.choice([6, 24, 999]) * HOUR,
            daily=rng.choice([0, 1, 3, 14]),
            weekly=rng.choice([0, 1, 8]),
            monthly=rng.choice([0, 1, 12]),
            all_for=rng.choice([0, 2]) * DAY,
            keep_days=rng.choice([None, None, None, 10]),
            grace=rng.choice([24, 999]) * HOUR,
            largest_share=rng.choice([0.5, 1.0]),
        )
        known = known_elsewhere({"usb": rng.sample(sets, len(sets) // 3)}, NOW) if rng.random() < 0.3 else Elsewhere()
        damaged = (Damage("key", "lost", "manifest", "damaged"),) if rng.random() < 0.1 else ()
        yield Made(sets, policy, known, damaged)


@pytest.fixture(scope="module")
def made_histories() -> list[tuple[Made, RetentionPlan]]:
    return [(made, made.plan()) for made in histories(MADE_HISTORIES)]


Planned = list[tuple[Made, RetentionPlan]]


def is_proven(one: BackupSet) -> bool:
    return one.proof_at(NOW) is not None


def newest(sets: list[BackupSet]) -> BackupSet | None:
    return max(sets, key=lambda one: (one.taken_at, one.id), default=None)


def present(made: Made, kind: str) -> list[BackupSet]:
    """Return the sets of a kind that are not from the future, as this test understands it."""
    return [one for one in made.sets if one.manifest.kind == kind and one.taken_at - NOW <= timedelta(minutes=10)]


def test_every_set_gets_one_decision_with_a_reason(made_histories: Planned) -> None:
    deleting = 0
    for made, planned in made_histories:
        assert sorted(line.set.id for line in planned.lines) == sorted(one.id for one in made.sets)
        assert all(line.reasons and all(reason.text for reason in line.reasons) for line in planned.lines)
        deleting += bool(planned.deleted)
    # The histories are not such that hardly any of them is ever pruned.
    assert deleting > MADE_HISTORIES / 6


def test_the_newest_the_newest_complete_and_the_last_verified_are_never_deleted(made_histories: Planned) -> None:
    for made, planned in made_histories:
        gone = {one.id for one in planned.deleted}
        for kind in ("full", "important_tables"):
            sets = present(made, kind)
            complete = [one for one in sets if not one.faults]
            for floor in (newest(sets), newest(complete), newest([one for one in complete if is_proven(one)])):
                assert floor is None or floor.id not in gone


def test_what_is_held_from_the_future_or_last_verified_elsewhere_is_never_deleted(made_histories: Planned) -> None:
    for made, planned in made_histories:
        for one in planned.deleted:
            assert one.hold_at(NOW) is None
            assert one.id not in made.elsewhere.held
            assert one.id not in made.elsewhere.last_verified
            assert one.taken_at - NOW <= timedelta(minutes=10)


def test_nothing_that_a_kept_set_needs_is_deleted(made_histories: Planned) -> None:
    for _, planned in made_histories:
        gone = {one.id for one in planned.deleted}
        assert all(gone.isdisjoint(one.manifest.needs) for one in planned.kept)


def test_whatever_is_deleted_has_a_newer_verified_set(made_histories: Planned) -> None:
    for made, planned in made_histories:
        for one in planned.deleted:
            newer = [other for other in present(made, one.manifest.kind) if other.taken_at > one.taken_at]
            known = made.elsewhere.verifications
            assert any(is_proven(other) or (other.id in known and not other.faults) for other in newer)


def test_nothing_is_deleted_while_the_newest_is_too_old_or_failed(made_histories: Planned) -> None:
    for made, planned in made_histories:
        latest = newest([one for one in present(made, "full") if not one.faults])
        if planned.deleted:
            assert latest is not None
            assert NOW - latest.taken_at <= made.policy.rpo
            looked = [one for one in latest.verifications if one.started_at <= NOW]
            assert not looked or looked[-1].passed


def test_no_more_than_the_largest_share_is_deleted(made_histories: Planned) -> None:
    for made, planned in made_histories:
        assert len(planned.deleted) <= max(3, made.policy.largest_share * len(made.sets))


def test_no_full_archive_is_deleted_while_a_manifest_is_damaged(made_histories: Planned) -> None:
    for made, planned in made_histories:
        if made.damaged:
            assert all(one.manifest.attachments.mode != "full" for one in planned.deleted if one.manifest.attachments)


def test_a_plan_made_again_after_it_was_applied_deletes_nothing_more(made_histories: Planned) -> None:
    for made, planned in made_histories:
        if planned.deleted:
            assert made.plan(planned.kept).deleted == ()


def test_the_order_in_which_a_store_lists_does_not_matter(made_histories: Planned) -> None:
    for made, planned in made_histories[::10]:
        assert made.plan(made.sets[::-1]) == planned


def test_no_day_that_counts_is_lost(made_histories: Planned) -> None:
    """Every one of the newest days up to the last that counts keeps a complete set, where it had one."""
    for made, planned in made_histories:
        if made.policy.keep_days is not None:
            continue
        kept = {one.id for one in planned.kept}
        by_day: dict[object, list[BackupSet]] = {}
        for one in present(made, "full"):
            by_day.setdefault(one.taken_at.astimezone(TOKYO).date(), []).append(one)
        counted = 0
        for _, sets in sorted(by_day.items(), reverse=True):  # type: ignore[type-var]
            if counted == made.policy.daily:
                break
            complete = [one for one in sets if not one.faults]
            proven = [one for one in complete if is_proven(one)]
            counted += bool(proven or any(one.id in made.elsewhere.verifications for one in complete))
            assert not complete or any(one.id in kept for one in complete)
            assert not proven or any(one.id in kept for one in proven)


def test_whoever_keeps_more_deletes_nothing_that_was_kept_before(made_histories: Planned) -> None:
    for made, _ in made_histories[::20]:
        policy = replace(made.policy, largest_share=1.0)
        less = {one.id for one in made.plan(policy=policy).deleted}
        for more in ("daily", "weekly", "monthly"):
            assert {one.id for one in made.plan(policy=replace(policy, **{more: 15})).deleted} <= less


ZONES = [ZoneInfo(name) for name in ("Asia/Tokyo", "America/Sao_Paulo", "Pacific/Apia", "Europe/Berlin")]
MOMENTS = st.datetimes(timezones=st.just(UTC))


@settings(max_examples=300, deadline=None)
@given(moments=st.lists(MOMENTS, max_size=8, unique=True), now=MOMENTS, zone=st.sampled_from(ZONES), age=st.booleans())
def test_every_clock_and_calendar_gives_a_plan(
    moments: list[datetime], now: datetime, zone: ZoneInfo, age: bool
) -> None:
    template = TEMPLATES["verified"]
    sets = [
        replace(
            template,
            manifest=template.manifest.model_copy(
                update={
                    "id": f"set-{number}",
                    "attachments": None,
                    "snapshot": template.manifest.snapshot.model_copy(update={"taken_at": moment}),
                }
            ),
        )
        for number, moment in enumerate(moments)
    ]
    policy = replace(UNBRAKED, zone=zone, keep_days=10**9 if age else None, rpo=timedelta.max)
    made = plan(sets, policy, now)
    assert len(made.lines) == len(sets)
    assert all(line.reasons for line in made.lines)


@pytest.mark.slow
def test_a_hundred_thousand_sets_are_planned_in_seconds() -> None:
    """Measured at 1.4 s of processor time; `make bench ARGS="--only retention"` measures, this finds what grows faster.

    What grows with the square would take twenty-five times as long for five times the sets; caches of the processor
    that are too small for so many cost twice at most.
    """
    rng = random.Random(1)
    fulls: list[BackupSet] = []
    sets = [a_random_set(rng, number, fulls, [97, 1, 1, 1]) for number in range(100_000)]
    fewer = sets[:20_000]
    seconds: dict[int, list[float]] = {len(fewer): [], len(sets): []}
    for _ in range(3):
        for some in (fewer, sets):
            begun = time.process_time()
            made = plan(some, UNBRAKED, NOW)
            seconds[len(some)].append(time.process_time() - begun)
            assert len(made.lines) == len(some)
    assert min(seconds[100_000]) < 15 * min(seconds[20_000])
    assert min(seconds[100_000]) < 20
