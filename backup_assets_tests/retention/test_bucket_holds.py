"""Holds in a bucket whose own rules remove sets, on a real S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup_assets.cli.main import main
from backup_assets.doctor_stores import examine_stores
from backup_assets.local import local_store
from backup_assets.named_stores import store_named
from backup_assets.offsite.encrypted import encrypt_sets
from backup_assets.retention.holding import Held, Placed, place_hold, release_holds
from backup_assets.retention.pruning import prune, prune_all, survey
from backup_assets.retention.unread import unread_in
from backup_assets.sets.manifest import Hold, Manifest
from backup_assets.sets.records import HoldRecord
from backup_assets.settings import Settings
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets.stores.contract import AccessDenied
from backup_assets.stores.s3 import S3Store
from backup_assets.stores.s3_lifecycle import wanted_rules
from backup_assets.watch.conditions import Expiring
from backup_assets.watch.facts import look_at
from backup_assets.watch.memory import Cursor
from backup_assets.watch.rounds import make_round
from backup_assets.watch.runs import RunsRead
from backup_assets_tests.ciphers.keys import Keyrings
from backup_assets_tests.offsite.copying import copied, folder_store, sets_in, settings_with
from backup_assets_tests.offsite.cross_copying import a_bucket_store, use_profiles
from backup_assets_tests.sets.examples import ERP4, a_manifest, put, put_record, put_set
from backup_assets_tests.sources import no_log
from backup_assets_tests.stores.object_server import ObjectServer, object_server

DAY = timedelta(days=1)
#: The service writes its own times: the sets are of these days, whatever the day is.
NOW = datetime.now(UTC).replace(microsecond=0)
KEEP = Hold(reason="before release 4.2", until=NOW + 90 * DAY)


@pytest.fixture(scope="module")
def a_server() -> Iterator[ObjectServer]:
    with object_server() as server:
        yield server


@pytest.fixture(autouse=True)
def profiles(a_server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_profiles(a_server, tmp_path, monkeypatch)


@pytest.fixture
def settings(a_server: ObjectServer, tmp_path: Path) -> Settings:
    """A local store, and a bucket whose rules remove what is tagged daily, weekly or monthly."""
    return settings_with(tmp_path / "backups", a_bucket_store(a_server, "s3", retention_tags=True))


@pytest.fixture
def full(settings: Settings) -> Manifest:
    """A set of two days ago with a full archive of attachments, in both stores."""
    return stored(settings, a_manifest(NOW - 2 * DAY, run="aaaa0000"))


@pytest.fixture
def differential(settings: Settings, full: Manifest) -> Manifest:
    """A set of yesterday that needs the full one, in both stores."""
    return stored(settings, a_manifest(NOW - DAY, run="bbbb0000", full_set=full.id))


def stored(settings: Settings, manifest: Manifest) -> Manifest:
    put_set(local_store(settings), manifest)
    copied(settings, to="s3", slot=manifest.slot)
    return manifest


def bucket(settings: Settings) -> S3Store:
    store = store_named(settings, "s3", writing=True)
    assert isinstance(store, S3Store)
    return store


def classes(settings: Settings, manifest: Manifest) -> set[str | None]:
    keys = [ERP4.manifest_key(manifest.id), *files_of(manifest)]
    store = bucket(settings)
    return {store.tags_of(key).get("retention") for key in keys}


def files_of(manifest: Manifest) -> list[str]:
    return [ERP4.key(one.name) for one in manifest.artifacts]


def day_of_removal(settings: Settings, days: int, *keys: str) -> str:
    """Return the day on which the rules remove the first of these objects, so many days after it was stored."""
    found = [bucket(settings).stat(key) for key in keys]
    return f"{min(one.stored_at for one in found if one is not None) + days * DAY:%Y-%m-%d}"


def held(settings: Settings, manifest: Manifest, hold: Hold = KEEP) -> Held:
    return place_hold(settings.databases[0], settings, manifest.id, hold, now=NOW)


def released(settings: Settings, manifest: Manifest, at: datetime = NOW + DAY) -> Held:
    return release_holds(settings.databases[0], settings, manifest.id, "it is fine", now=at)


def expiring(settings: Settings) -> tuple[Expiring, ...]:
    found = look_at(settings.databases[0], settings).expiring
    assert found
    assert len(found) == 1
    return found


def as_role(settings: Settings, role: str) -> Settings:
    """Return settings whose bucket is written to and read by another role of the server."""
    (store,) = settings.stores
    return settings.model_copy(update={"stores": (store.model_copy(update={"profile": role}),)})


def in_the_bucket(done: Held) -> Placed:
    return next(one for one in done.stores if one.store == "s3")


def test_a_held_differential_and_the_full_archive_that_it_needs_are_removed_by_no_rule(
    settings: Settings, full: Manifest, differential: Manifest
) -> None:
    assert (classes(settings, full), classes(settings, differential)) == ({"monthly"}, {"daily"})

    done = held(settings, differential)

    assert done.is_well
    assert (classes(settings, full), classes(settings, differential)) == ({"held"}, {"held"})
    (store,) = settings.stores
    location = bucket(settings).location
    assert store.retention_tags
    assert not [name for name, rule in wanted_rules(location).items() if "held" in str(rule) and "Days" in str(rule)]
    assert sets_in(settings, "s3")[differential.id].state == "complete"


def test_the_rules_of_the_bucket_remove_the_others_and_leave_what_is_held(
    settings: Settings, a_server: ObjectServer, full: Manifest, differential: Manifest
) -> None:
    other = stored(settings, a_manifest(NOW - DAY / 2, run="cccc0000", full_set=full.id))
    held(settings, differential)
    rules = [rule for rule in wanted_rules(bucket(settings).location).values() if "Days" in rule.get("Expiration", {})]
    a_day_ago = f"{NOW - DAY:%Y-%m-%d}T00:00:00Z"
    # Weeks cannot be waited for: each class ends at a day that is past, by the same filters.
    rules = [{**rule, "Expiration": {"Date": a_day_ago}} for rule in rules]
    a_server.client().put_bucket_lifecycle_configuration(
        Bucket=bucket(settings).location.bucket, LifecycleConfiguration={"Rules": rules}
    )
    a_server.apply_lifecycle_rules()

    left = sets_in(settings, "s3")

    assert other.id not in left
    assert left[differential.id].state == left[full.id].state == "complete"


def test_what_is_released_gets_its_class_back_the_full_archive_too(
    settings: Settings, full: Manifest, differential: Manifest
) -> None:
    held(settings, differential)

    done = released(settings, differential)

    assert done.is_well
    assert (classes(settings, full), classes(settings, differential)) == ({"monthly"}, {"daily"})


def test_a_full_archive_stays_held_while_another_held_set_needs_it(
    settings: Settings, full: Manifest, differential: Manifest
) -> None:
    another = stored(settings, a_manifest(NOW - DAY / 2, run="cccc0000", full_set=full.id))
    held(settings, differential)
    held(settings, another)

    released(settings, differential)

    found = [classes(settings, one) for one in (full, differential, another)]
    assert found == [{"held"}, {"daily"}, {"held"}]


def test_the_daily_retention_lets_go_what_is_held_no_longer_and_keeps_a_copy_that_came_after_its_hold(
    settings: Settings, full: Manifest, differential: Manifest
) -> None:
    held(settings, differential, Hold(reason="audit", until=NOW + timedelta(seconds=1)))
    late = a_manifest(NOW - DAY / 2, run="cccc0000", full_set=full.id)
    put_set(local_store(settings), late)
    place_hold(settings.databases[0], settings, late.id, KEEP)
    copied(settings, to="s3", slot=late.slot)
    assert [classes(settings, one) for one in (differential, late)] == [{"held"}, {"daily"}]

    for one in prune_all(settings.databases[0], settings, apply=True):
        assert one.error is None

    assert [classes(settings, one) for one in (full, differential, late)] == [{"held"}, {"daily"}, {"held"}]


def in_the_bucket_only(settings: Settings, manifest: Manifest, until: datetime | None = None) -> None:
    """Hold a set as another host does, which has the same bucket and a local store of its own."""
    hold = HoldRecord(set_id=manifest.id, tool_version="0.1.0", placed_at=NOW, reason="elsewhere", until=until)
    put_record(bucket(settings), hold)


def over_soon(settings: Settings, *manifests: Manifest) -> None:
    """Hold sets everywhere, until a moment that has passed when anybody looks again."""
    for one in manifests:
        held(settings, one, Hold(reason="audit", until=NOW + timedelta(seconds=1)))


def retained(settings: Settings, now: datetime) -> None:
    """Carry the daily retention out, as it is at ``now``."""
    database = settings.databases[0]
    done = {
        one.store: one
        for one in prune_all(database, settings, apply=True, surveyed=survey(database, settings, now=now))
    }
    assert done["s3"].error is None, done["s3"].error


def test_who_cannot_read_does_not_let_go_what_only_the_bucket_knows_to_be_held(
    settings: Settings, full: Manifest, differential: Manifest
) -> None:
    over_soon(settings, full, differential)
    in_the_bucket_only(settings, full)

    retained(as_role(settings, "tagger"), NOW + DAY)

    assert (classes(settings, full), classes(settings, differential)) == ({"held"}, {"daily"})


def test_who_cannot_read_does_not_let_go_a_full_archive_that_a_set_only_the_bucket_knows_may_need(
    settings: Settings, full: Manifest, differential: Manifest
) -> None:
    over_soon(settings, differential)
    in_the_bucket_only(settings, differential)
    local = local_store(settings)
    for stored in [one for one in local.list(ERP4.root) if differential.id in one.key]:
        local.delete(stored.key)
    over_soon(settings, full)

    retained(as_role(settings, "tagger"), NOW + DAY)

    assert (classes(settings, full), classes(settings, differential)) == ({"held"}, {"held"})


def test_who_cannot_read_lets_go_whose_every_hold_it_knows_to_be_over(
    settings: Settings, full: Manifest, differential: Manifest
) -> None:
    over_soon(settings, full, differential)

    retained(as_role(settings, "tagger"), NOW + DAY)

    assert (classes(settings, full), classes(settings, differential)) == ({"monthly"}, {"daily"})


def test_a_release_by_who_cannot_read_lets_nothing_go_that_another_host_holds(
    settings: Settings, full: Manifest
) -> None:
    held(settings, full)
    in_the_bucket_only(settings, full, NOW + 90 * DAY)

    released(as_role(settings, "tagger"), full)

    assert classes(settings, full) == {"held"}


def test_a_full_archive_is_not_let_go_while_a_manifest_in_the_bucket_is_damaged(
    settings: Settings, full: Manifest, differential: Manifest
) -> None:
    held(settings, differential)
    over_soon(settings, full)
    store = bucket(settings)
    store.delete(ERP4.manifest_key(differential.id))
    put(store, ERP4.manifest_key(differential.id), b"damaged")

    retained(settings, NOW + DAY)

    assert classes(settings, full) == {"held"}


def test_other_tags_stay_as_they_are(settings: Settings, full: Manifest) -> None:
    store, key = bucket(settings), ERP4.manifest_key(full.id)
    store.put_tags(key, {**store.tags_of(key), "sha256": "abc"})

    held(settings, full)

    assert store.tags_of(key) == {"retention": "held", "sha256": "abc"}


def test_a_role_that_may_not_tag_is_told_when_the_bucket_removes_the_set_all_the_same(
    settings: Settings, full: Manifest, differential: Manifest
) -> None:
    done = held(as_role(settings, "writer"), differential)

    assert not done.is_well
    place = in_the_bucket(done)
    assert place.state == "recorded"
    assert isinstance(place.error, AccessDenied)
    (ending,) = [one for one in place.endings if one.part == differential.id]
    assert abs(ending.at - datetime.now(UTC) - 14 * DAY) < DAY
    assert classes(settings, differential) == {"daily"}


def test_the_watch_warns_of_a_held_set_that_the_bucket_removes_with_the_day(
    settings: Settings, full: Manifest, differential: Manifest
) -> None:
    held(settings, differential)
    assert look_at(settings.databases[0], settings).expiring == ()
    store = bucket(settings)
    for artifact in differential.artifacts:
        store.put_tags(ERP4.key(artifact.name), {"retention": "daily"})

    one = expiring(settings)[0]

    assert (one.set_id, one.store) == (differential.id, "s3")
    assert f"held until {KEEP.until:%Y-%m-%d}" in one.why
    assert f"remove it around {day_of_removal(settings, 14, *files_of(differential))}" in one.why


def test_the_watch_warns_when_only_what_a_held_set_needs_is_removed(
    settings: Settings, full: Manifest, differential: Manifest
) -> None:
    held(settings, differential)
    bucket(settings).put_tags(ERP4.manifest_key(full.id), {"retention": "daily"})

    one = expiring(settings)[0]

    assert f"remove {full.id}, which it cannot be restored without," in one.why


def test_the_doctor_says_on_which_day_a_held_set_goes(
    settings: Settings, full: Manifest, differential: Manifest
) -> None:
    held(settings, differential)
    bucket(settings).put_tags(ERP4.manifest_key(full.id), {"retention": "weekly"})

    (found,) = [one for one in examine_stores(settings.databases[0], settings) if one.name == "holds s3"]

    assert found.state == "warn"
    day = day_of_removal(settings, 56, ERP4.manifest_key(full.id))
    assert f"remove {full.id}, which it needs, around {day}" in found.found


def test_the_command_tells_the_day_and_its_status_is_1(
    settings: Settings,
    full: Manifest,
    differential: Manifest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    allowed, denied = (as_role(settings, role) for role in ("admin", "writer"))
    words = ["hold", differential.id, "--reason", "audit"]

    monkeypatch.setattr("backup_assets.cli.context.load_settings", lambda: denied)
    assert main(words) == 1
    assert f"remove it around {day_of_removal(settings, 14, *files_of(differential))}" in capsys.readouterr().err
    monkeypatch.setattr("backup_assets.cli.context.load_settings", lambda: allowed)
    assert main(words) == 0


def test_a_role_that_may_not_read_tags_believes_the_one_that_may(
    settings: Settings, full: Manifest, differential: Manifest
) -> None:
    held(settings, differential)
    (store,) = settings.stores
    apart = settings.model_copy(update={"stores": (store.model_copy(update={"read_profile": "reader"}),)})

    assert look_at(apart.databases[0], apart).expiring == ()


def test_a_held_set_that_lost_a_file_there_keeps_no_other_from_being_held(settings: Settings, full: Manifest) -> None:
    held(settings, full)
    other = stored(settings, a_manifest(NOW - DAY, run="dddd0000"))
    bucket(settings).delete(ERP4.key(full.artifacts[0].name))

    done = held(settings, other)

    assert done.is_well
    assert classes(settings, other) == {"held"}


def test_the_retention_is_red_while_a_held_set_lacks_a_file_in_the_bucket_and_the_others_are_kept(
    settings: Settings, full: Manifest
) -> None:
    held(settings, full)
    lost = ERP4.key(full.artifacts[0].name)
    bucket(settings).delete(lost)
    late = a_manifest(NOW - DAY, run="dddd0000")
    put_set(local_store(settings), late)
    place_hold(settings.databases[0], settings, late.id, KEEP)
    copied(settings, to="s3", slot=late.slot)

    (there,) = [one for one in prune_all(settings.databases[0], settings, apply=True) if one.store == "s3"]

    assert not there.is_well
    assert lost in str(there.error)
    assert f"for the slot {full.slot}" in str(held(settings, full).stores[-1].error)
    assert classes(settings, late) == {"held"}


def test_the_retention_is_red_when_a_bucket_soon_removes_what_is_held(
    settings: Settings, full: Manifest, differential: Manifest
) -> None:
    denied = as_role(settings, "writer")
    held(denied, full)
    assert [one.is_well for one in prune_all(denied.databases[0], denied, apply=True)] == [True, True]

    held(denied, differential)
    done = {one.store: one for one in prune_all(denied.databases[0], denied, apply=True)}

    assert done["local"].is_well
    day = day_of_removal(settings, 14, *files_of(differential))
    assert f"rules remove {differential.id} around {day}" in str(done["s3"].error)


def test_the_watch_of_a_host_that_may_only_store_warns_of_a_held_set_that_the_bucket_removes(
    settings: Settings, full: Manifest, differential: Manifest
) -> None:
    writer = as_role(settings, "writer")
    held(writer, differential)

    one = expiring(writer)[0]

    assert (one.set_id, one.store) == (differential.id, "s3")
    assert f"remove it around {day_of_removal(settings, 14, *files_of(differential))}" in one.why
    assert look_at(writer.databases[0], writer).unknown_stores == ()


def test_a_whole_look_of_a_host_that_may_only_store_tells_of_the_hold_and_calls_nothing_damaged(
    settings: Settings, full: Manifest, differential: Manifest
) -> None:
    writer = as_role(settings, "writer")
    held(writer, differential)

    def no_runs(_database: str, _cursor: Cursor, now: datetime) -> RunsRead:
        return RunsRead((), Cursor(updated_at=now))

    done = make_round(writer, datetime.now(UTC), no_runs, seconds=300)

    kinds = {one.kind: one for one in done.conditions}
    assert "sets_damaged" not in kinds
    assert differential.id in kinds["hold_expires"].cause
    assert "this role may not read the sets in" in kinds["store_unreachable"].cause


def test_an_encrypted_set_is_known_by_its_encrypted_files_to_a_host_that_may_only_store(
    settings: Settings, full: Manifest, keyrings: Keyrings
) -> None:
    encryption = EncryptionSettings(recipients=(keyrings.lena,), gpg_homedir=keyrings.host)
    settings = settings.model_copy(update={"encryption": encryption})
    sealed = put_set(local_store(settings), a_manifest(NOW - DAY, run="cccc0000"))
    encrypt_sets(settings.databases[0], settings, [sets_in(settings, "local")[sealed.id]], log=no_log)
    copied(settings, to="s3", slot=sealed.slot)
    place = store_named(as_role(settings, "writer"), "s3")

    (known,) = [
        one for one in unread_in(place, ERP4, list(sets_in(settings, "local").values()), ()) if one.id == sealed.id
    ]

    there = {stored.key for stored in bucket(settings).list("")}
    assert known.envelope is not None
    assert {ERP4.key(artifact.name) for artifact in known.envelope.artifacts} <= there


def test_the_doctor_of_a_host_that_may_only_store_says_on_which_day_a_held_set_goes(
    settings: Settings, full: Manifest, differential: Manifest
) -> None:
    writer = as_role(settings, "writer")
    held(writer, differential)

    found = [one for one in examine_stores(writer.databases[0], writer) if one.name == "holds s3"]

    assert {one.state for one in found} == {"warn"}
    assert f"remove it around {day_of_removal(settings, 14, *files_of(differential))}" in found[0].found


def test_a_role_that_is_named_to_read_and_may_not_is_told(
    settings: Settings, full: Manifest, differential: Manifest
) -> None:
    (store,) = settings.stores
    broken = settings.model_copy(update={"stores": (store.model_copy(update={"read_profile": "writer"}),)})
    database = broken.databases[0]

    (told,) = [one for one in examine_stores(database, broken) if one.name == "holds s3"]
    (pruned,) = [one for one in prune_all(database, broken, apply=True) if one.store == "s3"]

    assert "not known: this role may not read" in told.found
    assert isinstance(pruned.error, AccessDenied)
    assert "s3" in look_at(database, broken).unknown_stores


def test_the_daily_retention_of_a_host_that_may_only_store_is_well_and_says_what_it_does_not_see(
    settings: Settings, full: Manifest
) -> None:
    writer = as_role(settings, "writer")

    (pruned,) = [one for one in prune_all(writer.databases[0], writer, apply=True) if one.store == "s3"]

    assert pruned.is_well
    assert "this role may not read there" in pruned.skipped


def test_a_bucket_that_may_not_be_read_is_not_pruned_and_not_called_damaged(
    settings: Settings,
    full: Manifest,
    differential: Manifest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    writer = as_role(settings, "writer")
    named = prune(writer.databases[0], writer, "s3", apply=True)
    assert (named.plan, named.is_well) == (None, False)

    monkeypatch.setattr("backup_assets.cli.context.load_settings", lambda: writer)
    for words, status in ((["prune", "--store", "s3"], 1), (["list", "--store", "s3"], 3)):
        assert main(words) == status
        told = capsys.readouterr()
        assert "this role may not read the sets in" in told.err
        assert "damaged" not in told.err + told.out


def test_a_bucket_that_removes_nothing_by_class_is_left_alone(a_server: ObjectServer, tmp_path: Path) -> None:
    settings = settings_with(tmp_path / "backups", a_bucket_store(a_server, "s3"))
    manifest = stored(settings, a_manifest(NOW - DAY))

    assert held(settings, manifest).is_well
    assert classes(settings, manifest) == {None}
    assert look_at(settings.databases[0], settings).expiring == ()


def test_a_folder_is_no_bucket(tmp_path: Path) -> None:
    (tmp_path / "usb").mkdir()
    settings = settings_with(tmp_path / "backups", folder_store(tmp_path / "usb"))
    manifest = put_set(local_store(settings), a_manifest(NOW - DAY))

    assert held(settings, manifest).is_well
