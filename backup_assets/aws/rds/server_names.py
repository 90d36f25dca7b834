"""What is a server called that RDS restores for us, and which tags say that it is ours to remove?"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime

from backup_assets.aws.rds.tagging import DEADLINE, is_ours, moment_text, tags_of
from backup_assets.settings import DatabaseSettings
from backup_assets.settings_aws import RestoredFor

#: Nothing is ever removed whose name does not begin so.
PREFIXES: Mapping[RestoredFor, str] = {"drill": "backup-assets-drill-", "rebuild": "backup-assets-rebuild-"}
#: What was restored (the ARN of a snapshot, or `POINT_IN_TIME`), and the moment that it shows.
RESTORED_FROM = "backup-assets:restored-from"
SHOWS = "backup-assets:shows"
POINT_IN_TIME = "point-in-time"
#: Of an instance of Aurora, which is made in the restored cluster.
_MEMBER = "-1"
#: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html#RDS_Limits.Constraints
_LONGEST = 63
_HASH = 6


def server_name(role: RestoredFor, database: str, env: str, slot: str) -> str:
    """Return the name of what is restored for a slot, for example `backup-assets-drill-2026-11-erp4-production-1a2b3c`.

    RDS takes lower-case letters, digits and single hyphens, 63 at most. The hash is of what is configured, so that two
    that are written alike here never share a name.
    """
    prefix = PREFIXES[role]
    digest = hashlib.sha256(f"{env}/{database}/{slot}".encode()).hexdigest()[:_HASH]
    words = re.sub(r"[^a-z0-9]+", "-", f"{slot}-{database}-{env}".lower()).strip("-")
    room = _LONGEST - len(prefix) - len(_MEMBER) - 1 - _HASH
    return f"{prefix}{words[:room].rstrip('-')}-{digest}"


def member_name(cluster: str) -> str:
    """Return the name of the one instance that a restored Aurora cluster gets."""
    return f"{cluster}{_MEMBER}"


def server_tags(
    role: RestoredFor,
    database: DatabaseSettings,
    env: str,
    slot: str,
    started: datetime,
    deadline: datetime,
    more: Mapping[str, str],
) -> dict[str, str]:
    """Return the tags that are given with the very request that makes something."""
    return {**tags_of(database.name, env, slot, role, started), DEADLINE: moment_text(deadline), **more}


def is_named_as_ours(identifier: str) -> bool:
    """Tell whether a server is called as those are that RDS restores for us, here or elsewhere."""
    return identifier.startswith(tuple(PREFIXES.values()))


def is_made_by_us(identifier: str, tags: Mapping[str, str], database: DatabaseSettings, env: str) -> bool:
    """Tell whether a server was restored for this database: name and tags both say so, and it is no source."""
    if database.rds is not None and identifier.lower() == database.rds.identifier.lower():
        return False
    return any(
        identifier.startswith(prefix) and is_ours(tags, database.name, env, role) for role, prefix in PREFIXES.items()
    )
