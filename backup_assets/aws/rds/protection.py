"""Is a database on RDS protected as it should be, judged by what AWS says of it?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from backup_assets.aws.rds.api import Snapshot, Source
from backup_assets.findings import Finding, State
from backup_assets.settings_aws import BackupPlanSettings, RdsCopySettings, RdsSettings

_APPLY = "`backup-assets aws apply` sets it"
#: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_WorkingWithAutomatedBackups.BackupRetention.html
_LEAST_DAYS, _MOST_DAYS = 7, 35
_DAY_HOURS = 24.0
#: RDS carries the log away every five minutes; what is later than this has stopped.
_USUAL_LAG = timedelta(minutes=30)
#: AWS Backup begins a job within eight hours of its time, where its plan says nothing else.
_START_WINDOW_HOURS = 8.0
_FAILED_JOBS = {"FAILED", "ABORTED", "EXPIRED", "PARTIAL"}
#: In all others a KMS key decrypts nothing: https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
_USABLE_KEYS = {"Enabled", "Creating", "Updating"}
#: A month and some days to mend what failed.
DRILL_DAYS = 35
#: Versions that are replaced or deleted must stay as long as the sets of a day do.
_VERSION_DAYS = 14


@dataclass(frozen=True)
class Job:
    """A job of AWS Backup: what it did, when it was created, and how it ended.

    ``of_plan``: it goes into a vault of our plan; somebody else's plan may back the source up too.
    """

    kind: str
    identifier: str
    state: str
    created_at: datetime
    message: str = ""
    of_plan: bool = True


@dataclass(frozen=True)
class Bucket:
    """A bucket as S3 describes it; ``rules`` are its lifecycle rules."""

    name: str
    versioning: str
    rules: Sequence[Mapping[str, Any]] = ()


def same_key(found: str | None, wanted: str) -> bool:
    """Tell whether the key that AWS names (an ARN) is the wanted one (an ARN or id)."""
    return found is not None and (found == wanted or found.endswith(f"/{wanted}"))


def source_findings(source: Source, rds: RdsSettings, key: str | None) -> Iterator[Finding]:
    """Yield a finding for each of the source's own settings; ``key`` is the key that its storage should have."""
    days = source.retention_days
    if not days:
        text = f"automated backups of {source.identifier} are off: it cannot be restored to a point in time"
        yield _fail("automated backups", text, f"{_APPLY} (to `rds.automated_days`, {rds.automated_days})")
    elif days < rds.automated_days or not _LEAST_DAYS <= days <= _MOST_DAYS:
        text = f"automated backups of {source.identifier} are kept for {days} days, {rds.automated_days} are wanted"
        yield _fail("automated backups", text, _APPLY)
    elif days > rds.automated_days:
        text = f"automated backups of {source.identifier} are kept for {days} days, longer than wanted"
        yield _warn("automated backups", text, f"set `rds.automated_days` to {days}, since nothing lowers it")
    else:
        yield _ok("automated backups", f"kept for {days} days")
    if source.deletion_protection:
        yield _ok("deletion protection", "on")
    else:
        text = f"deletion protection of {source.identifier} is off: one command deletes it"
        yield _fail("deletion protection", text, _APPLY)
    yield _encryption(source, key)
    if rds.multi_az is None or rds.multi_az == source.multi_az:
        yield _ok("zones", "several availability zones" if source.multi_az else "one availability zone")
    else:
        wanted = "several availability zones" if rds.multi_az else "one availability zone"
        yield _fail(
            "zones",
            f"{source.identifier} does not run in {wanted}, as is wanted",
            "change it in the RDS console, which costs; or correct `rds.multi_az`",
        )


def _encryption(source: Source, key: str | None) -> Finding:
    if not source.encrypted:
        return _fail(
            "storage encryption",
            f"the storage of {source.identifier} is not encrypted, nor are its snapshots",
            "it cannot be switched on: restore an encrypted copy of a snapshot, and move to that",
        )
    if key is not None and not same_key(source.kms_key_id, key):
        return _fail(
            "storage encryption",
            f"the storage of {source.identifier} is encrypted with {source.kms_key_id}, not with {key}",
            "correct `rds.kms_key_id`; a key is changed only by restoring a copy of a snapshot with another",
        )
    return _ok("storage encryption", f"with {source.kms_key_id}")


def restorable_finding(source: Source, rpo_hours: float, now: datetime) -> Finding:
    """Return whether a point in time within the RPO can be restored: that is what keeps an RPO of less than a day."""
    latest = source.latest_restorable
    if latest is None:
        text = f"{source.identifier} cannot be restored to any point in time"
        return _fail("latest restorable time", text, f"automated backups must be on: {_APPLY}")
    lag = now - latest
    text = f"{source.identifier} can be restored to {_text(latest)}, {_hours(lag)} ago"
    if lag > timedelta(hours=rpo_hours):
        return _fail(
            "latest restorable time",
            f"{text}: more than the RPO of {rpo_hours:g} h would be lost",
            "look at the instance's state and events in the RDS console; until it goes on, take a snapshot "
            "(`rds_snapshot`) or a backup (`backup-assets backup`)",
        )
    if lag > _USUAL_LAG:
        return _warn("latest restorable time", text, "RDS usually is five minutes behind: look at its events")
    return _ok("latest restorable time", text)


