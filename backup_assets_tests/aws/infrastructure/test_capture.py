from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backup_assets.aws.infrastructure.capture import CapturedInfrastructure, capture_infrastructure, state_path
from backup_assets.aws.infrastructure.place import infrastructure_databases
from backup_assets.errors import Refused
from backup_assets.local import local_store, place_of
from backup_assets.named_stores import catalog_in
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.place import StoredObject, record_kind_of
from backup_assets.settings import Settings
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets.stores.folder import FolderStore
from backup_assets_tests.aws.conftest import INSTANCE, PretendedAws
from backup_assets_tests.aws.infrastructure.estate import (
    CANARY,
    FUNCTION,
    make_estate,
    open_port,
    set_parameter,
    set_variables,
    settings_of,
)
from backup_assets_tests.ciphers.keys import Keyrings, gpg
from backup_assets_tests.sets.examples import proof_of


def taken(settings: Settings, day: int = 22, *, said: str | None = None) -> CapturedInfrastructure:
    wanted = settings.aws.infrastructure
    assert wanted is not None
    moment = datetime(2026, 11, day, 2, 0, tzinfo=UTC)
    return capture_infrastructure(
        settings, wanted, f"2026-11-{day}", f"{day:08x}-0000", log=[].append, now=lambda: moment, told=said
    )


def without_records(put: Callable[..., StoredObject]) -> Callable[..., StoredObject]:
    """Return ``put`` as of a process that is killed when it begins to write a record."""

    def killed(self: FolderStore, key: str, *arguments: Any, **named: Any) -> StoredObject:
        if record_kind_of(key.partition("/prod/")[2]):
            raise KeyboardInterrupt
        return put(self, key, *arguments, **named)

    return killed


def listed(settings: Settings) -> list[BackupSet]:
    (database,) = infrastructure_databases(settings)
    return catalog_in(local_store(settings), place_of(database, settings)).sets()


def document(settings: Settings, done: CapturedInfrastructure) -> dict[str, Any]:
    path = settings.backup_dir / "infrastructure" / "prod" / done.manifest.artifacts[0].name
    return json.loads(path.read_bytes())


def below(directory: Path) -> bytes:
    return b"\n".join(str(path).encode() + path.read_bytes() for path in directory.rglob("*") if path.is_file())


def told(done: CapturedInfrastructure) -> list[str]:
    return [str(change) for change in done.comparison.changes]


def test_the_document_is_a_proven_set_of_its_own_place(tmp_path: Path, aws: PretendedAws) -> None:
    make_estate(aws)
    settings = settings_of(tmp_path, aws)

    done = taken(settings)

    (one,) = listed(settings)
    assert (one.manifest.kind, one.state, one.manifest.slot) == ("infrastructure", "complete", "2026-11-22")
    assert one.manifest.artifacts[0].name == f"assets/{one.id}.infrastructure.json"
    proof = proof_of(one)
    assert proof is not None
    assert proof.content
    written = document(settings, done)
    assert written["env"] == "prod"
    assert written["settings"]["rds"][INSTANCE]["BackupRetentionPeriod"] == 14
    assert done.comparison.previous is None
    assert done.comparison.changes == ()
    assert (
        settings.backup_dir / "infrastructure/prod" / one.manifest.artifacts[0].name
    ).stat().st_mode & 0o777 == 0o600


def test_no_value_of_a_variable_reaches_the_disk(tmp_path: Path, aws: PretendedAws) -> None:
    make_estate(aws)
    settings = settings_of(tmp_path, aws)

    first, second = taken(settings, 22), taken(settings, 23)

    assert CANARY.encode() not in below(tmp_path)
    variables = [document(settings, done)["settings"]["lambda"][FUNCTION]["Environment"] for done in (first, second)]
    assert variables[0].keys() == {"TOKEN", "LOG_LEVEL"}
    assert variables[0]["TOKEN"] != variables[1]["TOKEN"], "the key is another one for every set"
    assert second.comparison.previous == first.manifest.id
    assert second.comparison.changes == ()
    assert second.comparison.incomplete == ""
    key = json.loads(state_path(settings).read_bytes())["key"]
    assert key.encode() not in below(settings.backup_dir / "infrastructure")
    assert state_path(settings).stat().st_mode & 0o777 == 0o600


def test_what_changed_since_the_day_before_is_told_once(tmp_path: Path, aws: PretendedAws) -> None:
    group = make_estate(aws)
    settings = settings_of(tmp_path, aws)
    taken(settings, 22)
    aws.client("rds").modify_db_instance(DBInstanceIdentifier=INSTANCE, BackupRetentionPeriod=1)
    open_port(aws, group, "0.0.0.0/0")
    set_parameter(aws, "log_min_duration_statement", "5000")
    set_variables(aws, TOKEN="another", LOG_LEVEL="info")

    lines = told(taken(settings, 23))

    assert f"rds/{INSTANCE}/BackupRetentionPeriod: 14 → 1" in lines
    assert "rds_parameter_groups/erp4-parameters/log_min_duration_statement: 1000 → 5000" in lines
    assert f"lambda/{FUNCTION}/Environment/TOKEN: (a value) → (another value)" in lines
    assert any(line.startswith(f"security_groups/{group}/IpPermissions: added") for line in lines)
    assert not any("LOG_LEVEL" in line for line in lines)
    assert told(taken(settings, 24)) == []


