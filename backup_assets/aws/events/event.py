"""What does an event of RDS or AWS Backup say: what came to an end, and well or badly?"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

Category = Literal[
    "automated_backups", "snapshots", "snapshot_copies", "source", "backup_jobs", "copy_jobs", "restore_jobs"
]
Outcome = Literal["failed", "completed"]
#: What each is about, as checks say it.
CATEGORIES: Mapping[Category, str] = {
    "automated_backups": "The automated backups of RDS are on, and the last one that RDS told of was made.",
    "snapshots": "The last snapshot that RDS told of was made.",
    "snapshot_copies": "The last copy of a snapshot that RDS told of was made.",
    "source": "RDS told of no failure of the database itself, or of its recovery since.",
    "backup_jobs": "The last backup job of AWS Backup was completed.",
    "copy_jobs": "The last copy job of AWS Backup was completed.",
    "restore_jobs": "The last restore job of AWS Backup was completed: its restore testing is one, and leaves nothing.",
}
SNAPSHOT_TYPES = frozenset({"db-snapshot", "db-cluster-snapshot"})
#: RDS gives no ids of events where it is asked for them, so the messages are what tells them apart:
#: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_Events.Messages.html
_COPY = re.compile(r"\bcop(y|ied)\b.*\bsnapshot\b|\bsnapshot\b.*\bcop(y|ied)\b", re.IGNORECASE)
_BADLY = re.compile(r"\b(fail(ed|ure)?|cancel(l?ed)?|unable|incompatible|error)\b", re.IGNORECASE)
_WELL = re.compile(r"\b(finished|created|completed?)\b", re.IGNORECASE)
_SWITCHED_OFF = re.compile(r"automat(ic|ed) backups?\b.*\bdisabled\b", re.IGNORECASE)
_SWITCHED_ON = re.compile(r"automat(ic|ed) backups?\b.*\benabled\b", re.IGNORECASE)
_STATES: Mapping[str, Outcome] = {
    "COMPLETED": "completed",
    "FAILED": "failed",
    "ABORTED": "failed",
    "EXPIRED": "failed",
    "PARTIAL": "failed",
}
_JOBS: Mapping[Category, tuple[str, str, str]] = {
    "backup_jobs": ("BackupJobId", "State", "ResourceArn"),
    "copy_jobs": ("CopyJobId", "State", "ResourceArn"),
    "restore_jobs": ("RestoreJobId", "Status", "SourceResourceArn"),
}
_JOB_DETAILS: Mapping[str, Category] = {
    "Backup Job State Change": "backup_jobs",
    "Copy Job State Change": "copy_jobs",
    "Restore Job State Change": "restore_jobs",
}
_RDS_DETAILS: Mapping[str, str] = {
    "RDS DB Instance Event": "db-instance",
    "RDS DB Cluster Event": "db-cluster",
    "RDS DB Snapshot Event": "db-snapshot",
    "RDS DB Cluster Snapshot Event": "db-cluster-snapshot",
}


@dataclass(frozen=True)
class Event:
    """Something that came to an end in AWS.

    ``subject`` is the name or ARN of what it was about: a DB instance or cluster, a snapshot (``of_snapshot``), or the
    resource of a job; ``target`` is the vault that a job copies to. ``id`` is the same whenever the same event is heard
    of again in the same way.
    """

    id: str
    at: datetime
    category: Category
    outcome: Outcome
    subject: str
    region: str
    text: str
    of_snapshot: bool = False
    target: str = ""


def of_rds(answer: Mapping[str, Any], region: str) -> Event | None:
    """Return what an entry of `DescribeEvents` says, None where nothing came to an end."""
    return _of_rds(
        str(answer.get("SourceType", "")),
        str(answer.get("SourceIdentifier", "")),
        str(answer.get("Message", "")),
        answer.get("EventCategories", ()),
        answer["Date"],
        region,
    )


def of_job(category: Category, answer: Mapping[str, Any], region: str, now: datetime) -> Event | None:
    """Return what a job of AWS Backup says, None while it is at work. One without an end is taken to end ``now``.

    So is a restore on trial of which something is left.
    """
    id_name, state_name, resource_name = _JOBS[category]
    state = str(answer.get(state_name, ""))
    outcome = _STATES.get(state)
    if outcome is None:
        return None
    # Of a restore the recovery point says which source it is about; what was made bears a name of AWS Backup's own.
    resource = str(answer.get(resource_name) or answer.get("RecoveryPointArn") or "")
    text = _of_state(category, resource, state, str(answer.get("StatusMessage") or ""))
    # Restore testing removes what it restored hours after the job was completed.
    left = answer.get("DeletionStatus") == "FAILED"
    if left:
        made, why = answer.get("CreatedResourceArn") or "what it restored", answer.get("DeletionStatusMessage")
        text += f"; AWS Backup could not remove {made} again, which costs money" + (f": {why}" if why else "")
    return Event(
        id=f"{answer[id_name]}:{state}" + (":left" if left else ""),
        at=now if left else answer.get("CompletionDate") or now,
        category=category,
        outcome="failed" if left else outcome,
        subject=resource,
        region=region,
        text=text,
        of_snapshot=":snapshot:" in resource or ":cluster-snapshot:" in resource,
        target=str(answer.get("DestinationBackupVaultArn") or ""),
    )


def of_event_bridge(body: Mapping[str, Any]) -> Event | None:
    """Return what an event that EventBridge sent says, None where nothing came to an end.

    Raises KeyError or ValueError for what is no event of RDS or AWS Backup that is known here.
    """
    kind, detail, region = str(body["detail-type"]), body["detail"], str(body["region"])
    at = _moment(str(body["time"]))
    if kind in _RDS_DETAILS:
        categories = detail.get("EventCategories", ())
        return _of_rds(_RDS_DETAILS[kind], detail["SourceIdentifier"], detail["Message"], categories, at, region)
    category = _JOB_DETAILS[kind]
    answer = {name[:1].upper() + name[1:]: value for name, value in detail.items()}
    # AWS says `state` of some jobs and `status` of others.
    state = answer.get("State") or answer.get("Status")
    answer |= {"State": state, "Status": state, "CompletionDate": at}
    if category == "restore_jobs" and body.get("resources"):
        # Where a restore failed, this alone says what it was about.
        answer.setdefault("RecoveryPointArn", body["resources"][0])
    id_name, _, _ = _JOBS[category]
    if id_name not in answer or not state:
        raise ValueError(f"an event {kind!r} without {id_name} or its state")
    return of_job(category, answer, region, at)


def last_of_each(events: Iterable[Event]) -> dict[Category, tuple[Event, ...]]:
    """Return what counts of each category: failures without a later success of the same, else the newest event.

    The same is what has the same subject, region and target: that one snapshot was copied does not undo that another
    one was not. Of events of one moment a failure is the newest.
    """
    last: dict[tuple[Category, str, str, str], Event] = {}
    for event in sorted(events, key=lambda one: (one.at, one.outcome == "failed", one.id)):
        key = (event.category, event.subject, event.region, event.target)
        last.pop(key, None)  # so that the newest of all is at the end
        last[key] = event
    found: dict[Category, tuple[Event, ...]] = {}
    for category in CATEGORIES:
        own = [one for one in last.values() if one.category == category]
        if own:
            found[category] = tuple(one for one in own if one.outcome == "failed") or (own[-1],)
    return found


def _of_rds(
    kind: str, subject: str, message: str, categories: Iterable[str], at: datetime, region: str
) -> Event | None:
    meaning = _meaning(kind, message, {str(one).lower() for one in categories})
    if meaning is None:
        return None
    category, outcome = meaning
    digest = hashlib.sha256(f"{kind} {subject} {at.isoformat()} {message}".encode()).hexdigest()[:16]
    text = f"{subject}: {message}"
    return Event(digest, at, category, outcome, subject, region, text, of_snapshot=kind in SNAPSHOT_TYPES)


def _meaning(kind: str, message: str, categories: set[str]) -> tuple[Category, Outcome] | None:
    if kind in SNAPSHOT_TYPES:
        category: Category = "snapshot_copies" if _COPY.search(message) else "snapshots"
        if "export" in message.lower() or "restored" in message.lower():
            return None  # neither makes a snapshot
        if "failure" in categories or _BADLY.search(message):
            return category, "failed"
        return (category, "completed") if _WELL.search(message) else None
    if _SWITCHED_OFF.search(message):
        return "automated_backups", "failed"
    if _SWITCHED_ON.search(message):
        return "automated_backups", "completed"
    if "backup" in categories:
        if _BADLY.search(message):
            return "automated_backups", "failed"
        return ("automated_backups", "completed") if _WELL.search(message) else None
    if "failure" in categories:
        return "source", "failed"
    return ("source", "completed") if "recovery" in categories and _WELL.search(message) else None


def _of_state(category: Category, resource: str, state: str, message: str) -> str:
    what = category.removesuffix("s").replace("_", " ")
    return f"the {what} of {resource or 'an unknown resource'} ended {state}" + (f": {message}" if message else "")


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