def snapshot_finding(snapshots: Sequence[Snapshot], rds: RdsSettings, now: datetime) -> Finding:
    """Return whether the newest whole snapshot of ours is of the last day and the time that one may take."""
    return _newest("newest snapshot", snapshots, _DAY_HOURS + rds.snapshot_timeout_hours, "rds_snapshot", now)


def copy_findings(
    copies: Sequence[Snapshot],
    allowed: Sequence[str] | None,
    rds: RdsSettings,
    *,
    where: str,
    key: str | None,
    share_with: Sequence[str],
    now: datetime,
) -> Iterator[Finding]:
    """Yield what there is to say of the copies in one place.

    ``allowed`` are the accounts that may restore the newest, as its attributes say; None: there is none. ``key`` is the
    key that it should have, ``share_with`` are the accounts that should be among those.
    """
    name = f"newest copy in {where}"
    yield _newest(name, copies, _DAY_HOURS + 2 * rds.snapshot_timeout_hours, "rds_snapshot_copy", now)
    newest = newest_whole(copies)
    if newest is None:
        return
    if not newest.encrypted:
        # Where the source is not encrypted, that is told of the source: a copy cannot be better.
        text = f"{newest.identifier} in {where} is not encrypted"
        yield _fail("encryption of copies", text, "encrypt the source first; its copies follow")
    elif key is not None and not same_key(newest.kms_key_id, key):
        text = f"{newest.identifier} in {where} is encrypted with {newest.kms_key_id}, not with {key}"
        yield _fail("encryption of copies", text, "correct `rds.copies.kms_key_id`; copies to come follow it")
    else:
        yield _ok("encryption of copies", f"{newest.identifier} in {where} with {newest.kms_key_id}")
    if allowed is None:
        return
    missing = [account for account in share_with if account not in allowed]
    if "all" in allowed:
        text = f"{newest.identifier} in {where} is public: everybody may restore it"
        yield _fail("sharing of copies", text, "make it private in the RDS console, at once")
    elif missing:
        text = f"{newest.identifier} in {where} is not shared with {', '.join(missing)}"
        yield _fail("sharing of copies", text, "launch `rds_snapshot_copy` for its slot, which shares it")
    elif others := [account for account in allowed if account not in share_with]:
        text = f"{newest.identifier} in {where} is also shared with {', '.join(others)}"
        yield _warn("sharing of copies", text, "name them in `rds.copies.share_with`, or end it in the RDS console")
    else:
        yield _ok("sharing of copies", f"with {', '.join(allowed)}" if allowed else "with nobody")


def key_finding(copy: Snapshot, state: str, *, where: str) -> Finding:
    """Return whether the key of a copy, which is in this ``state`` ("" once it is gone), lets it be restored."""
    name = "key of copies"
    if state in _USABLE_KEYS:
        return _ok(name, f"{copy.kms_key_id} of {copy.identifier} in {where} is {state}")
    text = f"the key {copy.kms_key_id} of {copy.identifier} in {where} is {state or 'gone'}: it cannot be restored"
    remedy = "cancel its deletion (`aws kms cancel-key-deletion`) and enable it (`aws kms enable-key`) at once"
    return _fail(name, text, f"{remedy}; once it is gone, so are its copies, and `rds.copies` has to name another key")


def newest_whole(snapshots: Sequence[Snapshot]) -> Snapshot | None:
    """Return the newest of those that are available."""
    whole = [(one.taken_at, one) for one in snapshots if one.is_available and one.taken_at is not None]
    return max(whole, key=lambda one: one[0])[1] if whole else None


def _newest(name: str, snapshots: Sequence[Snapshot], hours: float, asset: str, now: datetime) -> Finding:
    newest = newest_whole(snapshots)
    if newest is None or newest.taken_at is None:
        return _fail(name, "there is none of ours that is available", f"launch `{asset}`")
    age = now - newest.taken_at
    text = f"{newest.identifier} shows {_text(newest.taken_at)}, {_hours(age)} ago"
    if age > timedelta(hours=hours):
        return _fail(name, f"{text}: more than {hours:g} h", f"launch `{asset}`, and look at its runs and its schedule")
    return _ok(name, text)


