"""AWS as moto pretends it, over HTTP: new for every test, in Tokyo and in Osaka."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from moto.rds.models import DBClusterSnapshot, DBSnapshot, RDSBackend, rds_backends
from moto.server import ThreadedMotoServer

from backup_assets.aws.access import Access

TOKYO = "ap-northeast-1"
OSAKA = "ap-northeast-3"
INSTANCE = "erp4-prod"
CLUSTER = "erp4-cluster"
#: The account that moto gives to every credential that it does not know.
ACCOUNT = "123456789012"
OTHER_ACCOUNT = "222222222222"
_KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}


@dataclass(frozen=True)
class PretendedAws:
    """An AWS that answers at ``endpoint_url``, with one KMS key in Tokyo and one in Osaka (their ARNs)."""

    endpoint_url: str
    tokyo_key: str
    osaka_key: str

    def client(self, service: str, region: str = TOKYO) -> Any:
        """Return an administrator's client of a service, apart from those that the code under test makes."""
        return boto3.client(service, region_name=region, endpoint_url=self.endpoint_url, **_KEYS)

    def access(self, region: str = TOKYO, profile: str | None = None) -> Access:
        """Return how the code under test reaches it."""
        return Access(region, profile, self.endpoint_url)

    def make_instance(self, identifier: str = INSTANCE, region: str = TOKYO, **changes: Any) -> dict[str, Any]:
        """Make a PostgreSQL instance as it should be: encrypted, protected, with 14 days of automated backups."""
        wanted = {
            "DBInstanceIdentifier": identifier,
            "DBInstanceClass": "db.t4g.medium",
            "Engine": "postgres",
            "EngineVersion": "17.6",
            "AllocatedStorage": 20,
            "DBName": "erp4",
            "MasterUsername": "postgres",
            "MasterUserPassword": "not-a-secret",
            "BackupRetentionPeriod": 14,
            "DeletionProtection": True,
            "StorageEncrypted": True,
            "KmsKeyId": self.tokyo_key,
            "CopyTagsToSnapshot": True,
            "PubliclyAccessible": False,
        }
        given = {key: value for key, value in {**wanted, **changes}.items() if value is not None}
        return self.client("rds", region).create_db_instance(**given)["DBInstance"]

    def make_cluster(self, identifier: str = CLUSTER, region: str = TOKYO, **changes: Any) -> dict[str, Any]:
        """Make an Aurora cluster with one member, as it should be."""
        wanted = {
            "DBClusterIdentifier": identifier,
            "Engine": "aurora-postgresql",
            "EngineVersion": "17.6",
            "DatabaseName": "erp4",
            "MasterUsername": "postgres",
            "MasterUserPassword": "not-a-secret",
            "BackupRetentionPeriod": 14,
            "DeletionProtection": True,
            "StorageEncrypted": True,
            "KmsKeyId": self.tokyo_key,
        }
        given = {key: value for key, value in {**wanted, **changes}.items() if value is not None}
        rds = self.client("rds", region)
        made = rds.create_db_cluster(**given)["DBCluster"]
        rds.create_db_instance(
            DBInstanceIdentifier=f"{identifier}-1",
            DBClusterIdentifier=identifier,
            DBInstanceClass="db.r6g.large",
            Engine="aurora-postgresql",
        )
        return made

    def snapshots_are(self, status: str, region: str = TOKYO, account: str = ACCOUNT) -> None:
        """Give every snapshot of instances and clusters there a status, as time does in AWS."""
        backend = rds_backends[account][region]
        for one in (*backend.database_snapshots.values(), *backend.cluster_snapshots.values()):
            one.status = status

    def make_key(self, region: str) -> str:
        """Make a KMS key and return its ARN."""
        return self.client("kms", region).create_key()["KeyMetadata"]["Arn"]


@pytest.fixture(scope="session")
def moto_address() -> Iterator[str]:
    """Return the address of a server that is shared by all tests of a process; `aws` empties it for each."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(moto_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PretendedAws:
    """Return an AWS without anything in it but two keys; credentials are in the environment, and no others exist."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", _KEYS["aws_access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", _KEYS["aws_secret_access_key"])
    monkeypatch.setenv("AWS_DEFAULT_REGION", TOKYO)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws-credentials"))
    _ask(f"{moto_address}/moto-api/reset")
    empty = PretendedAws(moto_address, "", "")
    return PretendedAws(moto_address, empty.make_key(TOKYO), empty.make_key(OSAKA))


@pytest.fixture
def an_instance(aws: PretendedAws) -> dict[str, Any]:
    """Return the instance `erp4-prod` in Tokyo as RDS describes it."""
    return aws.make_instance()


@pytest.fixture
def a_cluster_of_aurora(aws: PretendedAws) -> dict[str, Any]:
    """Return the cluster `erp4-cluster` in Tokyo as RDS describes it."""
    return aws.make_cluster()


@pytest.fixture
def slow_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let snapshots and copies be `creating` until `PretendedAws.snapshots_are` says otherwise, not whole at once."""
    for kind in (DBSnapshot, DBClusterSnapshot):
        monkeypatch.setattr(kind, "__init__", _then_creating(kind.__init__))


def _then_creating(made: Callable[..., None]) -> Callable[..., None]:
    def init(self: Any, *args: Any, **named: Any) -> None:
        made(self, *args, **named)
        self.status = "creating"

    return init


@pytest.fixture
def other_account(aws: PretendedAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the profile of another account, which moto tells by the keys of an assumed role.

    moto looks for the original of a copy in the copying account only; AWS finds what is shared with it.
    """

    def get_snapshot(self: RDSBackend, identifier: str, resource_type: Any, not_found_exception: Any) -> Any:
        if not identifier.startswith("arn"):
            return own(self, identifier, resource_type, not_found_exception)
        _, _, _, region, account, _, name = identifier.split(":")
        found = own(rds_backends[account][region], name, resource_type, not_found_exception)
        if account != self.account_id and self.account_id not in found.attributes["restore"]:
            raise not_found_exception(identifier)
        return found

    own = RDSBackend.get_snapshot
    monkeypatch.setattr(RDSBackend, "get_snapshot", get_snapshot)
    role = f"arn:aws:iam::{OTHER_ACCOUNT}:role/backups"
    got = aws.client("sts").assume_role(RoleArn=role, RoleSessionName="tests")["Credentials"]
    (tmp_path / "aws-credentials").write_text(
        f"[vault]\naws_access_key_id = {got['AccessKeyId']}\naws_secret_access_key = {got['SecretAccessKey']}\n"
        f"aws_session_token = {got['SessionToken']}\n"
    )
    return "vault"


def _ask(address: str) -> None:
    with urlopen(Request(address, method="POST"), timeout=60) as answer:  # noqa: S310 - our own server
        answer.read()
