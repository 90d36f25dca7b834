"""What is a snapshot of ours called?"""

from __future__ import annotations

import hashlib
import re

#: Of a cluster's snapshot; that of an instance may have 255:
#: https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBClusterSnapshot.html
LONGEST = 63
PREFIX = "backup-assets"
_HASH = 6


def snapshot_name(database: str, env: str, slot: str) -> str:
    """Return `backup-assets-<env>-<database>-<slot>-<hash>`: the name of a slot's snapshot and of each copy of it.

    RDS takes lower-case letters, digits and single hyphens only, 63 at most. The hash is of environment and database as
    they are configured, so that two that are written alike here (`erp_4` and `erp-4`) never share a name.
    """
    digest = hashlib.sha256(f"{env}/{database}".encode()).hexdigest()[:_HASH]
    end = f"-{_plain(slot)}-{digest}"
    return f"{PREFIX}-{_plain(f'{env}-{database}')}"[: LONGEST - len(end)].rstrip("-") + end


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
