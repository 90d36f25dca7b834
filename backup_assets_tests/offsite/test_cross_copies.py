"""Copies from one bucket to another: by the service, through this host, and what happens when either misbehaves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from backup_assets.errors import CheckFailed, EnvironmentFault, Refused, TransientFault
from backup_assets.named_stores import catalog_in
from backup_assets.offsite.encrypted import encrypt_sets
from backup_assets.restore.fetch import fetch_set
from backup_assets.sets.manifest import Manifest
from backup_assets.sets.records import HoldRecord
from backup_assets.settings import Settings
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets.stores.contract import ConflictingObject
from backup_assets_tests.ciphers.keys import AgeKeys
from backup_assets_tests.offsite.copying import copied, hold, local_set
from backup_assets_tests.offsite.cross_copying import (
    a_bucket_store,
    bucket,
    content_in,
    cross_copied,
    hold_in,
    replace_content,
    requests_to,
    states_in,
    tokyo_and_osaka,
    use_profiles,
)
from backup_assets_tests.sets.examples import ERP4, NOW, a_manifest, a_verification, put_record
from backup_assets_tests.sources import no_log
from backup_assets_tests.stores.faulty import Stopped
from backup_assets_tests.stores.object_server import KMS_KEY, ObjectServer, object_server

LATER = NOW + timedelta(hours=1)
LAST_WEEK = NOW - timedelta(days=7)


@pytest.fixture(scope="module")
def one_server() -> Iterator[ObjectServer]:
    with object_server() as server:
        yield server


@pytest.fixture(scope="module")
def another_server() -> Iterator[ObjectServer]:
    with object_server() as server:
        yield server


@pytest.fixture(autouse=True)
def profiles(one_server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_profiles(one_server, tmp_path, monkeypatch)


@pytest.fixture
def within(one_server: ObjectServer, tmp_path: Path) -> Settings:
    """Two buckets of one service, each with a key of its own, the second below a prefix."""
    tokyo = a_bucket_store(one_server, "tokyo", sse_kms_key_id=KMS_KEY)
    osaka = a_bucket_store(one_server, "osaka", sse_kms_key_id="osaka", prefix="copy", copied_from="tokyo")
    return tokyo_and_osaka(tmp_path, tokyo, osaka)


@pytest.fixture
def between(one_server: ObjectServer, another_server: ObjectServer, tmp_path: Path) -> Settings:
    """Two buckets of two services."""
    osaka = a_bucket_store(another_server, "osaka", copied_from="tokyo")
    return tokyo_and_osaka(tmp_path, a_bucket_store(one_server, "tokyo"), osaka)


@pytest.fixture(params=["by the service", "through this host"])
def settings(request: pytest.FixtureRequest) -> Settings:
    return request.getfixturevalue("within" if request.param == "by the service" else "between")


def held(settings: Settings, *manifests: Manifest) -> None:
    """Put sets into the local store and the first bucket."""
    hold(settings, *manifests)
    hold_in(bucket(settings, "tokyo"), *manifests)


@pytest.fixture
def a_set(settings: Settings) -> Manifest:
    manifest = a_manifest()
    held(settings, manifest)
    return manifest


def operations(seen: list[tuple[str, str]]) -> set[str]:
    return {operation for operation, key in seen if "/meta/" not in key}


def test_a_set_comes_to_the_second_bucket_byte_for_byte(settings: Settings, a_set: Manifest) -> None:
    outcome = cross_copied(settings)[a_set.id]

    assert (outcome.state, outcome.store, outcome.sent_bytes) == ("copied", "osaka", a_set.size_bytes)
    assert (outcome.artifacts, outcome.size_bytes) == (2, a_set.size_bytes)
    assert content_in(bucket(settings, "osaka")) == content_in(bucket(settings, "tokyo"))
    assert states_in(bucket(settings, "osaka")) == {a_set.id: "complete"}


def test_within_one_service_no_file_passes_through_this_host(within: Settings, one_server: ObjectServer) -> None:
    manifest = a_manifest()
    held(within, manifest)

    with requests_to(bucket(within, "tokyo")) as of_tokyo, requests_to(bucket(within, "osaka")) as of_osaka:
        cross_copied(within)

    assert "GetObject" not in operations(of_tokyo)
    assert operations(of_osaka) == {"CopyObject"}
    dump = manifest.artifact("dump")
    assert dump is not None
    osaka = bucket(within, "osaka").location
    head = one_server.client().head_object(Bucket=osaka.bucket, Key=f"copy/{ERP4.key(dump.name)}")
    assert head["SSEKMSKeyId"] == "osaka"
    assert (head["Metadata"]["env"], head["Metadata"]["set-id"]) == ("prod", manifest.id)


def test_between_two_services_every_file_passes_and_none_stays(between: Settings) -> None:
    held(between, a_manifest())

    with requests_to(bucket(between, "osaka")) as of_osaka:
        cross_copied(between)

    assert operations(of_osaka) == {"PutObject"}
    assert list((between.backup_dir / ".work").iterdir()) == []


def test_artifacts_go_first_and_the_manifest_last(settings: Settings, a_set: Manifest) -> None:
    put_record(bucket(settings, "tokyo"), a_verification(a_set.id))

    with requests_to(bucket(settings, "osaka")) as seen:
        cross_copied(settings)

    stored = [key.rpartition("/")[2] for operation, key in seen if operation in {"CopyObject", "PutObject"}]
    kinds = [name.partition(".")[2].partition(".")[0] for name in stored]
    assert (sorted(kinds[:2]), kinds[2:]) == (["dump", "tar"], ["manifest", "verification"])  # artifacts all at once


def test_the_copy_is_on_record_beside_the_local_set(settings: Settings, a_set: Manifest) -> None:
    cross_copied(settings)

    record = local_set(settings, a_set).copies["osaka"]
    assert (record.set_id, record.bytes) == (a_set.id, a_set.size_bytes)
    assert {(a.name, a.size_bytes, a.sha256) for a in record.artifacts} == {
        (a.name, a.size_bytes, a.sha256) for a in a_set.artifacts
    }


def test_copying_again_sends_nothing_and_records_nothing(settings: Settings, a_set: Manifest) -> None:
    cross_copied(settings)
    before = local_set(settings, a_set).records

    with requests_to(bucket(settings, "osaka")) as seen:
        outcome = cross_copied(settings)[a_set.id]

    assert (outcome.state, outcome.sent_bytes) == ("present", 0)
    assert not operations(seen) & {"CopyObject", "PutObject"}
    assert local_set(settings, a_set).records == before


def test_with_the_local_store_lost_the_first_bucket_is_enough(settings: Settings) -> None:
    manifest = a_manifest()
    hold_in(bucket(settings, "tokyo"), manifest)

    assert cross_copied(settings)[manifest.id].state == "copied"

    assert states_in(bucket(settings, "osaka")) == {manifest.id: "complete"}


def test_a_differential_brings_the_full_set_that_it_requires_first(settings: Settings) -> None:
    full = a_manifest(LAST_WEEK, run="f" * 8)
    differential = a_manifest(full_set=full.id)
    held(settings, full, differential)

    outcome = cross_copied(settings)

    assert [(one.set_id, one.required) for one in outcome.values()] == [(full.id, True), (differential.id, False)]
    assert states_in(bucket(settings, "osaka")) == {full.id: "complete", differential.id: "complete"}


def test_a_differential_never_goes_before_its_full_set(settings: Settings) -> None:
    full = a_manifest(LAST_WEEK, run="f" * 8)
    differential = a_manifest(full_set=full.id)
    held(settings, full, differential)
    archive = full.artifact("archive")
    assert archive is not None
    replace_content(bucket(settings, "tokyo"), ERP4.key(archive.name), b"Attachments")

    outcome = cross_copied(settings)

    assert [one.state for one in outcome.values()] == ["failed", "failed"]
    assert full.id in str(outcome[differential.id].error)
    assert states_in(bucket(settings, "osaka")) == {}
    assert not [key for key in content_in(bucket(settings, "osaka")) if differential.id in key]


def test_only_the_sets_of_the_slot_and_the_kind_are_copied(settings: Settings) -> None:
    wanted, other_day = a_manifest(), a_manifest(LAST_WEEK)
    tables = a_manifest(LATER, kind="important_tables")
    held(settings, wanted, other_day, tables)

    assert list(cross_copied(settings)) == [wanted.id]
    assert list(cross_copied(settings, kind="important_tables")) == [tables.id]
    assert set(states_in(bucket(settings, "osaka"))) == {wanted.id, tables.id}


def test_a_set_that_never_came_to_the_first_bucket_is_a_failure_and_the_others_go(settings: Settings) -> None:
    there, missing = a_manifest(), a_manifest(LATER)
    hold(settings, there, missing)
    hold_in(bucket(settings, "tokyo"), there)

    outcome = cross_copied(settings)

    assert (outcome[there.id].state, outcome[missing.id].state) == ("copied", "failed")
    error = outcome[missing.id].error
    assert isinstance(error, CheckFailed)
    assert "is not in tokyo" in error.what
    assert "materialize the copy to tokyo for the slot 2026-11-22" in error.remedy
    assert set(states_in(bucket(settings, "osaka"))) == {there.id}


def test_a_slot_without_a_set_is_refused(within: Settings) -> None:
    with pytest.raises(Refused, match="the slot 2026-11-21 of erp4 has no set to copy from tokyo"):
        cross_copied(within, slot="2026-11-21")


@pytest.mark.parametrize("damage", ["altered", "short", "gone"])
def test_a_set_that_is_damaged_in_the_first_bucket_is_never_listed_in_the_second(
    settings: Settings, damage: str
) -> None:
    good, bad = a_manifest(LATER), a_manifest()
    held(settings, good, bad)
    dump = bad.artifact("dump")
    assert dump is not None
    tokyo, key = bucket(settings, "tokyo"), ERP4.key(dump.name)
    if damage == "gone":
        tokyo.delete(key)
    else:
        replace_content(tokyo, key, b"?" * dump.size_bytes if damage == "altered" else b"short")

    outcome = cross_copied(settings)

    assert (outcome[bad.id].state, outcome[good.id].state) == ("failed", "copied")
    assert isinstance(outcome[bad.id].error, CheckFailed)
    assert set(states_in(bucket(settings, "osaka"))) == {good.id}
    assert ERP4.key(dump.name) not in content_in(bucket(settings, "osaka"))
    assert local_set(settings, bad).copies == {}


def test_a_damaged_manifest_in_the_first_bucket_is_a_failure_and_not_passed_over(settings: Settings) -> None:
    good, bad = a_manifest(LATER), a_manifest()
    held(settings, good, bad)
    replace_content(bucket(settings, "tokyo"), ERP4.manifest_key(bad.id), b"{}")

    outcome = cross_copied(settings)

    assert (outcome[bad.id].state, outcome[good.id].state) == ("failed", "copied")
    assert set(states_in(bucket(settings, "osaka"))) == {good.id}


def test_a_copy_that_was_altered_there_is_told_and_not_overwritten(settings: Settings, a_set: Manifest) -> None:
    cross_copied(settings)
    dump = a_set.artifact("dump")
    assert dump is not None
    replace_content(bucket(settings, "osaka"), ERP4.key(dump.name), b"?" * dump.size_bytes)

    outcome = cross_copied(settings)[a_set.id]

    assert outcome.state == "failed"
    assert isinstance(outcome.error, ConflictingObject)
    assert content_in(bucket(settings, "osaka"))[ERP4.key(dump.name)] == b"?" * dump.size_bytes


def test_a_copy_with_another_key_than_required_is_not_accepted(within: Settings) -> None:
    manifest = a_manifest()
    held(within, manifest)
    cross_copied(within)
    tokyo, osaka = within.stores
    demanding = osaka.model_copy(update={"sse_kms_key_id": "another"})

    with pytest.raises(EnvironmentFault, match="not encrypted as required"):
        cross_copied(within.model_copy(update={"stores": (tokyo, demanding)}))


def test_a_copy_that_was_interrupted_is_listed_only_when_it_was_repeated(settings: Settings, a_set: Manifest) -> None:
    osaka = bucket(settings, "osaka")
    for nth in (0, 1, 1):  # before the dump, before the archive, before the manifest: what went before is there
        with requests_to(osaka, stop_at=nth), pytest.raises(Stopped):
            cross_copied(settings)
        assert states_in(osaka) == {}
        assert local_set(settings, a_set).copies == {}

    assert cross_copied(settings)[a_set.id].state == "copied"

    assert content_in(osaka) == content_in(bucket(settings, "tokyo"))
    assert states_in(osaka) == {a_set.id: "complete"}


def test_records_of_every_kind_follow_their_sets_whenever_they_were_made(settings: Settings, a_set: Manifest) -> None:
    cross_copied(settings)
    tokyo = bucket(settings, "tokyo")
    put_record(tokyo, a_verification(a_set.id, store="tokyo"))
    put_record(tokyo, HoldRecord(set_id=a_set.id, tool_version="1", placed_at=NOW, reason="audit"))
    damaged = put_record(tokyo, a_verification(a_set.id, at=LATER))
    replace_content(tokyo, damaged, b"{}")
    lines: list[str] = []

    cross_copied(settings, log=lines.append)

    (there,) = catalog_in(bucket(settings, "osaka"), ERP4).sets()
    assert {record.kind for record in there.records} == {"verification", "hold"}
    assert there.hold_at(NOW) is not None
    assert there.damaged_records == ()
    assert [line for line in lines if damaged in line]


def test_a_role_that_may_not_read_the_first_bucket_lets_the_files_pass_through_this_host_and_says_so(
    one_server: ObjectServer, tmp_path: Path
) -> None:
    roles = {"profile": "writer", "read_profile": "reader"}
    settings = tokyo_and_osaka(
        tmp_path,
        a_bucket_store(one_server, "tokyo", **roles),
        a_bucket_store(one_server, "osaka", copied_from="tokyo", **roles),
    )
    manifest = a_manifest()
    held(settings, manifest)
    lines: list[str] = []

    assert cross_copied(settings, log=lines.append)[manifest.id].state == "copied"

    assert len([line for line in lines if "pass through this host" in line and "access denied" in line]) == 1
    reader = settings.model_copy(
        update={"stores": tuple(one.model_copy(update={"profile": "reader"}) for one in settings.stores)}
    )
    assert states_in(bucket(reader, "osaka")) == {manifest.id: "complete"}
    assert cross_copied(settings)[manifest.id].state == "present"


@pytest.mark.parametrize("read_profile", ["reader", None])
def test_with_another_account_at_the_destination_nothing_is_asked_of_it_but_to_store(
    one_server: ObjectServer, tmp_path: Path, read_profile: str | None
) -> None:
    settings = tokyo_and_osaka(
        tmp_path,
        a_bucket_store(one_server, "tokyo", read_profile="reader"),
        a_bucket_store(one_server, "osaka", copied_from="tokyo", profile="writer", read_profile=read_profile),
    )
    manifest = a_manifest()
    held(settings, manifest)

    assert cross_copied(settings)[manifest.id].state == "copied"
    assert cross_copied(settings)[manifest.id].state == "present"


def test_a_bucket_that_does_not_answer_is_a_transient_fault(between: Settings) -> None:
    held(between, a_manifest())
    tokyo, osaka = between.stores
    away = osaka.model_copy(update={"endpoint_url": "http://127.0.0.1:9"})

    with pytest.raises(TransientFault, match="cannot be reached"):
        cross_copied(between.model_copy(update={"stores": (tokyo, away)}))


def test_an_encrypted_set_goes_as_it_is(settings: Settings, age_keys: AgeKeys) -> None:
    manifest = a_manifest()
    hold(settings, manifest)
    encrypting = settings.model_copy(
        update={"encryption": EncryptionSettings(cipher="age", recipients=(age_keys.lena,))}
    )
    (encrypted,) = encrypt_sets(settings.databases[0], encrypting, [local_set(settings, manifest)], log=no_log)
    assert encrypted.error is None
    assert copied(encrypting, to="tokyo")[manifest.id].state == "copied"

    outcome = cross_copied(encrypting)[manifest.id]

    assert outcome.state == "copied"
    assert content_in(bucket(settings, "osaka")) == content_in(bucket(settings, "tokyo"))
    (there,) = catalog_in(bucket(settings, "osaka"), ERP4).sets()
    assert (there.state, there.is_encrypted) == ("complete", True)
    assert set(local_set(settings, manifest).copies) == {"tokyo", "osaka"}


def test_a_set_comes_back_from_the_second_bucket_alone(settings: Settings, a_set: Manifest, tmp_path: Path) -> None:
    cross_copied(settings)
    osaka = bucket(settings, "osaka")
    catalog = catalog_in(osaka, ERP4)

    fetched = fetch_set(osaka, ERP4, catalog, catalog.resolve("latest"), tmp_path, settings.encryption)

    assert fetched.backup_set.id == a_set.id
    assert fetched.paths["dump"].read_bytes() == f"the dump of {a_set.id}".encode()
