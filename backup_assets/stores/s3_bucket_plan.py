"""In what does a bucket differ from what a place for backups should be, and how is just that changed?

Nothing is ever removed or weakened: what is stricter than wanted stays, and so does what somebody altered by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from botocore.exceptions import ClientError

from backup_assets.errors import BackupError, EnvironmentFault, Refused
from backup_assets.stores.s3_errors import code_of, explained, is_denied
from backup_assets.stores.s3_lifecycle import merged
from backup_assets.stores.s3_location import S3Location, client_of
from backup_assets.stores.s3_preflight import PUBLIC_ACCESS_BLOCKS, Unseen, property_of

LineState = Literal["as wanted", "to change", "left", "unknown", "not seen"]
#: States that applying the plan does not mend.
STANDING: tuple[LineState, ...] = ("left", "unknown", "not seen")


@dataclass(frozen=True)
class Line:
    """One property of a bucket, as it is and as it is wanted.

    ``to change``: `apply_plan` does it. ``left``: somebody must decide. ``unknown``: the server does not know the
    feature. ``not seen``: this role may not look.
    """

    name: str
    state: LineState
    found: str
    wanted: str
    remedy: str = ""


@dataclass(frozen=True)
class BucketPlan:
    """How a bucket is and what would be changed; a missing one would have to be created first."""

    location: S3Location
    exists: bool
    lines: tuple[Line, ...]

    @property
    def changes(self) -> tuple[Line, ...]:
        """What applying would change."""
        return tuple(line for line in self.lines if line.state == "to change")

    @property
    def standing(self) -> tuple[Line, ...]:
        """What applying would not mend."""
        return tuple(line for line in self.lines if line.state in STANDING)


@dataclass(frozen=True)
class Applied:
    """What became of one change; ``error`` says why it could not be made."""

    name: str
    text: str
    error: BackupError | None = None


@dataclass(frozen=True)
class _Feature:
    """A property of a bucket: ``lines`` reads the answer to ``operation``, ``change`` makes it as wanted."""

    name: str
    operation: str
    lines: Callable[[dict[str, Any], S3Location], list[Line]]
    change: Callable[[Any, S3Location, dict[str, Any]], None]


def plan_bucket(location: S3Location) -> BucketPlan:
    """Return how the bucket is and what would be changed; reads only.

    Raises EnvironmentFault when it does not answer.
    """
    client = client_of(location)
    exists = _exists(client, location)
    lines = [
        line
        for feature in _FEATURES
        for line in _lines(feature, _asked(client, feature, location) if exists else {}, location)
    ]
    return BucketPlan(location, exists, tuple(lines))


def apply_plan(plan: BucketPlan, *, create: bool = False) -> Iterator[Applied]:
    """Change what differs, and yield what became of each feature; one that fails does not stop the others.

    Every feature is looked at again right before it is changed. ``create`` makes a missing bucket, with Object Lock
    where one is configured; without it Refused is raised, and nothing is done.
    """
    location = plan.location
    client = client_of(location)
    if not plan.exists:
        if not create:
            raise Refused(
                f"the bucket {location.bucket} does not exist",
                remedy="correct the bucket's name, or let `backup-assets bucket apply --create` make it",
            )
        _create(client, location)
        yield Applied("bucket", f"created in {location.region}")
    for feature in _FEATURES:
        try:
            answer = _asked(client, feature, location)
            lines = _lines(feature, answer, location)
            if isinstance(answer, Unseen) or not any(line.state == "to change" for line in lines):
                continue
            with explained(f"change {feature.name}", location):
                feature.change(client, location, answer)
        except EnvironmentFault as error:  # each of them is told, and the others are changed all the same
            yield Applied(feature.name, "not changed", error)
        else:
            yield Applied(feature.name, "changed")


def _exists(client: Any, location: S3Location) -> bool:
    with explained("look at it", location):
        try:
            client.list_objects_v2(Bucket=location.bucket, MaxKeys=1)
        except ClientError as error:
            if code_of(error) == "NoSuchBucket":
                return False
            if not is_denied(error):  # who may set a bucket up need not be allowed to list it
                raise
    return True


def _create(client: Any, location: S3Location) -> None:
    options: dict[str, Any] = {}
    if location.region != "us-east-1":  # the one region that must not be named
        options["CreateBucketConfiguration"] = {"LocationConstraint": location.region}
    if location.object_lock:
        options["ObjectLockEnabledForBucket"] = True
    with explained("create it", location):
        client.create_bucket(Bucket=location.bucket, **options)


def _asked(client: Any, feature: _Feature, location: S3Location) -> dict[str, Any] | Unseen:
    with explained(f"look at {feature.name}", location):
        return property_of(client, feature.operation, location)


def _lines(feature: _Feature, answer: dict[str, Any] | Unseen, location: S3Location) -> list[Line]:
    if not isinstance(answer, Unseen):
        return feature.lines(answer, location)
    wanted = "; ".join(line.wanted for line in feature.lines({}, location) if line.state != "as wanted")
    if not wanted:  # nothing is demanded of it
        return []
    if answer.denied:
        remedy = f"name a role that may with --profile: it needs {feature.operation}"
        return [Line(feature.name, "not seen", "this role may not look at it", wanted, remedy)]
    remedy = "ask the provider how this is done there"
    return [Line(feature.name, "unknown", "the server does not know this feature", wanted, remedy)]


# -- the features ----------------------------------------------------------------------------------------------------


def _versioning(answer: dict[str, Any], _: S3Location) -> list[Line]:
    status = answer.get("Status")
    found = {"Enabled": "on", "Suspended": "suspended"}.get(str(status), "never switched on")
    return [Line("versioning", "as wanted" if status == "Enabled" else "to change", found, "on")]


def _change_versioning(client: Any, location: S3Location, _: dict[str, Any]) -> None:
    client.put_bucket_versioning(Bucket=location.bucket, VersioningConfiguration={"Status": "Enabled"})


def _public_access(answer: dict[str, Any], _: S3Location) -> list[Line]:
    settings = answer.get("PublicAccessBlockConfiguration", {})
    missing = [name for name in PUBLIC_ACCESS_BLOCKS if not settings.get(name)]
    found = f"not blocked: {', '.join(missing)}" if missing else "blocked"
    return [Line("public access", "to change" if missing else "as wanted", found, "blocked in all four ways")]


def _change_public_access(client: Any, location: S3Location, _: dict[str, Any]) -> None:
    client.put_public_access_block(
        Bucket=location.bucket, PublicAccessBlockConfiguration=dict.fromkeys(PUBLIC_ACCESS_BLOCKS, True)
    )


def _default_encryption(answer: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the first rule, and its algorithm and key as the answer to a stored object names them."""
    rules = answer.get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
    rule = rules[0] if rules else {}
    default = rule.get("ApplyServerSideEncryptionByDefault", {})
    named = {"ServerSideEncryption": default.get("SSEAlgorithm"), "SSEKMSKeyId": default.get("KMSMasterKeyID")}
    return rule, {name: value for name, value in named.items() if value}


