"""What is made for a drill called, and which tags say that it is ours to remove?"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime

from backup_assets.aws.rds.tagging import DEADLINE, is_ours, moment_text, tags_of
from backup_assets.settings import DatabaseSettings

#: Nothing is ever removed by a drill whose name does not begin so.
PREFIX = "backup-assets-drill-"
#: What was restored (the ARN of a snapshot, or `POINT_IN_TIME`), and the moment that it shows.
RESTORED_FROM = "backup-assets:restored-from"
SHOWS = "backup-assets:shows"
POINT_IN_TIME = "point-in-time"
#: Of an instance of Aurora, which is made in the restored cluster.
_MEMBER = "-1"
#: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html#RDS_Limits.Constraints
_LONGEST = 63
_HASH = 6


def drill_name(database: str, env: str, slot: str) -> str:
    """Return the name of the instance or cluster of a slot's drill: `backup-assets-drill-2026-11-erp4-prod-<hash>`.

    RDS takes lower-case letters, digits and single hyphens, 63 at most. The hash is of what is configured, so that two
    that are written alike here never share a name.
    """
    digest = hashlib.sha256(f"{env}/{database}/{slot}".encode()).hexdigest()[:_HASH]
    words = re.sub(r"[^a-z0-9]+", "-", f"{slot}-{database}-{env}".lower()).strip("-")
    room = _LONGEST - len(PREFIX) - len(_MEMBER) - 1 - _HASH
    return f"{PREFIX}{words[:room].rstrip('-')}-{digest}"


def member_name(cluster: str) -> str:
    """Return the name of the one instance that an Aurora cluster of a drill gets."""
    return f"{cluster}{_MEMBER}"


def drill_tags(
    database: DatabaseSettings, env: str, slot: str, started: datetime, deadline: datetime, more: Mapping[str, str]
) -> dict[str, str]:
    """Return the tags that are given with the very request that makes something for a drill."""
    return {**tags_of(database.name, env, slot, "drill", started), DEADLINE: moment_text(deadline), **more}


def is_of_a_drill(identifier: str, tags: Mapping[str, str], database: DatabaseSettings, env: str) -> bool:
    """Tell whether something was made for a drill of this database: name and tags both say so, and it is no source."""
    source = database.rds.identifier if database.rds else ""
    return identifier.startswith(PREFIX) and identifier != source and is_ours(tags, database.name, env, "drill")
