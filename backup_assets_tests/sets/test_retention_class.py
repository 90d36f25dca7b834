from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from backup_assets import settings_rules
from backup_assets.sets.manifest import Hold, Manifest
from backup_assets.sets.retention_class import KEPT_DAYS, LONGEST_FULL_EVERY_DAYS, RetentionClass, retention_class
from backup_assets.sets.servers import ServerIdentity
from backup_assets_tests.sets.examples import a_manifest

TOKYO = ZoneInfo("Asia/Tokyo")
#: A Monday, and neither the first day of a month nor in the first week of one.
MONDAY = datetime(2026, 11, 16, 3, 0, tzinfo=UTC)
OF_THIS_MONTH = a_manifest(datetime(2026, 11, 2, 3, 0, tzinfo=UTC), run="00000001")


def plain(taken_at: datetime, run: str = "1a2b3c4d") -> Manifest:
    """Return a set of a database that has no attachments."""
    return a_manifest(taken_at, run=run).model_copy(update={"attachments": None})


def classes(*manifests: Manifest) -> list[str]:
    return [retention_class(one, manifests, TOKYO) for one in manifests]


def test_the_first_set_of_a_month_is_monthly_of_a_week_weekly_and_the_others_are_daily() -> None:
    days = [plain(MONDAY + timedelta(days=day)) for day in range(21)]  # until December 6

    found = classes(OF_THIS_MONTH, *days)

    assert found[0] == "monthly"
    weeks = [found[1:8], found[8:15], found[15:22]]
    assert weeks[0] == weeks[1] == ["weekly", *["daily"] * 6]
    assert weeks[2] == ["weekly", "monthly", *["daily"] * 5]  # December 1 is a Tuesday


def test_the_first_set_of_a_month_is_that_of_its_own_server() -> None:
    ours, copy = ServerIdentity("7000", 1), ServerIdentity("8000", 1)
    known = [replaced(OF_THIS_MONTH, ours), replaced(plain(MONDAY), ours)]
    tuesday = plain(MONDAY + timedelta(days=1), "00000003")

    assert retention_class(replaced(tuesday, ours), known, TOKYO) == "daily"
    assert retention_class(replaced(tuesday, copy), known, TOKYO) == "monthly"
    assert retention_class(tuesday, known, TOKYO) == "daily"
    assert retention_class(replaced(tuesday, ours), [OF_THIS_MONTH, plain(MONDAY)], TOKYO) == "daily"


def replaced(manifest: Manifest, server: ServerIdentity) -> Manifest:
    """Return the same set as one of another server."""
    facts = manifest.server.model_copy(update=server._asdict())
    return manifest.model_copy(update={"server": facts})


def test_the_day_is_that_of_the_databases_zone() -> None:
    sunday_in_utc = plain(datetime(2026, 11, 22, 17, 0, tzinfo=UTC))  # Monday 02:00 in Tokyo
    earlier_that_week = [OF_THIS_MONTH, plain(datetime(2026, 11, 20, 17, 0, tzinfo=UTC), "00000002")]

    assert retention_class(sunday_in_utc, earlier_that_week, TOKYO) == "weekly"
    assert retention_class(sunday_in_utc, earlier_that_week, UTC) == "daily"


def test_weeks_are_those_of_iso_also_around_new_year() -> None:
    thursday, friday = (plain(datetime(2026, 12, 31, 3, tzinfo=UTC) + timedelta(days=n)) for n in (0, 1))
    known = [plain(datetime(2026, 12, 1, 3, tzinfo=UTC), "00000002"), thursday, friday]
    saturday = plain(friday.snapshot.taken_at + timedelta(days=1), "00000003")

    assert [retention_class(one, known, TOKYO) for one in known] == ["monthly", "weekly", "monthly"]
    assert retention_class(saturday, known, TOKYO) == "daily"  # the same week 53, although the year is another


def test_a_set_that_needs_another_is_always_daily() -> None:
    full = a_manifest(MONDAY)
    first_of_december = datetime(2026, 12, 1, 3, tzinfo=UTC)

    assert retention_class(a_manifest(first_of_december, full_set=full.id), [full], TOKYO) == "daily"
    assert retention_class(a_manifest(first_of_december, requires=(full.id,)), [full], TOKYO) == "daily"
    held = a_manifest(first_of_december, full_set=full.id, hold=Hold(reason="release"))
    assert retention_class(held, [full], TOKYO) == "daily"


def test_differentials_take_no_class_away_from_the_full_set_that_follows_them() -> None:
    full = a_manifest(MONDAY - timedelta(days=5))
    differential = a_manifest(MONDAY, full_set=full.id)
    next_full = a_manifest(MONDAY + timedelta(days=2))

    assert classes(OF_THIS_MONTH, full, differential, next_full)[1:] == ["weekly", "daily", "weekly"]


def test_a_second_full_archive_of_a_week_is_weekly_too_because_differentials_may_build_on_it() -> None:
    second = a_manifest(MONDAY + timedelta(days=1))

    assert retention_class(second, [OF_THIS_MONTH, a_manifest(MONDAY)], TOKYO) == "weekly"