def _encryption(answer: dict[str, Any], location: S3Location) -> list[Line]:
    demanded = location.encryption()
    if not demanded:
        return []
    _, found = _default_encryption(answer)
    wanted, shown = " ".join(demanded.values()), " ".join(found.values()) or "none"
    algorithm = found.get("ServerSideEncryption", "")
    stricter = location.sse_s3 and algorithm.startswith("aws:kms")
    # Two layers of encryption (DSSE) are more than one; which key they use is not for us to alter.
    stricter = stricter or algorithm == "aws:kms:dsse"
    if stricter:
        return [Line("default encryption", "as wanted", f"{shown}, which is stricter and stays", wanted)]
    good = location.encrypted_as_required(found)
    return [Line("default encryption", "as wanted" if good else "to change", shown, wanted)]


def _change_encryption(client: Any, location: S3Location, answer: dict[str, Any]) -> None:
    rule, _ = _default_encryption(answer)
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": location.kms_key_id}
    if not location.kms_key_id:
        default = {"SSEAlgorithm": "AES256"}
    # A bucket key asks KMS once for many objects instead of once for each.
    kept = {"BucketKeyEnabled": True, **rule} if location.kms_key_id else rule
    client.put_bucket_encryption(
        Bucket=location.bucket,
        ServerSideEncryptionConfiguration={"Rules": [{**kept, "ApplyServerSideEncryptionByDefault": default}]},
    )


def _lifecycle(answer: dict[str, Any], location: S3Location) -> list[Line]:
    _, lines = merged(answer.get("Rules", []), location)
    return [Line(f"lifecycle: {line.name}", line.state, line.found, line.wanted, line.remedy) for line in lines]


def _change_lifecycle(client: Any, location: S3Location, answer: dict[str, Any]) -> None:
    rules, _ = merged(answer.get("Rules", []), location)
    # Beside the rules there is one more value, which a call without it would set back.
    size = answer.get("TransitionDefaultMinimumObjectSize")
    kept = {"TransitionDefaultMinimumObjectSize": size} if size else {}
    client.put_bucket_lifecycle_configuration(Bucket=location.bucket, LifecycleConfiguration={"Rules": rules}, **kept)


def _object_lock(answer: dict[str, Any], location: S3Location) -> list[Line]:
    enabled = answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"
    if not location.object_lock:
        return [Line("object lock", "as wanted", "on" if enabled else "off", "nothing is configured")]
    if enabled:
        return [Line("object lock", "as wanted", "on", "on")]
    remedy = "a bucket gets it when it is created: take a new bucket, or remove `object_lock` from the settings"
    return [Line("object lock", "left", "off", "on", remedy)]


def _change_nothing(*_: object) -> None:
    raise AssertionError("Object Lock is never to change")


_FEATURES = (
    _Feature("versioning", "get_bucket_versioning", _versioning, _change_versioning),
    _Feature("public access", "get_public_access_block", _public_access, _change_public_access),
    _Feature("default encryption", "get_bucket_encryption", _encryption, _change_encryption),
    _Feature("lifecycle", "get_bucket_lifecycle_configuration", _lifecycle, _change_lifecycle),
    _Feature("object lock", "get_object_lock_configuration", _object_lock, _change_nothing),
)
