"""Which kinds of conditions are there, and under which is an objective told that is not met?"""

from __future__ import annotations

from typing import Literal

from backup_assets.watch.figures import ObjectiveName

Severity = Literal["warn", "error"]
Kind = Literal[
    "run_failed",
    "check_failed",
    "slot_missed",
    "rpo",
    "copy_late",
    "verified",
    "drill",
    "rto",
    "copies",
    "store_space",
    "store_unreachable",
    "sets_damaged",
    "sets_incomplete",
    "servers_mixed",
    "important_tables",
    "infrastructure",
    "rds_unwatched",
    "retention_blocked",
    "hold_expires",
    "encryption_key",
    "not_measured",
    "runs_unread",
    "channel_failed",
    "heartbeat_failed",
]


#: The objectives that are told. `off_site` is told by store, as `copy_late`, and `slots` by slot: both would otherwise
#: be told twice.
TOLD: dict[ObjectiveName, Kind] = {
    "rpo": "rpo",
    "verified": "verified",
    "drill": "drill",
    "rto": "rto",
    "store_space": "store_space",
    "three_copies": "copies",
    "two_media": "copies",
    "one_off_site": "copies",
    "important_tables": "important_tables",
    "infrastructure": "infrastructure",
}
#: Objectives of what may just have been configured: that there was never one is told once one was due.
DUE_LATER: tuple[ObjectiveName, ...] = ("important_tables", "infrastructure")
#: Objectives that depend on stores which are no more than configured: without any they are told by `status` alone.
OF_FURTHER_STORES: tuple[ObjectiveName, ...] = ("three_copies", "two_media", "one_off_site")
#: Objectives that a failed verification or drill breaks, which the local store has for certain and others perhaps.
OF_RECORDS: tuple[ObjectiveName, ...] = ("rpo", "verified", "drill", "rto")
