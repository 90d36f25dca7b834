"""Our own stores under the policies, in an AWS that moto pretends and that asks IAM before every call.

moto knows no conditions: what is denied under one is left out here, what is allowed under one is allowed without.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core import set_initial_no_auth_action_count

from backup_assets.aws.policies import (
    administrator_policy,
    copier_policy,
    restorer_policy,
    retention_policy,
    uploader_policy,
    verifier_policy,
)
from backup_assets.aws.scope import Scope
from backup_assets.errors import EnvironmentFault
from backup_assets.named_stores import store_named
from backup_assets.settings_stores import StoreSettings
from backup_assets.stores.contract import ConflictingObject
from backup_assets.stores.s3 import S3Store
from backup_assets.stores.s3_bucket_plan import Applied, apply_plan, plan_bucket
from backup_assets.stores.s3_copy import copy_object
from backup_assets.stores.s3_errors import AccessDenied
from backup_assets.stores.s3_location import Credentials, client_of
from backup_assets.stores.s3_preflight import examine_bucket
from backup_assets_tests.aws.examples import TOKYO_KEY, actions_of, osaka, scope_of, settings_of, tokyo

DUMP = "erp4/production/db/one.dump"
MANIFEST = "erp4/production/meta/one.manifest.json"
ELSEWHERE = "erp4/staging/db/one.dump"
LARGE = b"x" * (6 << 20)
#: The permissions that each call takes: https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
CALLS = {
    "AbortMultipartUpload": {"s3:AbortMultipartUpload"},
    "CompleteMultipartUpload": {"s3:PutObject"},
    "CopyObject": {"s3:GetObject", "s3:PutObject"},
    "CreateBucket": {"s3:CreateBucket"},
    "CreateMultipartUpload": {"s3:PutObject"},
    "DeleteObject": {"s3:DeleteObject"},
    "GetBucketEncryption": {"s3:GetEncryptionConfiguration"},
    "GetBucketLifecycleConfiguration": {"s3:GetLifecycleConfiguration"},
    "GetBucketVersioning": {"s3:GetBucketVersioning"},
    "GetObject": {"s3:GetObject"},
    "GetObjectLockConfiguration": {"s3:GetBucketObjectLockConfiguration"},
    "GetObjectTagging": {"s3:GetObjectTagging"},
    "GetPublicAccessBlock": {"s3:GetBucketPublicAccessBlock"},
    "HeadObject": {"s3:GetObject"},
    "ListMultipartUploads": {"s3:ListBucketMultipartUploads"},
    "ListObjectsV2": {"s3:ListBucket"},
    "ListParts": {"s3:ListMultipartUploadParts"},
    "PutBucketEncryption": {"s3:PutEncryptionConfiguration"},
    "PutBucketLifecycleConfiguration": {"s3:PutLifecycleConfiguration"},
    "PutBucketVersioning": {"s3:PutBucketVersioning"},
    "PutObject": {"s3:PutObject"},
    "PutPublicAccessBlock": {"s3:PutBucketPublicAccessBlock"},
    "UploadPart": {"s3:PutObject"},
    "UploadPartCopy": {"s3:GetObject", "s3:PutObject"},
}
#: What single parameters take besides.
PARAMETERS = {"Tagging": {"s3:PutObjectTagging"}, "ObjectLockMode": {"s3:PutObjectRetention"}}


@dataclass
class PretendedAWS:
    """Two buckets and, for every role, a user with its policy and nothing else."""

    admin: Any
    iam: Any
    taken: set[str] = field(default_factory=set)

    def store(self, configured: StoreSettings, policy: dict[str, Any]) -> S3Store:
        """Return the store as somebody uses it who has this policy alone."""
        name = f"somebody-{len(self.iam.list_users()['Users'])}"
        self.iam.create_user(UserName=name)
        text = json.dumps(without_conditions(policy))
        self.iam.put_user_policy(UserName=name, PolicyName="alone", PolicyDocument=text)
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        built = store_named(settings_of(configured), configured.name, writing=True)
        assert isinstance(built, S3Store)
        credentials = Credentials(key["AccessKeyId"], key["SecretAccessKey"])
        location = replace(built.location, credentials=credentials, part_bytes=5 << 20, retention="daily")
        store = replace(built, location=location)
        events = client_of(location).meta.events
        events.register("before-parameter-build.s3", self._asked)
        events.register("after-call.s3.CompleteMultipartUpload", _as_aws_answers)
        events.register("after-call.s3", self._answered)
        return store

    def _asked(self, params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
        context["params"] = dict(params)

    def _answered(self, http_response: Any, model: Any, context: dict[str, Any], **_: object) -> None:
        if http_response.status_code < 300:
            self.taken |= CALLS[model.name]
            for parameter in context["params"].keys() & PARAMETERS.keys():
                self.taken |= PARAMETERS[parameter]

    def content(self, key: str, bucket: str = "erp4-tokyo") -> bytes:
        """Return what an object holds, as an administrator of everything sees it."""
        return self.admin.get_object(Bucket=bucket, Key=key)["Body"].read()


def _as_aws_answers(parsed: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    """Add what moto leaves out of the end of an upload: the checksum of the parts."""
    parts = [base64.b64decode(part["ChecksumSHA256"]) for part in context["params"]["MultipartUpload"]["Parts"]]
    digest = base64.b64encode(hashlib.sha256(b"".join(parts)).digest()).decode()
    parsed.setdefault("ChecksumSHA256", f"{digest}-{len(parts)}")


def without_conditions(policy: dict[str, Any]) -> dict[str, Any]:
    kept = [one for one in policy["Statement"] if one["Effect"] == "Allow" or "Condition" not in one]
    return {**policy, "Statement": [{name: one[name] for name in one if name != "Condition"} for one in kept]}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendedAWS]:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        client_of.cache_clear()
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
        admin = boto3.client("s3", "ap-northeast-1", **keys)
        for store in (tokyo(), osaka()):
            boto3.client("s3", store.region, **keys).create_bucket(
                Bucket=store.bucket,
                ObjectLockEnabledForBucket=True,
                CreateBucketConfiguration={"LocationConstraint": store.region},
            )
        set_up(admin, "erp4-tokyo")
        yield PretendedAWS(admin, boto3.client("iam", "ap-northeast-1", **keys))
    client_of.cache_clear()


def set_up(client: Any, bucket: str) -> None:
    rule = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 400}}
    client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    client.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"BlockPublicAcls": True})
    default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": TOKYO_KEY}}
    client.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [default]})


def asking_iam(work: Callable[[], None]) -> None:
    """Do something while IAM is asked before every call."""
    set_initial_no_auth_action_count(0)(work)()


def put(store: S3Store, key: str, content: bytes) -> None:
    store.put(key, content, sha256=hashlib.sha256(content).hexdigest(), size=len(content))


def seed(aws: PretendedAWS, key: str, content: bytes) -> None:
    aws.admin.put_object(Bucket="erp4-tokyo", Key=f"backups/{key}", Body=content)


def scope() -> Scope:
    return scope_of(tokyo())


def test_the_uploader_stores_whole_objects_and_nothing_else(aws: PretendedAWS) -> None:
    seed(aws, ELSEWHERE, b"of another environment")
    store = aws.store(tokyo(), uploader_policy(scope()))

    def work() -> None:
        store.check()
        put(store, DUMP, LARGE)
        put(store, MANIFEST, b"{}")
        put(store, MANIFEST, b"{}")
        assert [one.key for one in store.list("erp4/production")] == [DUMP, MANIFEST]
        with pytest.raises(AccessDenied), store.open(DUMP) as handle:
            handle.read()
        with pytest.raises(ConflictingObject):
            put(store, DUMP, b"other")
        with pytest.raises(AccessDenied):
            store.delete(DUMP)
        with pytest.raises(EnvironmentFault):
            put(store, "erp4/staging/db/two.dump", b"into another environment")

    asking_iam(work)

    assert aws.content(f"backups/{DUMP}") == LARGE
    assert aws.content(f"backups/{MANIFEST}") == b"{}"


def test_the_uploader_can_neither_change_the_bucket_nor_lift_a_lock(aws: PretendedAWS) -> None:
    store = aws.store(tokyo(), uploader_policy(scope()))
    put(store, DUMP, b"dump")
    version = aws.admin.head_object(Bucket="erp4-tokyo", Key=f"backups/{DUMP}")["VersionId"]
    address = {"Bucket": "erp4-tokyo", "Key": f"backups/{DUMP}"}
    client = client_of(store.location)
    rule = {"ID": "gone", "Status": "Enabled", "Filter": {}, "Expiration": {"Days": 1}}

    def work() -> None:
        for attempt in (
            lambda: client.delete_object(**address, VersionId=version, BypassGovernanceRetention=True),
            lambda: client.put_bucket_lifecycle_configuration(
                Bucket="erp4-tokyo", LifecycleConfiguration={"Rules": [rule]}
            ),
            lambda: client.put_bucket_versioning(Bucket="erp4-tokyo", VersioningConfiguration={"Status": "Suspended"}),
            lambda: client.delete_bucket_policy(Bucket="erp4-tokyo"),
        ):
            with pytest.raises(ClientError, match="AccessDenied"):
                attempt()

    asking_iam(work)

    assert aws.content(f"backups/{DUMP}") == b"dump"


def test_the_restorer_reads_and_writes_nothing(aws: PretendedAWS) -> None:
    seed(aws, DUMP, b"dump")
    store = aws.store(tokyo(), restorer_policy(scope()))

    def work() -> None:
        assert [one.key for one in store.list("erp4/production")] == [DUMP]
        with store.open(DUMP) as handle:
            assert handle.read() == b"dump"
        for attempt in (lambda: put(store, MANIFEST, b"{}"), lambda: store.delete(DUMP)):
            with pytest.raises(AccessDenied):
                attempt()

    asking_iam(work)

    assert aws.content(f"backups/{DUMP}") == b"dump"


def test_the_verifier_reads_and_examines_the_bucket_and_writes_nothing(aws: PretendedAWS) -> None:
    seed(aws, DUMP, b"dump")
    store = aws.store(tokyo(), verifier_policy(scope()))

    def work() -> None:
        with store.open(DUMP) as handle:
            assert handle.read() == b"dump"
        assert not any(one.denied for one in examine_bucket(store.location))
        for attempt in (lambda: put(store, MANIFEST, b"{}"), lambda: store.delete(DUMP)):
            with pytest.raises(AccessDenied):
                attempt()

    asking_iam(work)


def test_the_retention_role_deletes_and_reads_manifests_only(aws: PretendedAWS) -> None:
    seed(aws, DUMP, b"dump")
    seed(aws, MANIFEST, b"{}")
    store = aws.store(tokyo(), retention_policy(scope()))
    version = aws.admin.head_object(Bucket="erp4-tokyo", Key=f"backups/{DUMP}")["VersionId"]

    def work() -> None:
        with store.open(MANIFEST) as handle:
            assert handle.read() == b"{}"
        with pytest.raises(AccessDenied), store.open(DUMP) as handle:
            handle.read()
        with pytest.raises(AccessDenied):
            put(store, "erp4/production/db/two.dump", b"new")
        store.delete(DUMP)

    asking_iam(work)

    with pytest.raises(ClientError, match="NoSuchKey"):
        aws.content(f"backups/{DUMP}")
    address = {"Bucket": "erp4-tokyo", "Key": f"backups/{DUMP}", "VersionId": version}
    assert aws.admin.get_object(**address)["Body"].read() == b"dump"


def test_the_administrator_sees_no_object(aws: PretendedAWS) -> None:
    seed(aws, DUMP, b"dump")
    client = client_of(aws.store(tokyo(), administrator_policy(scope())).location)
    address = {"Bucket": "erp4-tokyo", "Key": f"backups/{DUMP}"}

    def work() -> None:
        client.get_bucket_versioning(Bucket="erp4-tokyo")
        for attempt in (client.get_object, client.delete_object):
            with pytest.raises(ClientError, match=r"AccessDenied|Forbidden"):
                attempt(**address)

    asking_iam(work)


def test_the_copier_copies_and_deletes_on_neither_side(aws: PretendedAWS) -> None:
    seed(aws, DUMP, LARGE)
    policy = copier_policy(scope(), scope_of(osaka()))
    source, target = aws.store(tokyo(), policy), aws.store(osaka(), policy)

    def work() -> None:
        sha256 = hashlib.sha256(LARGE).hexdigest()
        copy_object(source, target, DUMP, sha256=sha256, size=len(LARGE))
        for store in (source, target):
            with pytest.raises(AccessDenied):
                store.delete(DUMP)

    asking_iam(work)

    assert aws.content(DUMP, "erp4-osaka") == LARGE


# -- not more than is needed, and not less ---------------------------------------------------------------------------


def test_the_uploader_may_do_exactly_what_storing_takes(aws: PretendedAWS) -> None:
    store = aws.store(tokyo(), uploader_policy(scope()))

    def work() -> None:
        store.check()
        put(store, DUMP, LARGE)
        put(store, MANIFEST, b"{}")
        put(store, MANIFEST, b"{}")
        resume(store)

    asking_iam(work)

    assert aws.taken == allowed_of_s3(uploader_policy(scope()))
    # A role that may not look for the parts of an interrupted upload stores without a word, and begins anew.
    assert {"s3:ListBucketMultipartUploads", "s3:ListMultipartUploadParts"} <= aws.taken


def test_every_other_role_may_do_exactly_what_its_work_takes(aws: PretendedAWS) -> None:
    seed(aws, DUMP, b"dump")
    seed(aws, MANIFEST, b"{}")
    restorer = aws.store(tokyo(), restorer_policy(scope()))
    verifier = aws.store(tokyo(), verifier_policy(scope()))
    retention = aws.store(tokyo(), retention_policy(scope()))

    def read(store: S3Store, key: str) -> None:
        list(store.list("erp4/production"))
        with store.open(key) as handle:
            handle.read()

    asking_iam(lambda: read(restorer, DUMP))
    # For a person who looks for what somebody deleted: no program of ours lists old versions.
    by_hand = {"s3:GetObjectVersion", "s3:ListBucketVersions"}
    assert aws.taken == allowed_of_s3(restorer_policy(scope())) - by_hand

    aws.taken.clear()
    asking_iam(lambda: (read(verifier, DUMP), examine_bucket(verifier.location))[0])
    assert aws.taken == allowed_of_s3(verifier_policy(scope()))

    aws.taken.clear()
    asking_iam(lambda: (read(retention, MANIFEST), retention.delete(DUMP))[1])
    assert aws.taken == allowed_of_s3(retention_policy(scope()))


def test_the_administrator_may_do_what_setting_up_a_bucket_takes(aws: PretendedAWS) -> None:
    missing = tokyo(bucket="erp4-new", retention_tags=True)
    store = aws.store(missing, administrator_policy(scope_of(missing)))
    applied: list[Applied] = []

    def work() -> None:
        applied.extend(apply_plan(plan_bucket(store.location), create=True))
        assert plan_bucket(store.location).changes == ()

    asking_iam(work)

    assert [one for one in applied if one.error] == []
    # By hand: policies and replication; a lock is asked for when a bucket is made, which these two permissions allow.
    by_hand = {"s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:GetReplicationConfiguration"}
    by_hand |= {"s3:PutReplicationConfiguration", "s3:PutBucketObjectLockConfiguration", "s3:PutBucketVersioning"}
    assert aws.taken | by_hand == allowed_of_s3(administrator_policy(scope_of(missing)))


def resume(store: S3Store) -> None:
    """Store an object of which an earlier attempt left a part."""
    key, content = "erp4/production/db/two.dump", b"y" * (6 << 20)
    client = client_of(store.location)
    address = {"Bucket": store.location.bucket, "Key": store.location.object_key(key)}
    begun = client.create_multipart_upload(**address, **store.location.encryption(), ChecksumAlgorithm="SHA256")
    client.upload_part(
        **address, UploadId=begun["UploadId"], PartNumber=1, Body=content[: 5 << 20], ChecksumAlgorithm="SHA256"
    )
    put(store, key, content)


def allowed_of_s3(policy: dict[str, Any]) -> set[str]:
    return {action for action in actions_of(policy, "Allow") if action.startswith("s3:")}