def test_a_held_set_gets_the_longest_class() -> None:
    held = a_manifest(MONDAY + timedelta(days=1), hold=Hold(reason="release"))

    assert retention_class(held, [OF_THIS_MONTH, a_manifest(MONDAY)], TOKYO) == "monthly"


def test_sets_of_the_important_tables_are_counted_on_their_own() -> None:
    tables = plain(MONDAY).model_copy(update={"kind": "important_tables"})

    assert retention_class(tables, [OF_THIS_MONTH, plain(MONDAY - timedelta(hours=1))], TOKYO) == "monthly"


def test_later_sets_do_not_change_a_class() -> None:
    first, second = plain(MONDAY), plain(MONDAY + timedelta(hours=6))

    assert retention_class(first, [OF_THIS_MONTH], TOKYO) == "weekly"
    assert retention_class(first, [OF_THIS_MONTH, second, first], TOKYO) == "weekly"


def test_the_settings_allow_the_same_distance_between_full_archives() -> None:
    assert settings_rules.LONGEST_FULL_EVERY_DAYS == LONGEST_FULL_EVERY_DAYS


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[Manifest, datetime]]:
    """Return sets as captures make them, each with the moment at which its copy was stored.

    A full archive is made whenever the last one is older than its days, and sometimes before, as after a damage. Every
    copy comes within 12 days, and every full archive before what needs it.
    """
    every = timedelta(days=draw(st.integers(1, LONGEST_FULL_EVERY_DAYS)))
    now = datetime(2026, draw(st.integers(1, 12)), draw(st.integers(1, 28)), tzinfo=UTC)
    history: list[tuple[Manifest, datetime]] = []
    full: tuple[Manifest, datetime] | None = None
    for number in range(draw(st.integers(1, 25))):
        now += timedelta(hours=draw(st.integers(1, 24 * 9)))
        if full and draw(st.booleans()) and now < full[0].snapshot.taken_at + every:
            now = full[0].snapshot.taken_at + every  # the last moment at which a differential is made
        late = timedelta(hours=draw(st.sampled_from([0, 1, 24, 24 * 12])))
        fresh = full is None or full[0].snapshot.taken_at < now - every or draw(st.integers(0, 9)) == 0
        made = a_manifest(now, run=f"{number:08x}", full_set=None if fresh or full is None else full[0].id)
        stored = (made, max(now + late, full[1]) if full and not fresh else now + late)
        full = stored if fresh else full
        history.append(stored)
    return history


def removed_on(stored_at: datetime, found: RetentionClass) -> date:
    """Return the day that begins with the removal: S3 waits for the first midnight (UTC) after the days."""
    return (stored_at + timedelta(days=KEPT_DAYS[found])).date() + timedelta(days=1)


def test_the_last_differential_copied_as_late_as_may_be_goes_with_its_full_set_or_before() -> None:
    again = a_manifest(OF_THIS_MONTH.snapshot.taken_at + timedelta(days=1))  # the first archive was damaged
    last_day = again.snapshot.taken_at + timedelta(days=LONGEST_FULL_EVERY_DAYS)
    last = a_manifest(last_day, full_set=again.id)
    full_class, class_of_last = classes(OF_THIS_MONTH, again, last)[1:]
    assert (full_class, class_of_last) == ("weekly", "daily")

    removed = removed_on(last_day + timedelta(days=12), "daily")

    assert removed_on(again.snapshot.taken_at, "weekly") >= removed


@settings(deadline=None)
@given(histories())
def test_nothing_that_lifecycle_rules_keep_needs_what_they_have_removed(
    history: list[tuple[Manifest, datetime]],
) -> None:
    known: list[Manifest] = []
    removed: dict[str, date] = {}
    for manifest, stored_at in history:
        removed[manifest.id] = removed_on(stored_at, retention_class(manifest, known, TOKYO))
        known.append(manifest)

    for manifest, _ in history:
        for needed in manifest.needs:
            assert removed[needed] >= removed[manifest.id]


@settings(deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=60), st.integers(0, 23))
def test_every_week_and_month_with_sets_has_exactly_one_that_stands_for_it(steps: list[int], hour: int) -> None:
    taken = MONDAY.replace(hour=hour)
    history: list[Manifest] = []
    for number, hours in enumerate(steps):
        taken += timedelta(hours=hours)
        history.append(plain(taken, f"{number:08x}"))
    found = classes(*history)

    days = [one.snapshot.taken_at.astimezone(TOKYO).date() for one in history]
    months = [(day.year, day.month) for day, name in zip(days, found, strict=True) if name == "monthly"]
    assert sorted(months) == sorted({(day.year, day.month) for day in days})
    weeks = [day.isocalendar()[:2] for day, name in zip(days, found, strict=True) if name == "weekly"]
    assert len(weeks) == len(set(weeks))
    lasting = {day.isocalendar()[:2] for day, name in zip(days, found, strict=True) if name != "daily"}
    assert lasting == {day.isocalendar()[:2] for day in days}