def job_findings(jobs: Sequence[Job], plan: BackupPlanSettings, now: datetime) -> Iterator[Finding]:
    """Yield whether the jobs of AWS Backup of the last day are all well, and whether there were any of late."""
    for kind, delay in (("backup", 0.0), ("copy", float(plan.every_hours))):
        name, own = f"AWS Backup {kind} jobs", [job for job in jobs if job.kind == kind]
        failed = [job for job in own if job.state in _FAILED_JOBS]
        done = [job.created_at for job in own if job.state == "COMPLETED" and job.of_plan]
        most = plan.every_hours + _START_WINDOW_HOURS + delay
        if failed:
            last = max(failed, key=lambda job: job.created_at)
            text = f"{len(failed)} of {len(own)} {kind} jobs of the last day failed; the last, {last.identifier} of "
            text += f"{_text(last.created_at)}, is {last.state}" + (f": {last.message}" if last.message else "")
            yield _fail(
                name, text, "mend what its message names (role, key, vault); it is over when a day passed without one"
            )
        elif not done:
            text = f"no {kind} job was completed in the last day"
            yield _fail(
                name, text, "`backup-assets aws plan` shows whether plan and selection are there; apply sets them"
            )
        elif now - max(done) > timedelta(hours=most):
            text = f"the last {kind} job that was completed is of {_text(max(done))}, {_hours(now - max(done))} ago"
            yield _fail(name, text, f"the plan makes one every {plan.every_hours} h: look at its jobs in AWS Backup")
        else:
            yield _ok(name, f"{len(done)} completed in the last day, the last at {_text(max(done))}")


def bucket_findings(bucket: Bucket) -> Iterator[Finding]:
    """Yield whether what is replaced or deleted in a bucket can be had back, and nothing expires."""
    name = f"bucket {bucket.name}"
    if bucket.versioning != "Enabled":
        text = (
            f"versioning of the bucket {bucket.name} is {bucket.versioning.lower() or 'off'}: what is deleted is lost"
        )
        yield _fail(name, text, "switch its versioning on in the S3 console, or with `aws s3api put-bucket-versioning`")
        return
    expiring = [_rule(rule) for rule in bucket.rules if _removes_objects(rule)]
    short = [_rule(rule) for rule in bucket.rules if _days_of_versions(rule) < _VERSION_DAYS]
    if expiring:
        text = f"objects of the bucket {bucket.name} expire by the lifecycle rule {', '.join(expiring)}"
        yield _warn(name, text, "remove or narrow that rule, if what it removes is still needed")
    if short:
        text = f"old versions in {bucket.name} go before {_VERSION_DAYS} days by the lifecycle rule {', '.join(short)}"
        yield _warn(name, text, f"give them {_VERSION_DAYS} days or more")
    if not expiring and not short:
        yield _ok(name, "versioned, and nothing expires")


def _rule(rule: Mapping[str, Any]) -> str:
    return str(rule.get("ID") or "without a name")


def _removes_objects(rule: Mapping[str, Any]) -> bool:
    expiry = rule.get("Expiration", {})
    return rule.get("Status") == "Enabled" and ("Days" in expiry or "Date" in expiry)


def _days_of_versions(rule: Mapping[str, Any]) -> int:
    if rule.get("Status") != "Enabled":
        return _VERSION_DAYS
    return int(rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays", _VERSION_DAYS))


def drill_findings(
    left: Sequence[str], last_passed: datetime | None, now: datetime, *, untagged: Sequence[str] = ()
) -> Iterator[Finding]:
    """Yield whether drills left nothing that costs money, and whether one passed within a month and some days.

    ``untagged`` are named as their servers are, and show no tags: only what shows its tags is ever removed.
    """
    if left:
        yield _fail(
            "drill servers",
            f"drills left {', '.join(left)}, which cost money",
            "the sensor tries to delete them every minute: its ticks say why it cannot; else delete them by hand",
        )
    elif untagged:
        yield _fail(
            "drill servers",
            f"{', '.join(untagged)}: named as servers of drills and rebuilds are, and without any tags",
            "allow rds:ListTagsForResource to this role: without it no tags are seen, and nothing is removed; or "
            "delete by hand what nobody needs",
        )
    else:
        yield _ok("drill servers", "none is left")
    if last_passed is None:
        yield _warn("last drill", "no drill of RDS has passed yet", "launch `rds_restore_drill`")
        return
    text = f"the last drill of RDS that passed is of {_text(last_passed)}"
    if now - last_passed > timedelta(days=DRILL_DAYS):
        remedy = "launch `rds_restore_drill`, and look at its runs and its schedule"
        yield _fail("last drill", f"{text}, more than {DRILL_DAYS} days ago", remedy)
    else:
        yield _ok("last drill", text)


def wanted_key_of_copies(copies: RdsCopySettings, *, other_account: bool) -> str | None:
    """Return the key that copies should have in the region, or in the other account."""
    return copies.account_kms_key_id if other_account else copies.kms_key_id


def _ok(name: str, found: str) -> Finding:
    return _finding(name, "ok", found)


def _warn(name: str, found: str, remedy: str) -> Finding:
    return _finding(name, "warn", found, remedy)


def _fail(name: str, found: str, remedy: str) -> Finding:
    return _finding(name, "fail", found, remedy)


def _finding(name: str, state: State, found: str, remedy: str = "") -> Finding:
    return Finding(name, state, found, remedy)


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _hours(age: timedelta) -> str:
    minutes = age / timedelta(minutes=1)
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
