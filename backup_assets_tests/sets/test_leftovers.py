"""Leftovers: what may be swept, and what never."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from backup_assets.sets.leftovers import leftovers
from backup_assets.sets.manifest import Manifest
from backup_assets.sets.place import StoredObject, set_id_of
from backup_assets_tests.sets.examples import ERP4, NOW, a_manifest

DAY = timedelta(days=1)
OLD = NOW - 2 * DAY
PRESENT = a_manifest(NOW - 3 * DAY)
ABSENT = a_manifest(NOW - 3 * DAY, run="deadbeef")


def file(name: str, stored_at=OLD, size: int = 7) -> StoredObject:
    return StoredObject(ERP4.key(name), size, stored_at)


def swept(files: list[StoredObject], manifests: list[Manifest]) -> list[str]:
    return [ERP4.name(leftover.key) for leftover in leftovers(files, manifests, NOW, DAY)]


def files_of(manifest: Manifest) -> list[StoredObject]:
    names = [artifact.name for artifact in manifest.artifacts]
    return [file(name) for name in (*names, f"meta/{manifest.id}.manifest.json")]


def test_a_whole_set_is_kept() -> None:
    assert swept(files_of(PRESENT), [PRESENT]) == []


def test_old_partials_and_artifacts_without_a_manifest_are_swept_with_their_sizes() -> None:
    partial = f"db/{PRESENT.id}.dump.0a1b2c3d.partial"
    orphan = f"db/{ABSENT.id}.dump"
    record = f"meta/{ABSENT.id}.verification.20261119T120000Z-0a1b2c3d.json"

    found = leftovers([*files_of(PRESENT), file(partial), file(orphan), file(record)], [PRESENT], NOW, DAY)

    assert [(ERP4.name(one.key), one.size) for one in found] == [(partial, 7), (orphan, 7), (record, 7)]
    assert found[0].reason == "never finished"
    assert ABSENT.id in found[1].reason


def test_what_is_as_young_as_the_limit_is_kept() -> None:
    young = [file(f"db/{ABSENT.id}.dump", NOW - DAY), file(f"db/{ABSENT.id}.sql.0a1b2c3d.partial", NOW - DAY)]

    assert swept([*files_of(PRESENT), *young], [PRESENT]) == []


def test_a_damaged_manifest_protects_every_file_of_its_set() -> None:
    damaged = [file(f"db/{ABSENT.id}.dump"), file(f"meta/{ABSENT.id}.manifest.json")]

    assert swept([*files_of(PRESENT), *damaged], [PRESENT]) == []


def test_a_set_that_another_one_needs_is_protected_though_its_manifest_is_lost() -> None:
    differential = a_manifest(full_set=ABSENT.id)

    assert swept([*files_of(differential), file(f"assets/{ABSENT.id}.tar.zst")], [differential]) == []


def test_without_any_manifest_only_partials_are_swept() -> None:
    partial = f"db/{ABSENT.id}.dump.0a1b2c3d.partial"

    assert swept([file(f"db/{ABSENT.id}.dump"), file(partial)], []) == [partial]


def test_files_that_are_none_of_ours_are_kept() -> None:
    foreign = [file("db/notes.txt"), file("db/download.partial"), file(f"other/{ABSENT.id}.dump")]

    assert swept([*files_of(PRESENT), *foreign], [PRESENT]) == []


IDS = [a_manifest(NOW - n * DAY, run=f"0000000{n}").id for n in range(4)]
names = st.one_of(
    st.sampled_from(IDS).map(lambda i: f"db/{i}.dump"),
    st.sampled_from(IDS).map(lambda i: f"assets/{i}.tar.zst"),
    st.sampled_from(IDS).map(lambda i: f"assets/{i}.index.tsv.zst"),
    st.sampled_from(IDS).map(lambda i: f"meta/{i}.manifest.json"),
    st.sampled_from(IDS).map(lambda i: f"meta/{i}.hold.20261119T120000Z-0a1b2c3d.json"),
    st.sampled_from(IDS).map(lambda i: f"db/{i}.dump.0a1b2c3d.partial"),
    st.sampled_from(["db/notes.txt", "db/my.partial", "meta/x.json"]),
)
listings = st.dictionaries(names, st.integers(0, 100), max_size=20)


@settings(deadline=None)
@given(listings, st.integers(0, 100), st.sets(st.sampled_from(IDS)))
def test_whatever_is_listed_no_set_and_nothing_young_is_swept(
    ages: dict[str, int], limit: int, readable: set[str]
) -> None:
    listing = [file(name, NOW - timedelta(hours=hours)) for name, hours in ages.items()]
    manifests = [a_manifest(NOW - n * DAY, run=f"0000000{n}") for n in range(4) if IDS[n] in readable]

    found = {ERP4.name(one.key) for one in leftovers(listing, manifests, NOW, timedelta(hours=limit))}

    with_manifest = {set_id_of(name) for name in ages if name.endswith(".manifest.json")} | readable
    for name in found:
        assert ages[name] > limit
        assert name.endswith(".0a1b2c3d.partial") or set_id_of(name) in set(IDS) - with_manifest
    orphans = set(IDS) - with_manifest if with_manifest else set()
    for name, hours in ages.items():
        if hours > limit and (name.endswith(".0a1b2c3d.partial") or set_id_of(name) in orphans):
            assert name in found
