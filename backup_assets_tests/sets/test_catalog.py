"""The catalog: what a store holds, from manifests and records alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_assets.errors import AccessDenied, CheckFailed, EnvironmentFault, Refused, TransientFault
from backup_assets.sets import catalog
from backup_assets.sets.catalog import Catalog, IncompleteSet, NoSuchSet
from backup_assets.sets.manifest import Artifact, Manifest
from backup_assets.sets.place import Place, StoredObject
from backup_assets.sets.records import HoldRecord, record_key
from backup_assets.sets.sealed import seal
from backup_assets_tests.sets.examples import (
    ERP4,
    NOW,
    ShelfStore,
    a_manifest,
    a_verification,
    proof_of,
    put,
    put_artifacts,
    put_record,
    put_set,
)

DAY = timedelta(days=1)


@pytest.fixture
def store() -> ShelfStore:
    return ShelfStore()


def three_days(store: ShelfStore) -> list[Manifest]:
    return [put_set(store, a_manifest(NOW - days * DAY)) for days in range(3)]


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


def test_a_missing_and_a_cut_off_artifact_make_a_set_incomplete(store: ShelfStore) -> None:
    today, yesterday, _ = three_days(store)
    store.delete(ERP4.key(today.artifacts[0].name))
    put(store, ERP4.key(yesterday.artifacts[1].name), b"attach")

    sets = Catalog(store, ERP4).sets()

    assert [one.state for one in sets] == ["incomplete", "incomplete", "complete"]
    assert sets[0].faults == (f"{today.artifacts[0].name} is missing",)
    assert sets[1].faults == (f"{yesterday.artifacts[1].name} has 6 bytes instead of 11",)


def test_a_checksum_that_the_store_knows_is_compared_too(store: ShelfStore) -> None:
    manifest = put_set(store, a_manifest())

    class KnowingStore(ShelfStore):
        def list(self, prefix: str) -> Iterator[StoredObject]:
            for stored in super().list(prefix):
                yield StoredObject(stored.key, stored.size, stored.stored_at, "0" * 64)

    knowing = KnowingStore()
    knowing.objects = store.objects

    found = Catalog(knowing, ERP4).find(manifest.id)

    assert found is not None
    assert found.faults[0] == f"{manifest.artifacts[0].name} has another SHA-256 than its manifest says"


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b"[" * 100_000, a_manifest().to_json()[:-1]])
def test_a_damaged_manifest_is_reported_and_hides_no_other(store: ShelfStore, content: bytes) -> None:
    today, yesterday, before = three_days(store)
    put(store, ERP4.manifest_key(today.id), content)

    catalog = Catalog(store, ERP4)

    assert [one.id for one in catalog.sets()] == [yesterday.id, before.id]
    assert [(problem.set_id, problem.kind) for problem in catalog.problems] == [(today.id, "manifest")]
    assert catalog.latest() == catalog.find(yesterday.id)
    assert catalog.passed_over(catalog.sets()[0]) == (f"the manifest of the newer set {today.id} is damaged",)


def test_a_manifest_under_the_name_of_another_set_is_damage(store: ShelfStore) -> None:
    today, yesterday, _ = three_days(store)
    put(store, ERP4.manifest_key(today.id), yesterday.to_json())

    catalog = Catalog(store, ERP4)

    assert catalog.find(today.id) is None
    assert "is that of another set" in catalog.problems[0].text


@pytest.mark.parametrize("name", ["db/2026-11-20-20261120T120000Z-1a2b3c4d.dump", "db/x.dump", "meta/{id}.dump"])
def test_a_manifest_that_names_a_file_of_another_set_is_damage(store: ShelfStore, name: str) -> None:
    manifest = a_manifest()
    foreign: Artifact = manifest.artifacts[0].model_copy(update={"name": name.format(id=manifest.id)})
    put(store, ERP4.manifest_key(manifest.id), seal(manifest.model_copy(update={"artifacts": (foreign,)})))

    catalog = Catalog(store, ERP4)

    assert catalog.sets() == []
    assert "no file of its set" in catalog.problems[0].text


def test_a_damaged_record_is_reported_and_its_set_stays_listed(store: ShelfStore) -> None:
    today = put_set(store, a_manifest())
    good = a_verification(today.id, at=NOW)
    put_record(store, good)
    key = put_record(store, a_verification(today.id, at=NOW + DAY))
    put(store, key, store.objects[key][0].replace(b"restored", b"restorec"))

    catalog = Catalog(store, ERP4)
    one = catalog.sets()[0]

    assert one.records == (good,)
    assert [damage.key for damage in one.damaged_records] == [key]
    assert catalog.problems == one.damaged_records


def test_a_record_under_the_name_of_another_set_does_not_count(store: ShelfStore) -> None:
    today, yesterday, _ = three_days(store)
    record = a_verification(yesterday.id)
    stolen = record_key(ERP4, record).replace(yesterday.id, today.id)
    put(store, stolen, record.to_json())

    one = Catalog(store, ERP4).find(today.id)

    assert one is not None
    assert proof_of(one) is None
    assert one.damaged_records[0].key == stolen


def test_a_damaged_hold_keeps_its_set(store: ShelfStore) -> None:
    today = put_set(store, a_manifest())
    hold = HoldRecord(set_id=today.id, placed_at=NOW, reason="audit", tool_version="0.1.0")
    put(store, record_key(ERP4, hold), b"{}")

    assert Catalog(store, ERP4).sets()[0].hold_at(NOW + 999 * DAY) is not None


def test_a_store_that_is_away_gives_an_error_and_not_half_a_listing(store: ShelfStore) -> None:
    today, *_ = three_days(store)

    class AwayStore(ShelfStore):
        @contextmanager
        def open(self, key: str) -> Iterator[BinaryIO]:
            if key == ERP4.manifest_key(today.id):
                raise TransientFault("the network is away")
            with super().open(key) as handle:
                yield handle

    away = AwayStore()
    away.objects = store.objects

    with pytest.raises(TransientFault):
        Catalog(away, ERP4).sets()


def test_a_file_that_cannot_be_read_is_a_problem_of_its_own_set(store: ShelfStore) -> None:
    today, yesterday, before = three_days(store)

    class BadSectorStore(ShelfStore):
        @contextmanager
        def open(self, key: str) -> Iterator[BinaryIO]:
            if key == ERP4.manifest_key(yesterday.id):
                raise EnvironmentFault("input/output error")
            with super().open(key) as handle:
                yield handle

    bad = BadSectorStore()
    bad.objects = store.objects
    catalog = Catalog(bad, ERP4)

    assert [one.id for one in catalog.sets()] == [today.id, before.id]
    assert "input/output error" in catalog.problems[0].text


def refusing(store: ShelfStore, *keys: str) -> ShelfStore:
    """Return the same store before a role that may not read the objects of these keys."""

    class RefusingStore(ShelfStore):
        @contextmanager
        def open(self, key: str) -> Iterator[BinaryIO]:
            if key in keys:
                raise AccessDenied("could not read it: access denied to GetObject", why="a policy", remedy="allow it")
            with super().open(key) as handle:
                yield handle

    refuses = RefusingStore()
    refuses.objects = store.objects
    return refuses


@pytest.mark.parametrize("readers", [1, 4])
def test_a_role_that_may_read_no_manifest_is_told_so_and_the_sets_are_not_called_damaged(
    store: ShelfStore, readers: int
) -> None:
    sets = three_days(store)
    catalog = Catalog(refusing(store, *(ERP4.manifest_key(one.id) for one in sets)), ERP4, readers=readers)

    for asked in (catalog.sets, catalog.manifests, catalog.resolve, lambda: catalog.problems):
        with pytest.raises(AccessDenied, match="this role may not read the sets in") as told:
            asked()
        assert "of 3 manifests there it can read none" in told.value.why
        assert "allow it" in told.value.remedy


def test_one_manifest_that_may_not_be_read_hides_no_other_and_is_not_called_damaged(store: ShelfStore) -> None:
    today, yesterday, before = three_days(store)
    catalog = Catalog(refusing(store, ERP4.manifest_key(yesterday.id)), ERP4)

    assert [one.id for one in catalog.sets()] == [today.id, before.id]
    (problem,) = catalog.problems
    assert problem.denied
    with pytest.raises(IncompleteSet, match="may not be read by this role"):
        catalog.resolve(yesterday.id)


def test_an_empty_store_is_empty_whoever_looks(store: ShelfStore) -> None:
    assert Catalog(refusing(store), ERP4).sets() == []


def test_every_document_is_read_once_and_artifacts_never(store: ShelfStore) -> None:
    today, yesterday, _ = three_days(store)
    put_record(store, a_verification(today.id))
    catalog = Catalog(store, ERP4)

    catalog.sets()
    catalog.resolve()
    catalog.find(yesterday.id)

    assert len(store.opened) == len(set(store.opened)) == 4
    assert all("/meta/" in key for key in store.opened)


def test_several_readers_see_what_one_sees(store: ShelfStore) -> None:
    today, *_ = three_days(store)
    put_record(store, a_verification(today.id))

    assert Catalog(store, ERP4, readers=4).sets() == Catalog(store, ERP4).sets()


@pytest.mark.parametrize("readers", [1, 3])
def test_more_documents_than_are_read_together_are_all_read(
    store: ShelfStore, monkeypatch: pytest.MonkeyPatch, readers: int
) -> None:
    manifests = three_days(store)
    put(store, ERP4.manifest_key(a_manifest(NOW - 9 * DAY).id), b"{}")
    for manifest in manifests:
        put_record(store, a_verification(manifest.id))
    at_once = Catalog(store, ERP4).sets()
    for name, most in (("BATCH", 2), ("LARGEST_DOCUMENT_BYTES", max(map(len, (m.to_json() for m in manifests))))):
        monkeypatch.setattr(catalog, name, most)
        catalog_in_parts = Catalog(store, ERP4, readers=readers)

        assert catalog_in_parts.sets() == at_once
        assert len(catalog_in_parts.problems) == 1


def test_a_store_with_a_quick_way_to_read_is_read_so(store: ShelfStore) -> None:
    class QuickShelf(ShelfStore):
        def read_small(self, listed: StoredObject) -> bytes:
            return self.objects[listed.key][0]

    quick = QuickShelf()
    quick.objects = store.objects
    three_days(store)

    assert Catalog(quick, ERP4).sets() == Catalog(store, ERP4).sets()
    assert quick.opened == []


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


def a_full_and_two_differentials(store: ShelfStore) -> tuple[Manifest, Manifest, Manifest]:
    full = put_set(store, a_manifest(NOW - 2 * DAY))
    return (
        full,
        put_set(store, a_manifest(NOW - DAY, full_set=full.id, requires=(full.id,))),
        put_set(store, a_manifest(NOW, full_set=full.id)),
    )


def test_the_closure_of_a_differential_is_its_full_set_and_itself(store: ShelfStore) -> None:
    full, first, second = a_full_and_two_differentials(store)
    catalog = Catalog(store, ERP4)

    assert [one.id for one in catalog.closure(catalog.resolve(second.id))] == [full.id, second.id]
    assert [one.id for one in catalog.closure(catalog.resolve(first.id))] == [full.id, first.id]
    assert [one.id for one in catalog.closure(catalog.resolve(full.id))] == [full.id]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [("manifest", "is missing"), ("artifact", "is incomplete"), ("garbage", "is damaged")],
)
def test_a_differential_without_a_good_full_set_is_incomplete(store: ShelfStore, damage: str, reason: str) -> None:
    full, first, second = a_full_and_two_differentials(store)
    if damage == "garbage":
        put(store, ERP4.manifest_key(full.id), b"{}")
    else:
        store.delete(ERP4.manifest_key(full.id) if damage == "manifest" else ERP4.key(full.artifacts[1].name))

    catalog = Catalog(store, ERP4)

    for differential in (first, second):
        one = catalog.find(differential.id)
        assert one is not None
        assert one.state == "incomplete"
        assert full.id in one.faults[0]
        assert reason in one.faults[0]
    assert catalog.latest() is None


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
