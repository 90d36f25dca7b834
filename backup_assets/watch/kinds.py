"""Which kinds of conditions are there, and how is an objective told that is not met?"""

from __future__ import annotations

from dataclasses import dataclass
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
    "retention_blocked",
    "encryption_key",
    "not_measured",
    "runs_unread",
    "channel_failed",
    "heartbeat_failed",
]


@dataclass(frozen=True)
class Telling:
    """How an objective is told: under which kind, its title when it is a warning and when broken, and what to do."""

    kind: Kind
    warn: str
    broken: str
    remedy: str


#: The objectives that are told. `off_site` is told by store, as `copy_late`, and `slots` by slot: both would otherwise
#: be told twice.
TOLD: dict[ObjectiveName, Telling] = {
    "rpo": Telling(
        "rpo",
        "the newest backup is about to miss the recovery point objective",
        "the newest backup is older than the recovery point objective",
        "look at the last runs, then take a backup: `backup-assets backup`",
    ),
    "verified": Telling(
        "verified",
        "the newest set is not proven by a restore",
        "the last proof by a restore is too old",
        "`backup-assets verify latest` proves the newest set, and says what is wrong with it otherwise",
    ),
    "drill": Telling(
        "drill", "a restore drill is due", "the restore drill failed or is overdue", "`backup-assets drill`"
    ),
    "rto": Telling(
        "rto",
        "a restore would take longer than the recovery time objective",
        "the last drill took longer than the recovery time objective",
        "see which stage of the last drill takes long (docs/drill.md), or agree on another objective",
    ),
    "store_space": Telling(
        "store_space",
        "a store is nearly full",
        "a store has no room for the next set",
        "free space or enlarge the disk; `backup-assets prune` shows what the retention would remove",
    ),
    "three_copies": Telling(
        "copies",
        "three copies are not certain",
        "there are fewer than three copies",
        "`backup-assets status` shows which one is missing",
    ),
    "two_media": Telling(
        "copies",
        "copies on two media are not certain",
        "the copies are not on two media",
        "`backup-assets status` shows where they are",
    ),
    "one_off_site": Telling(
        "copies",
        "a copy off-site is not certain",
        "there is no young copy off-site",
        "see to the store that is off-site, or configure one (docs/off-site.md)",
    ),
}
#: Objectives that depend on stores which are no more than configured: without any they are told by `status` alone.
OF_FURTHER_STORES: tuple[ObjectiveName, ...] = ("three_copies", "two_media", "one_off_site")
