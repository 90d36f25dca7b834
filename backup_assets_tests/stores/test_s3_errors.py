"""Every way in which S3 can refuse is one clear message; the answers here are those that AWS documents."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.stub import Stubber

from backup_assets.errors import BackupError, EnvironmentFault, SettingsError, TransientFault
from backup_assets.stores.s3 import S3Store
from backup_assets.stores.s3_errors import AccessDenied
from backup_assets.stores.s3_location import Credentials, S3Location, client_of
from backup_assets_tests.stores.conformance import KEY
from backup_assets_tests.stores.object_server import ObjectServer

KEY_ARN = "arn:aws:kms:ap-northeast-1:111122223333:key/1234abcd"
SECRET = "wJalrXUtnFEMI"
STUBBED = S3Location("backups", "ap-northeast-1", kms_key_id=KEY_ARN, credentials=Credentials("AKIAEXAMPLE", SECRET))


def told(code: str, message: str = "", status: int = 400, headers: dict[str, str] | None = None) -> BackupError:
    """Return the error that a listing raises when the server answers with ``code``."""
    client = client_of(STUBBED)
    with Stubber(client) as stub:
        meta: dict[str, Any] = {"HTTPHeaders": headers or {}}
        stub.add_client_error("list_objects_v2", code, message, status, response_meta=meta)
        with pytest.raises(BackupError) as caught:
            list(S3Store(STUBBED, "bucket").list("erp4"))
    return caught.value


@pytest.mark.parametrize(
    ("code", "status", "what", "remedy"),
    [
        ("ExpiredToken", 400, "has expired", "sign in again"),
        ("InvalidAccessKeyId", 403, "access key is not known", "AWS_ACCESS_KEY_ID"),
        ("SignatureDoesNotMatch", 403, "does not belong", "AWS_SECRET_ACCESS_KEY"),
        ("NoSuchBucket", 404, "does not exist", "create the bucket"),
        ("RequestTimeTooSkewed", 403, "clock is wrong", "set the clock"),
        ("PermanentRedirect", 301, "in another region", "set the region"),
        ("KMS.DisabledException", 400, "key is disabled", "enable"),
        ("QuotaExceeded", 403, "quota", "raise it"),
        ("NotImplemented", 501, "does not know a feature", "when_required"),
        ("SomethingNew", 400, "the server refused it", "the reason is above"),
    ],
)
def test_an_answer_is_explained_with_what_to_do(code: str, status: int, what: str, remedy: str) -> None:
    error = told(code, "the server's own words", status)

    assert isinstance(error, EnvironmentFault)
    assert not error.retriable
    assert what in error.what
    assert "the bucket backups" in error.what
    assert remedy in error.remedy
    assert "the server's own words" in error.why


@pytest.mark.parametrize(("code", "status"), [("SlowDown", 503), ("InternalError", 500), ("Odd", 502), ("Many", 429)])
def test_an_overloaded_server_is_worth_another_attempt(code: str, status: int) -> None:
    assert isinstance(told(code, "", status), TransientFault)


def test_another_region_is_named_where_the_server_names_it() -> None:
    error = told("PermanentRedirect", "", 301, {"x-amz-bucket-region": "ap-northeast-3"})

    assert error.remedy == "set the region to ap-northeast-3"


def test_a_denied_action_is_told_with_action_resource_and_role() -> None:
    role = "arn:aws:sts::111122223333:assumed-role/backup-writer/i-1"
    error = told("AccessDenied", f"User: {role} is not authorized to perform: s3:ListBucket on resource", 403)

    assert isinstance(error, AccessDenied)
    assert error.remedy.startswith(f"allow s3:ListBucket on s3://backups/erp4 to {role}")


def test_a_denied_key_is_told_as_that_of_kms() -> None:
    message = "User: arn:aws:iam::111122223333:user/b is not authorized to perform: kms:GenerateDataKey on the resource"
    error = told("AccessDenied", message, 403)

    assert "denied to the KMS key" in error.what
    assert error.remedy == f"allow kms:GenerateDataKey on the KMS key {KEY_ARN} to arn:aws:iam::111122223333:user/b"


def test_no_secret_is_repeated() -> None:
    assert SECRET not in str(told("AccessDenied", f"the key {SECRET} may not", 403))
    assert "sig" not in str(told("Odd", "at https://x/?X-Amz-Signature=sig&a=b")).split("X-Amz-Signature=")[1][:4]


@pytest.mark.parametrize("identity", [Credentials("nobody", "wrong"), Credentials("key-of-writer", "wrong")])
def test_wrong_credentials_are_told_by_a_real_server(objects: ObjectServer, identity: Credentials) -> None:
    location = S3Location(
        objects.bucket(), "ap-northeast-1", endpoint_url=objects.url, addressing_style="path", sse_s3=True,
        credentials=identity,
    )  # fmt: skip
    store = S3Store(location, "bucket")

    for attempt in (store.check, lambda: store.stat(KEY), lambda: store.put(KEY, b"", sha256="0" * 64, size=0)):
        with pytest.raises(EnvironmentFault) as caught:
            attempt()
        assert "AWS_SECRET_ACCESS_KEY" in caught.value.remedy


def test_a_bucket_that_does_not_exist_is_never_an_empty_one(objects: ObjectServer) -> None:
    store = S3Store(objects.location("no-such-bucket"), "bucket")

    for attempt in (lambda: store.list(""), lambda: store.stat(KEY), lambda: store.open(KEY).__enter__(), store.check):
        with pytest.raises(EnvironmentFault, match="the bucket does not exist"):
            attempt()


@pytest.mark.parametrize(
    ("url", "what"), [("http://127.0.0.1:9", "cannot be reached"), ("http://no-such-host.invalid", "not known")]
)
def test_a_wrong_endpoint_is_named(url: str, what: str) -> None:
    location = S3Location(
        "backups", "ap-northeast-1", endpoint_url=url, sse_s3=True, attempts=1, addressing_style="path",
        credentials=Credentials("a", "b"),
    )  # fmt: skip

    with pytest.raises(EnvironmentFault, match=what) as caught:
        S3Store(location, "bucket").check()

    assert "S3_ENDPOINT_URL" in caught.value.remedy


def test_an_unknown_profile_is_named() -> None:
    with pytest.raises(SettingsError, match="no AWS profile nobody"):
        client_of(S3Location("backups", "ap-northeast-1", sse_s3=True, profile="nobody"))
