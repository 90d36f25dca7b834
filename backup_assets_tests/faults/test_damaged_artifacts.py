from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from backup_assets import process
from backup_assets.errors import CheckFailed
from backup_assets.local import local_store
from backup_assets.postgres.clients import choose_clients, find_clients
from backup_assets.restore.restore import Restore, RestoreRequest
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.catalog import IncompleteSet
from backup_assets.sets.manifest import Manifest
from backup_assets_tests.faults.conftest import TwoSets
from backup_assets_tests.restore.restoring import flip_bit, manifest_path, overwrite, path_of, quiet, reseal, verified
from backup_assets_tests.sets.examples import proof_of
from backup_assets_tests.sources import catalog_of, listed

ROLES = ("dump", "globals", "archive", "index")
DAMAGES: dict[str, Callable[[Path], None]] = {
    "emptied": lambda path: overwrite(path, b""),
    "truncated": lambda path: overwrite(path, path.read_bytes()[: path.stat().st_size // 2]),
    "one byte short": lambda path: overwrite(path, path.read_bytes()[:-1]),
    "first bit flipped": lambda path: flip_bit(path, 0),
    "middle bit flipped": lambda path: flip_bit(path, path.stat().st_size // 2),
    "last bit flipped": lambda path: flip_bit(path, -1),
    "gone": lambda path: path.unlink(),
}


def a_set(sets: TwoSets, manifest: Manifest) -> BackupSet:
    found = catalog_of(sets.settings).find(manifest.id)
    assert found is not None
    return found


def restore_is_refused_and_changes_nothing(sets: TwoSets, chosen: BackupSet, *, what: str) -> None:
    """Try to restore a set over the live database, however it looks in the catalog."""
    before = sets.erp.state()
    restoring = Restore(
        sets.settings.databases[0],
        sets.settings,
        local_store(sets.settings),
        chosen,
        RestoreRequest(confirmed=True),
        log=quiet,
    )

    with pytest.raises(CheckFailed) as failure:
        restoring.run()

    assert what in str(failure.value)
    assert failure.value.exit_code == 1
    assert sets.erp.state() == before


def fails_at(sets: TwoSets, manifest: Manifest, level: str, *, what: str) -> None:
    """Expect a verification to pass below `level` and to fail there, on record."""
    levels = ["stored", "readable", "restored"]
    for passing in levels[: levels.index(level)]:
        proof = verified(sets.settings, manifest.id, passing)  # type: ignore[arg-type]
        assert proof.record.passed, (passing, proof.record.problems)
    proof = verified(sets.settings, manifest.id, level)  # type: ignore[arg-type]

    assert not proof.record.passed
    assert what in " ".join(f"{p.what} {p.expected} {p.found}" for p in proof.record.problems)
    assert a_set(sets, manifest).records[-1] == proof.record
    assert proof_of(a_set(sets, manifest)) is None


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_is_not_what_was_stored_is_found_by_its_checksum(two_sets: TwoSets, role: str, damage: str):
    chosen = a_set(two_sets, two_sets.first)
    path = path_of(two_sets.settings, two_sets.first, role)
    DAMAGES[damage](path)

    fails_at(two_sets, two_sets.first, "stored", what=path.name)
    restore_is_refused_and_changes_nothing(two_sets, chosen, what=path.name)


@pytest.mark.parametrize("damage", ["emptied", "truncated", "one byte short", "gone"])
def test_a_file_of_another_size_makes_its_set_incomplete(two_sets: TwoSets, damage: str):
    DAMAGES[damage](path_of(two_sets.settings, two_sets.second, "dump"))

    assert a_set(two_sets, two_sets.second).state == "incomplete"
    assert catalog_of(two_sets.settings).resolve("latest").id == two_sets.first.id
    with pytest.raises(IncompleteSet, match="incomplete"):
        catalog_of(two_sets.settings).resolve(two_sets.second.id)


@pytest.mark.parametrize(
    ("role", "damage"),
    [
        ("dump", "emptied"),
        ("dump", "truncated"),
        ("dump", "first bit flipped"),
        ("globals", "emptied"),
        ("globals", "truncated"),
        ("archive", "emptied"),
        ("archive", "truncated"),
        ("archive", "middle bit flipped"),
        ("index", "emptied"),
        ("index", "truncated"),
        ("index", "middle bit flipped"),
    ],
)
def test_a_file_that_was_damaged_before_it_was_hashed_is_found_by_reading_it(two_sets: TwoSets, role: str, damage: str):
    DAMAGES[damage](path_of(two_sets.settings, two_sets.first, role))
    reseal(two_sets.settings, two_sets.first)

    fails_at(two_sets, two_sets.first, "readable", what="")
    restore_is_refused_and_changes_nothing(two_sets, a_set(two_sets, two_sets.first), what="")


def test_globals_that_are_no_text_are_found_by_reading_them(two_sets: TwoSets):
    path = path_of(two_sets.settings, two_sets.first, "globals")
    overwrite(path, b"\xff\xfe" + path.read_bytes())
    reseal(two_sets.settings, two_sets.first)

    fails_at(two_sets, two_sets.first, "readable", what="are damaged")
    restore_is_refused_and_changes_nothing(two_sets, a_set(two_sets, two_sets.first), what="are damaged")


@pytest.mark.parametrize("where", [0.3, 0.5, 0.7, 0.9])
def test_a_bit_flipped_in_a_dump_before_it_was_hashed_is_found_at_the_latest_by_restoring_it(
    two_sets: TwoSets, where: float
):
    path = path_of(two_sets.settings, two_sets.first, "dump")
    flip_bit(path, int(path.stat().st_size * where))
    reseal(two_sets.settings, two_sets.first)

    if not verified(two_sets.settings, two_sets.first.id, "restored").record.passed:
        restore_is_refused_and_changes_nothing(two_sets, a_set(two_sets, two_sets.first), what="")
    else:  # a bit that says nothing, such as one of a table's old number
        assert restored_equally(two_sets)


def restored_equally(sets: TwoSets) -> bool:
    sets.erp.restore(sets.first.id, into="equally")
    with sets.erp.source.connect(dbname="equally") as connection:
        names = connection.execute("SELECT name FROM customers ORDER BY id").fetchall()
    return names == [(f"customer {n}",) for n in range(1, 21)]


@pytest.mark.parametrize("role", ["globals", "index", "archive"])
def test_a_file_of_another_set_is_found_by_reading_it_however_well_it_reads(two_sets: TwoSets, role: str):
    """The globals of the first set lack a role, its index and archive a file."""
    settings = two_sets.settings
    overwrite(path_of(settings, two_sets.second, role), path_of(settings, two_sets.first, role).read_bytes())
    reseal(settings, two_sets.second)

    what = {"globals": "lack roles", "index": "that of another set", "archive": "does not match its index"}[role]
    fails_at(two_sets, two_sets.second, "readable", what=what)
    restore_is_refused_and_changes_nothing(two_sets, a_set(two_sets, two_sets.second), what=what)


def test_index_and_archive_of_another_set_together_are_found_too(two_sets: TwoSets):
    settings = two_sets.settings
    for role in ("index", "archive"):
        overwrite(path_of(settings, two_sets.second, role), path_of(settings, two_sets.first, role).read_bytes())
    reseal(settings, two_sets.second)

    fails_at(two_sets, two_sets.second, "readable", what="that of another set")
    restore_is_refused_and_changes_nothing(two_sets, a_set(two_sets, two_sets.second), what="that of another set")


def test_two_dumps_that_were_exchanged_are_found_by_comparing_what_they_restore_to(two_sets: TwoSets):
    settings = two_sets.settings
    first, second = (path_of(settings, one, "dump") for one in (two_sets.first, two_sets.second))
    content = first.read_bytes()
    overwrite(first, second.read_bytes())
    overwrite(second, content)
    for manifest in (two_sets.first, two_sets.second):
        reseal(settings, manifest)

    fails_at(two_sets, two_sets.second, "restored", what="content of public.customers")
    restore_is_refused_and_changes_nothing(
        two_sets, a_set(two_sets, two_sets.second), what="content of public.customers"
    )


def test_one_altered_character_that_restores_without_an_error_is_found_by_comparing_the_content(two_sets: TwoSets):
    path = path_of(two_sets.settings, two_sets.second, "dump")
    source = two_sets.erp.source
    clients = choose_clients(find_clients(), 17)
    arguments = ("--format=custom", "--compress=0", "--create", "--dbname", source.name)
    plain = path.with_name("plain")
    process.run(
        source.server.argv(clients, "pg_dump", *arguments, f"--file={plain}"),
        timeout=60,
        env=source.server.environment(),
    )
    content = plain.read_bytes()
    plain.unlink()
    assert content.count(b"customer 7\n") == 1
    overwrite(path, content)
    honest = reseal(two_sets.settings, two_sets.second)
    assert verified(two_sets.settings, honest.id).record.passed
    overwrite(path, content.replace(b"customer 7\n", b"customer 8\n"))
    reseal(two_sets.settings, two_sets.second)

    fails_at(two_sets, two_sets.second, "restored", what="content of public.customers")
    restore_is_refused_and_changes_nothing(
        two_sets, a_set(two_sets, two_sets.second), what="content of public.customers"
    )


def test_without_comparing_content_a_record_does_not_say_that_it_was(two_sets: TwoSets):
    assert verified(two_sets.settings, two_sets.second.id).record.content
    assert not verified(two_sets.settings, two_sets.second.id, content=False).record.content


def test_a_manifest_whose_counts_were_edited_is_damaged(two_sets: TwoSets):
    path = manifest_path(two_sets.settings, two_sets.second.id)
    edited = path.read_bytes().replace(b'"rows": 20', b'"rows": 21')
    assert edited != path.read_bytes()
    overwrite(path, edited)

    assert [one.id for one in listed(two_sets.settings)] == [two_sets.first.id]
    (damage,) = catalog_of(two_sets.settings).problems
    assert damage.set_id == two_sets.second.id
    with pytest.raises(IncompleteSet, match="damaged"):
        catalog_of(two_sets.settings).resolve(two_sets.second.id)


def test_counts_that_were_edited_and_sealed_again_are_found_by_comparing(two_sets: TwoSets):
    def edit(tree: dict) -> None:
        for table in tree["fingerprints"]["tables"]:
            table["rows"] += 1

    reseal(two_sets.settings, two_sets.second, edit)

    fails_at(two_sets, two_sets.second, "restored", what="rows of public.customers")
    restore_is_refused_and_changes_nothing(two_sets, a_set(two_sets, two_sets.second), what="rows of public.customers")


def test_a_manifest_under_the_name_of_another_set_is_no_set(two_sets: TwoSets):
    overwrite(
        manifest_path(two_sets.settings, two_sets.second.id),
        manifest_path(two_sets.settings, two_sets.first.id).read_bytes(),
    )

    assert [one.id for one in listed(two_sets.settings)] == [two_sets.first.id]


@pytest.mark.parametrize("damage", ["gone", "truncated", "middle bit flipped"])
def test_a_differential_whose_full_archive_is_damaged_is_not_restored(two_sets: TwoSets, damage: str):
    chosen = a_set(two_sets, two_sets.second)
    path = path_of(two_sets.settings, two_sets.first, "archive")
    DAMAGES[damage](path)

    fails_at(two_sets, two_sets.second, "stored", what=path.name)
    restore_is_refused_and_changes_nothing(two_sets, chosen, what=path.name)


def test_a_differential_whose_full_set_is_gone_is_not_restored(two_sets: TwoSets):
    chosen = a_set(two_sets, two_sets.second)
    manifest_path(two_sets.settings, two_sets.first.id).unlink()

    assert a_set(two_sets, two_sets.second).state == "incomplete"
    fails_at(two_sets, two_sets.second, "stored", what=two_sets.first.id)
    restore_is_refused_and_changes_nothing(two_sets, chosen, what=two_sets.first.id)


def test_a_later_failure_voids_an_earlier_proof(two_sets: TwoSets):
    assert verified(two_sets.settings, two_sets.second.id).record.passed
    assert proof_of(a_set(two_sets, two_sets.second)) is not None
    flip_bit(path_of(two_sets.settings, two_sets.second, "dump"), 100)

    fails_at(two_sets, two_sets.second, "stored", what="SHA-256")
