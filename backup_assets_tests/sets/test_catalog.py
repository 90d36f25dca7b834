"""The catalog: what a store holds, from manifests and records alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_assets.errors import CheckFailed, Refused
from backup_assets.sets.catalog import Catalog, IncompleteSet, NoSuchSet
from backup_assets.sets.place import Place
from backup_assets_tests.sets.examples import (
    DAY,
    ERP4,
    NOW,
    ShelfStore,
    a_full_and_two_differentials,
    a_manifest,
    a_verification,
    proof_of,
    put,
    put_artifacts,
    put_record,
    put_set,
    three_days,
)


@pytest.fixture
def store() -> ShelfStore:
    return ShelfStore()


def test_an_empty_store_has_no_sets_and_says_so(store: ShelfStore) -> None:
    catalog = Catalog(store, ERP4)

    assert catalog.sets() == []
    assert catalog.latest() is None
    with pytest.raises(NoSuchSet, match="there is no backup set in erp4/prod"):
        catalog.resolve()


def test_sets_are_listed_newest_first_with_their_records(store: ShelfStore) -> None:
    today, yesterday, before = three_days(store)
    early, late = a_verification(yesterday.id, at=NOW), a_verification(yesterday.id, at=NOW + DAY)
    put_record(store, late)
    put_record(store, early)

    sets = Catalog(store, ERP4).sets()

    assert [one.id for one in sets] == [today.id, yesterday.id, before.id]
    assert [one.state for one in sets] == ["complete"] * 3
    assert sets[1].records == (early, late)
    assert proof_of(sets[1]) == late


def test_sets_are_ordered_by_what_they_show_and_not_by_their_slot(store: ShelfStore) -> None:
    old = put_set(store, a_manifest(NOW))
    rebuilt = a_manifest(NOW - DAY, run="ffffffff")
    later_snapshot = rebuilt.snapshot.model_copy(update={"taken_at": NOW + DAY})
    newer = put_set(store, rebuilt.model_copy(update={"snapshot": later_snapshot}))

    assert [one.id for one in Catalog(store, ERP4).sets()] == [newer.id, old.id]


def test_sets_of_another_place_are_not_seen(store: ShelfStore) -> None:
    put_set(store, a_manifest(), Place("erp40", "prod"))
    put_set(store, a_manifest(), Place("erp4", "production"))

    assert Catalog(store, ERP4).sets() == []


def test_artifacts_without_a_manifest_are_no_set(store: ShelfStore) -> None:
    put_artifacts(store, a_manifest())

    assert Catalog(store, ERP4).sets() == []


# -- which one is meant ------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.integers(0, 500), min_size=1, unique=True), st.integers(0, 500), st.sets(st.integers(0, 500)))
def test_the_latest_is_the_newest_complete_set_that_shows_no_later_moment(
    hours: list[int], asked: int, broken: set[int]
) -> None:
    shelf = ShelfStore()
    by_hour = {hour: put_set(shelf, a_manifest(NOW + timedelta(hours=hour))) for hour in hours}
    for hour in broken & set(hours):
        shelf.delete(ERP4.key(by_hour[hour].artifacts[0].name))

    found = Catalog(shelf, ERP4).latest(NOW + timedelta(hours=asked))

    fitting = [hour for hour in hours if hour <= asked and hour not in broken]
    assert (found.id if found else None) == (by_hour[max(fitting)].id if fitting else None)


def test_a_moment_equal_to_the_snapshots_is_not_too_early(store: ShelfStore) -> None:
    today, yesterday, _ = three_days(store)
    catalog = Catalog(store, ERP4)

    assert catalog.resolve(before=NOW).id == today.id
    assert catalog.resolve(before=NOW - timedelta(microseconds=1)).id == yesterday.id


def test_a_moment_before_every_set_names_the_oldest(store: ShelfStore) -> None:
    *_, oldest = three_days(store)

    with pytest.raises(NoSuchSet) as caught:
        Catalog(store, ERP4).resolve(before=NOW - 9 * DAY)

    assert oldest.id in caught.value.why
    assert "2026-11-20 12:00:00 UTC" in caught.value.why


def test_a_moment_without_zone_is_refused(store: ShelfStore) -> None:
    three_days(store)

    with pytest.raises(Refused, match="has no time zone"):
        Catalog(store, ERP4).resolve(before=datetime(2026, 11, 22))  # noqa: DTZ001


def test_the_latest_is_of_the_kind_asked_for(store: ShelfStore) -> None:
    full = put_set(store, a_manifest(NOW - DAY))
    weekly = put_set(store, a_manifest(NOW, kind="important_tables"))
    catalog = Catalog(store, ERP4)

    assert catalog.resolve().id == full.id
    assert catalog.resolve(kind="important_tables").id == weekly.id


def test_the_latest_is_none_that_a_wrong_clock_dated_ahead_and_that_one_is_told(store: ShelfStore) -> None:
    now = datetime.now(UTC)
    today = put_set(store, a_manifest(now - timedelta(hours=1)))
    ahead = put_set(store, a_manifest(now + 300 * DAY))
    catalog = Catalog(store, ERP4)

    chosen = catalog.resolve()

    assert chosen.id == today.id
    (sentence,) = catalog.passed_over(chosen)
    assert f"the set {ahead.id} says that it shows" in sentence
    assert "still to come" in sentence
    assert catalog.resolve(ahead.id).id == ahead.id
    assert catalog.resolve(before=now + 301 * DAY).id == ahead.id


def test_a_clock_that_differs_a_little_hides_no_set(store: ShelfStore) -> None:
    ahead = put_set(store, a_manifest(datetime.now(UTC) + timedelta(minutes=5)))

    assert Catalog(store, ERP4).resolve().id == ahead.id


def test_sets_of_the_future_alone_are_none_of_now_and_the_clocks_are_named(store: ShelfStore) -> None:
    ahead = put_set(store, a_manifest(datetime.now(UTC) + DAY))

    with pytest.raises(NoSuchSet, match="still to come") as caught:
        Catalog(store, ERP4).resolve()

    assert ahead.id in caught.value.why
    assert "clocks" in caught.value.remedy


def test_an_older_set_is_chosen_over_an_incomplete_one_and_the_newer_is_told(store: ShelfStore) -> None:
    today, yesterday, _ = three_days(store)
    store.delete(ERP4.key(today.artifacts[0].name))
    catalog = Catalog(store, ERP4)

    chosen = catalog.resolve()

    assert chosen.id == yesterday.id
    assert catalog.passed_over(chosen) == (
        f"the newer set {today.id} is incomplete: {today.artifacts[0].name} is missing",
    )
    assert catalog.passed_over(chosen, before=NOW - DAY) == ()


def test_when_no_set_is_complete_the_newest_ones_fault_is_told(store: ShelfStore) -> None:
    today = put_set(store, a_manifest())
    store.delete(ERP4.key(today.artifacts[0].name))

    with pytest.raises(IncompleteSet) as caught:
        Catalog(store, ERP4).resolve()

    assert f"{today.artifacts[0].name} is missing" in caught.value.why
    assert Catalog(store, ERP4).resolve(complete_only=False).id == today.id


def test_a_store_with_nothing_but_damaged_manifests_is_not_called_empty(store: ShelfStore) -> None:
    put(store, ERP4.manifest_key(a_manifest().id), b"{}")

    with pytest.raises(IncompleteSet, match="no manifest in erp4/prod can be read"):
        Catalog(store, ERP4).resolve()


def test_a_set_is_found_by_its_id_or_the_beginning_of_it(store: ShelfStore) -> None:
    today, *_ = three_days(store)
    catalog = Catalog(store, ERP4)

    assert catalog.resolve(today.id).id == today.id
    assert catalog.resolve("2026-11-22").id == today.id


def test_the_beginning_of_several_ids_is_refused_with_all_of_them(store: ShelfStore) -> None:
    manifests = three_days(store)

    with pytest.raises(NoSuchSet, match="the beginning of 3 ids") as caught:
        Catalog(store, ERP4).resolve("2026-11")

    assert all(manifest.id in caught.value.why for manifest in manifests)


@pytest.mark.parametrize("selector", ["2026-11-22-20261122T120000Z-1a2b3c4e", "x", "", "Latest"])
def test_an_unknown_id_is_refused_with_the_closest_ones(store: ShelfStore, selector: str) -> None:
    today, *_ = three_days(store)

    with pytest.raises(NoSuchSet, match="there is no set") as caught:
        Catalog(store, ERP4).resolve(selector)

    assert today.id in caught.value.why


def test_a_set_that_is_incomplete_is_refused_with_the_reason(store: ShelfStore) -> None:
    today, *_ = three_days(store)
    store.delete(ERP4.key(today.artifacts[0].name))

    with pytest.raises(IncompleteSet) as caught:
        Catalog(store, ERP4).resolve(today.id)

    assert "is missing" in caught.value.why


def test_a_set_without_manifest_is_called_unfinished(store: ShelfStore) -> None:
    today, *_ = three_days(store)
    store.delete(ERP4.manifest_key(today.id))

    with pytest.raises(IncompleteSet, match="never finished or is half deleted"):
        Catalog(store, ERP4).resolve(today.id)


def test_a_set_with_a_damaged_manifest_is_called_damaged(store: ShelfStore) -> None:
    today, *_ = three_days(store)
    put(store, ERP4.manifest_key(today.id), b"{}")

    with pytest.raises(IncompleteSet, match="is damaged"):
        Catalog(store, ERP4).resolve("2026-11-22")


# -- sets that need others ---------------------------------------------------------------------------------------------


def test_the_closure_of_a_differential_is_its_full_set_and_itself(store: ShelfStore) -> None:
    full, first, second = a_full_and_two_differentials(store)
    catalog = Catalog(store, ERP4)

    assert [one.id for one in catalog.closure(catalog.resolve(second.id))] == [full.id, second.id]
    assert [one.id for one in catalog.closure(catalog.resolve(first.id))] == [full.id, first.id]
    assert [one.id for one in catalog.closure(catalog.resolve(full.id))] == [full.id]


def test_a_closure_with_a_missing_set_is_refused_by_name(store: ShelfStore) -> None:
    full, _, second = a_full_and_two_differentials(store)
    store.delete(ERP4.manifest_key(full.id))
    catalog = Catalog(store, ERP4)

    with pytest.raises(CheckFailed) as caught:
        catalog.closure(catalog.resolve(second.id, complete_only=False))

    assert full.id in caught.value.why


def test_sets_that_need_each_other_do_not_hang_the_catalog(store: ShelfStore) -> None:
    one, other = a_manifest(run="11111111"), a_manifest(run="22222222")
    put_set(store, one.model_copy(update={"requires": (other.id,)}))
    put_set(store, other.model_copy(update={"requires": (one.id,)}))

    catalog = Catalog(store, ERP4)

    assert {found.id for found in catalog.closure(catalog.resolve(one.id))} == {one.id, other.id}
