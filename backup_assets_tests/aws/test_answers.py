from __future__ import annotations

import socket
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

from backup_assets.aws.access import Access
from backup_assets.aws.answers import Busy, Denied, Exists, KeyUnusable, Missing, QuotaReached, explained
from backup_assets.errors import BackupError, EnvironmentFault, Refused, TransientFault
from backup_assets_tests.aws.conftest import TOKYO, PretendedAws

ACCESS = Access(TOKYO)
ROLE = "arn:aws:sts::123456789012:assumed-role/backups/erp4"
CASES = {
    "throttled": ("Throttling", "Rate exceeded", 400, TransientFault, "AWS asks for fewer requests"),
    "expired token": ("ExpiredToken", "The security token has expired", 403, EnvironmentFault, "token has expired"),
    "unknown key": ("InvalidClientTokenId", "It is invalid", 403, EnvironmentFault, "credentials are not valid"),
    "quota": ("SnapshotQuotaExceeded", "Cannot create more than 100 manual snapshots", 400, QuotaReached, "of manual"),
    "copies under way": (
        "SnapshotQuotaExceeded",
        "Cannot copy more than 5 snapshots across regions",
        400,
        Busy,
        "under way to one region",
    ),
    "a quota that is answered as forbidden": ("DBClusterQuotaExceededFault", "", 403, QuotaReached, "of DB clusters"),
    "no room": ("InsufficientDBClusterCapacityFault", "", 403, TransientFault, "AWS has no room for it now"),
    "key without a grant": (
        "KMSKeyNotAccessibleFault",
        "The target KMS key [None] does not exist, is not enabled or you do not have permissions to access it.",
        400,
        KeyUnusable,
        "the KMS key cannot be used",
    ),
    "key that a policy keeps": (
        "AccessDenied",
        f"User: {ROLE} is not authorized to perform: kms:CreateGrant on resource: arn:aws:kms:x",
        403,
        KeyUnusable,
        "the KMS key cannot be used",
    ),
    "key of AWS itself": (
        "InvalidParameterValue",
        "Sharing snapshots encrypted with the default service key for RDS is currently not supported",
        400,
        KeyUnusable,
        "default key cannot be used by another account",
    ),
    "not found": ("DBClusterNotFoundFault", "DBCluster x not found.", 404, Missing, "it does not exist"),
    "exists": ("DBSnapshotAlreadyExists", "x already exists", 400, Exists, "something of that name exists"),
    "wrong state": ("InvalidDBInstanceState", "Instance x is not in available state.", 400, Busy, "not in a state"),
    "overloaded": ("ServiceUnavailable", "", 503, TransientFault, "overloaded or failing"),
    "a network that does not fit": (
        "InvalidVPCNetworkStateFault",
        "The DB instance and EC2 security group are in different VPCs.",
        400,
        EnvironmentFault,
        "the network does not fit",
    ),
    "KMS itself failing": ("KMSInternalException", "", 400, TransientFault, "overloaded or failing"),
    "what KMS waits for": ("DependencyTimeoutException", "", 400, TransientFault, "overloaded or failing"),
    "a key that Lambda may not use": ("KMSDisabledException", "", 502, KeyUnusable, "the KMS key cannot be used"),
    "automated backups": ("DBInstanceAutomatedBackupQuotaExceeded", "", 400, QuotaReached, "of automated backups"),
    "a clock that is late": (
        "SignatureDoesNotMatch",
        "Signature expired: 20261122T010000Z is now earlier than 20261122T013000Z",
        403,
        EnvironmentFault,
        "this host's clock is wrong",
    ),
    "a clock that is ahead": (
        "InvalidSignatureException",
        "Signature not yet current: 20261122T050000Z is still later than 20261122T043000Z",
        400,
        EnvironmentFault,
        "this host's clock is wrong",
    ),
    "a clock of which S3 says it": ("RequestTimeTooSkewed", "", 403, EnvironmentFault, "this host's clock is wrong"),
    "a wrong secret": ("SignatureDoesNotMatch", "The signature we calculated", 403, EnvironmentFault, "not valid"),
    "something new": ("NeverHeardOf", "of that", 400, EnvironmentFault, "the service refused it"),
}


def answered(code: str, message: str, status: int) -> BackupError:
    client = boto3.client("rds", region_name=TOKYO, aws_access_key_id="x", aws_secret_access_key="y")
    with Stubber(client) as stub:
        stub.add_client_error("create_db_snapshot", code, message, status)
        with pytest.raises(BackupError) as caught, explained("take the snapshot x", ACCESS):
            client.create_db_snapshot(DBSnapshotIdentifier="x", DBInstanceIdentifier="y")
    return caught.value


@pytest.mark.parametrize("case", CASES)
def test_every_answer_is_told_in_its_own_words(case: str):
    code, message, status, kind, text = CASES[case]

    error = answered(code, message, status)

    assert type(error) is kind
    assert error.what.startswith("could not take the snapshot x in ap-northeast-1: ")
    assert text in error.what
    assert code in error.why
    assert message in error.why
    assert error.remedy


def test_only_what_passes_by_itself_is_tried_again():
    tried_again = {case for case, (code, text, status, _, _) in CASES.items() if answered(code, text, status).retriable}

    assert tried_again == {
        "throttled",
        "copies under way",
        "no room",
        "wrong state",
        "overloaded",
        "KMS itself failing",
        "what KMS waits for",
    }


def test_what_a_role_may_not_do_names_action_and_role():
    error = answered("AccessDenied", f"User: {ROLE} is not authorized to perform: rds:CreateDBSnapshot on x", 403)

    assert isinstance(error, Denied)
    assert error.what == "could not take the snapshot x in ap-northeast-1: access denied to CreateDBSnapshot"
    assert error.remedy.startswith(f"allow rds:CreateDBSnapshot to {ROLE} ")


def test_a_signature_is_never_shown():
    error = answered("NeverHeardOf", "https://rds/?X-Amz-Credential=AKIA1/x&X-Amz-Signature=abc123&y", 400)

    assert "abc123" not in str(error)
    assert "AKIA1" not in str(error)


def test_an_aws_that_cannot_be_reached_is_tried_again():
    # Nobody listens there, and as long as it is bound nobody else can.
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        access = Access(TOKYO, None, address)
        client = _client(address)

        text = f"could not look in ap-northeast-1: {address} cannot be reached"
        with pytest.raises(TransientFault, match=text), explained("look", access):
            client.describe_db_instances()


def test_missing_credentials_are_named(aws: PretendedAws, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    with pytest.raises(EnvironmentFault, match="there are no credentials") as caught, explained("look", aws.access()):
        aws.access().client("rds").describe_db_instances()
    assert "AWS_ACCESS_KEY_ID" in caught.value.remedy


def test_a_value_of_the_wrong_form_is_refused():
    with pytest.raises(Refused, match="a value is not of the form"), explained("look", ACCESS):
        _client("http://127.0.0.1:1").describe_db_instances(DBInstanceIdentifier=4)


def test_a_real_answer_of_a_server_is_told(aws: PretendedAws):
    client = aws.client("rds")
    text = "could not look in ap-northeast-1: it does not exist"
    with pytest.raises(Missing, match=text), explained("look", aws.access()):
        client.describe_db_instances(DBInstanceIdentifier="nobody")


def _client(address: str) -> Any:
    config = Config(retries={"total_max_attempts": 1})
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "y"}
    return boto3.client("rds", region_name=TOKYO, endpoint_url=address, config=config, **keys)