def test_a_change_is_told_although_the_run_that_first_saw_it_died_after_its_manifest(
    tmp_path: Path, aws: PretendedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_estate(aws)
    settings = settings_of(tmp_path, aws)
    first = taken(settings, 22)
    aws.client("rds").modify_db_instance(DBInstanceIdentifier=INSTANCE, BackupRetentionPeriod=1)
    set_variables(aws, TOKEN="another", LOG_LEVEL="info")
    with monkeypatch.context() as killed:
        killed.setattr(FolderStore, "put", without_records(FolderStore.put))
        for day in (23, 24):
            with pytest.raises(KeyboardInterrupt):
                taken(settings, day)
    assert [(one.manifest.slot, proof_of(one) is not None) for one in listed(settings)] == [
        ("2026-11-24", False), ("2026-11-23", False), ("2026-11-22", True),
    ]  # fmt: skip

    done = taken(settings, 25)

    assert done.comparison.previous == first.manifest.id
    assert done.comparison.incomplete == ""
    assert sorted(told(done)) == [
        f"lambda/{FUNCTION}/Environment/TOKEN: (a value) → (another value)",
        f"rds/{INSTANCE}/BackupRetentionPeriod: 14 → 1",
    ]
    assert told(taken(settings, 26)) == []


def test_a_change_is_told_although_the_run_that_first_saw_it_died_before_it_could_say_so(
    tmp_path: Path, aws: PretendedAws
) -> None:
    make_estate(aws)
    settings = settings_of(tmp_path, aws)
    first = taken(settings, 22).manifest.id
    set_variables(aws, TOKEN="another", LOG_LEVEL="info")
    taken(settings, 23, said=first)

    again = taken(settings, 24, said=first)

    assert again.comparison.previous == first
    assert told(again) == [f"lambda/{FUNCTION}/Environment/TOKEN: (a value) → (another value)"]
    assert told(taken(settings, 25, said=again.manifest.id)) == []
    assert taken(settings, 26, said="2026-01-01-20260101T020000Z-1a2b3c4d").comparison.previous is not None


def test_without_the_key_it_is_said_that_values_were_not_compared(tmp_path: Path, aws: PretendedAws) -> None:
    make_estate(aws)
    settings = settings_of(tmp_path, aws)
    taken(settings, 22)
    state_path(settings).unlink()
    set_variables(aws, TOKEN="another", LOG_LEVEL="info")

    comparison = taken(settings, 23).comparison

    assert comparison.changes == ()
    assert comparison.incomplete.startswith("values of environment variables were not compared")


def test_a_damaged_document_is_not_compared_with(tmp_path: Path, aws: PretendedAws) -> None:
    make_estate(aws)
    settings = settings_of(tmp_path, aws)
    first = taken(settings, 22)
    path = settings.backup_dir / "infrastructure/prod" / first.manifest.artifacts[0].name
    path.write_bytes(path.read_bytes().replace(b"14", b"15", 1))

    comparison = taken(settings, 23).comparison

    assert comparison.changes == ()
    assert "could not be compared with" in comparison.incomplete


def test_what_could_not_be_read_is_in_the_manifest(tmp_path: Path, aws: PretendedAws) -> None:
    make_estate(aws)
    settings = settings_of(tmp_path, aws, lambda_functions=("gone",))

    done = taken(settings)

    assert done.manifest.warnings == done.not_captured
    assert done.not_captured[0].startswith("lambda/gone was not captured")
    assert document(settings, done)["settings"]["not_captured"] == {"lambda/gone": "missing"}


def test_with_values_the_whole_document_is_encrypted_and_nothing_else_holds_it(
    tmp_path: Path, aws: PretendedAws, keyrings: Keyrings
) -> None:
    make_estate(aws)
    encryption = EncryptionSettings(recipients=(keyrings.lena,), gpg_homedir=keyrings.host)
    settings = settings_of(tmp_path, aws, encryption=encryption, values=True)

    first = taken(settings, 22)
    set_variables(aws, TOKEN="another", LOG_LEVEL="info")
    second = taken(settings, 23)

    (artifact,) = first.manifest.artifacts
    assert (artifact.encryption, artifact.name) == ("gpg", f"assets/{first.manifest.id}.infrastructure.json.gpg")
    path = settings.backup_dir / "infrastructure/prod" / artifact.name
    plain = json.loads(gpg(keyrings.lena_home, "--decrypt", str(path)))
    assert plain["settings"]["lambda"][FUNCTION]["Environment"]["TOKEN"] == CANARY
    found = below(tmp_path)
    for word in (CANARY, "BackupRetentionPeriod", "erp4-parameters"):
        assert word.encode() not in found
    assert told(second) == [f"lambda/{FUNCTION}/Environment/TOKEN: (a value) → (another value)"]
    assert [one.state for one in listed(settings)] == ["complete", "complete"]
    assert proof_of(listed(settings)[0]) is not None


def test_values_without_encryption_are_refused_before_anything_is_read(tmp_path: Path, aws: PretendedAws) -> None:
    settings = settings_of(tmp_path, aws, values=True)

    with pytest.raises(Refused, match="nothing is encrypted here"):
        taken(settings)
    assert listed(settings) == []
