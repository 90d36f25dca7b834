"""Does a bucket copy its objects into another one by itself, and has an object arrived there?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from backup_assets.errors import CheckFailed, TransientFault
from backup_assets.stores.contract import MissingObject
from backup_assets.stores.s3 import S3Store
from backup_assets.stores.s3_copy import looked_at, require_same
from backup_assets.stores.s3_errors import code_of, explained
from backup_assets.stores.s3_location import client_of

#: How a bucket without replication answers, and a service that does not know it.
_NONE = {"ReplicationConfigurationNotFoundError", "NotImplemented", "MethodNotAllowed"}


class NotYetThere(TransientFault):
    """The bucket has not replicated an object yet; ``since`` (UTC) is when it was stored."""

    def __init__(self, key: str, target: S3Store, since: datetime) -> None:
        super().__init__(
            f"{key} has not arrived in {target.describe()} yet",
            why=f"the replication by the bucket itself is pending since {since:%Y-%m-%d %H:%M:%S} UTC",
            remedy="try again later; if it stays so, look at the bucket's replication metrics and its role",
        )
        self.since = since


def replication_rule(source: S3Store, target: S3Store, root: str) -> str | None:
    """Return the name of the rule by which the source's bucket copies what is below ``root`` to the target's.

    None when there is none: the rule must be enabled, for every object below that prefix whatever its tags, and lead
    to that bucket, where replicas have the same keys. Raises AccessDenied when these credentials may not look.
    """
    here, there = source.location, target.location
    if here.endpoint_url != there.endpoint_url or here.prefix != there.prefix:
        return None
    with explained("look at the replication", here):
        try:
            answer = client_of(here).get_bucket_replication(Bucket=here.bucket)
        except ClientError as error:
            if code_of(error) in _NONE:
                return None
            raise
    for rule in answer["ReplicationConfiguration"].get("Rules", ()):
        leads_there = rule["Destination"]["Bucket"].rpartition(":")[2] == there.bucket
        if rule["Status"] == "Enabled" and leads_there and _covers(rule, here.object_key(f"{root}/")):
            return rule.get("ID") or "without a name"
    return None


def _covers(rule: dict[str, Any], prefix: str) -> bool:
    chosen = rule.get("Filter", {})
    both = chosen.get("And", {})
    if "Tag" in chosen or both.get("Tags"):
        return False
    return prefix.startswith(chosen.get("Prefix") or both.get("Prefix") or rule.get("Prefix") or "")


def require_arrived(source: S3Store, target: S3Store, key: str, *, sha256: str, size: int) -> None:
    """Return when the target holds the replica of ``key``, with this content and the encryption that is required.

    Raises NotYetThere while the replication is pending; CheckFailed when it failed, or when the object was never
    meant to be replicated; MissingObject when the source has none; ConflictingObject and NotAsRequired as
    `require_same` does.
    """
    origin = looked_at(source, key)
    if origin is None:
        raise MissingObject(f"there is no {key} in {source.describe()}", remedy="look in another store")
    replica = looked_at(target, key)
    if replica is not None:
        require_same(target, key, replica, sha256=sha256, size=size, origin=origin)
        return
    status = origin.get("ReplicationStatus")
    if status == "PENDING":
        raise NotYetThere(key, target, origin["LastModified"].astimezone(UTC))
    if status == "FAILED":
        raise CheckFailed(
            f"the bucket could not replicate {key} to {target.describe()}",
            why="its replication status is FAILED",
            remedy="look at the rule's role, the destination's policy and both KMS keys; then replicate it again with "
            "S3 Batch Replication",
        )
    if status is None:
        raise CheckFailed(
            f"{key} is not in {target.describe()} and will not be replicated there",
            why="it has no replication status: it was stored before the rule was there",
            remedy="replicate what was there before with S3 Batch Replication",
        )
    raise CheckFailed(
        f"{key} is not in {target.describe()}, although it was replicated",
        why=f"its replication status is {status}",
        remedy="find out what removes objects from that bucket; S3 Batch Replication brings it there again",
    )
