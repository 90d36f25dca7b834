"""moto with what it lacks of CloudFormation, AWS Backup and RDS, and settings of an ERP in two regions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.backup import urls
from moto.backup.responses import BackupResponse
from moto.cloudformation.models import Change
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.responses import ActionResult, EmptyResult
from moto.rds.responses import RDSResponse
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from backup_assets.aws.provision.pace import Pace
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_aws import AwsSettings, BackupPlanSettings, RdsCopySettings, RdsSettings
from backup_assets.settings_server import ServerSettings
from backup_assets_tests.aws.conftest import INSTANCE, OSAKA, PretendedAws

#: Ends at the second look, without a sleep.
HASTY = Pace(seconds=0, deadline_seconds=0)


class Lacking:
    """What moto is given for these tests: what it holds, what it was asked, and how the next change set looks."""

    opted_in: dict[str, bool]
    replications: dict[str, dict[str, Any]]
    replacement: str


@pytest.fixture(scope="session")
def moto_address() -> Iterator[str]:
    """Return the address of a server of this folder: paths are read when it starts."""
    if "{0}/account-settings$" not in urls.url_paths:
        urls.url_paths["{0}/account-settings$"] = urls.response.dispatch
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def lacking(monkeypatch: pytest.MonkeyPatch) -> Lacking:
    """Give moto the calls that it does not know; botocore's model shapes requests and answers all the same."""
    state = Lacking()
    state.opted_in, state.replications, state.replacement = {"RDS": True, "Aurora": False, "EBS": False}, {}, "False"

    def update_termination_protection(self: CloudFormationResponse) -> ActionResult:
        stack = self.cloudformation_backend.get_stack(self._get_param("StackName"))
        stack.enable_termination_protection = bool(self._get_bool_param("EnableTerminationProtection"))
        return ActionResult({"StackId": stack.stack_id})

    def describe_region_settings(self: BackupResponse) -> str:
        return json.dumps({"ResourceTypeOptInPreference": state.opted_in})

    def update_region_settings(self: BackupResponse) -> EmptyResult:
        state.opted_in = json.loads(self.body)["ResourceTypeOptInPreference"]
        return EmptyResult()

    def start_db_instance_automated_backups_replication(self: RDSResponse) -> ActionResult:
        arn = self._get_param("SourceDBInstanceArn")
        state.replications[arn] = {
            "region": self.region,
            "days": self._get_int_param("BackupRetentionPeriod"),
            "key": self._get_param("KmsKeyId"),
            "presigned": bool(self._get_param("PreSignedUrl")),
        }
        return ActionResult({"DBInstanceAutomatedBackup": {"DBInstanceArn": arn, "Status": "pending"}})

    def replacing(change: Change, action: str, logical_resource_id: str, resource_type: str) -> None:
        change.action, change.logical_resource_id, change.resource_type = action, logical_resource_id, resource_type
        change.replacement = state.replacement if action == "Modify" else None  # type: ignore[attr-defined]

    for owner, function in (
        (CloudFormationResponse, update_termination_protection),
        (BackupResponse, describe_region_settings),
        (BackupResponse, update_region_settings),
        (RDSResponse, start_db_instance_automated_backups_replication),
    ):
        monkeypatch.setattr(owner, function.__name__, function, raising=False)
    monkeypatch.setattr(Change, "__init__", replacing)
    return state


@pytest.fixture
def settings(aws: PretendedAws, tmp_path: Path) -> Settings:
    """Return settings of one instance with copies in Osaka and a plan of AWS Backup."""
    return settings_of(aws, tmp_path)


def settings_of(aws: PretendedAws, tmp_path: Path, **changes: Any) -> Settings:
    """Return settings; ``changes`` are of `rds`, `plan` (None: no plan), `databases` and `stores`."""
    plan = changes.get("plan", {})
    rds = {
        "instance": INSTANCE,
        "copies": RdsCopySettings(region=OSAKA, kms_key_id=aws.osaka_key),
        **changes.get("rds", {}),
    }
    return Settings(
        env="production",
        backup_dir=tmp_path / "backups",
        databases=changes.get("databases", (database("erp4", **rds),)),
        stores=changes.get("stores", ()),
        aws=AwsSettings(
            endpoint_url=aws.endpoint_url,
            backup_plan=BackupPlanSettings(**plan) if plan is not None else None,
        ),
    )


def database(name: str, **rds: Any) -> DatabaseSettings:
    """Return a database that RDS runs."""
    server = ServerSettings(host="127.0.0.1", user="postgres", password=SecretStr("not-a-secret"))
    return DatabaseSettings(name=name, database=name, server=server, rds=RdsSettings(**rds))
