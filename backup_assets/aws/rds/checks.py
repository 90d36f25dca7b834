"""The protection as Dagster shows it: checks on what RDS backs up, evaluated with every look at it."""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

import dagster as dg

from backup_assets.aws.rds.assets import AUTOMATED_BACKUPS, SNAPSHOT, SNAPSHOT_COPY
from backup_assets.settings import DatabaseSettings, Settings

#: Tag of a run: what it found, or of one that broke off before, what was found when it was requested.
FINDINGS = "backup-assets/findings"
#: Where each part is shown, and what it promises.
_PARTS: Mapping[str, tuple[str, str]] = {
    "protected": (
        AUTOMATED_BACKUPS,
        "Automated backups, deletion protection, encryption of the storage, zones and backup window are as is wanted.",
    ),
    "restorable": (AUTOMATED_BACKUPS, "A point in time within the recovery point objective can be restored."),
    "newest_snapshot": (SNAPSHOT, "The newest whole snapshot is of the last day and the time that one may take."),
    "newest_copy": (
        SNAPSHOT_COPY,
        "The newest whole copy is young enough, can be read, its key too, and is encrypted and shared as is wanted.",
    ),
    "aws_backup": (AUTOMATED_BACKUPS, "All jobs of AWS Backup of the last day were completed, and there were some."),
    "attachments": (AUTOMATED_BACKUPS, "The buckets of the infrastructure are versioned, and nothing in them expires."),
    "drills": (AUTOMATED_BACKUPS, "Drills left nothing that costs money, and one passed in the last weeks."),
}


def protection_parts(database: DatabaseSettings, settings: Settings) -> list[str]:
    """Return the parts of the protection that are configured."""
    aws, rds = settings.aws, database.rds
    absent = {
        "newest_copy": rds is None or rds.copies is None,
        "aws_backup": aws.backup_plan is None,
        "attachments": aws.infrastructure is None or not aws.infrastructure.buckets,
    }
    return [part for part in _PARTS if not absent.get(part, False)]


def protection_check_keys(database: DatabaseSettings, settings: Settings) -> list[dg.AssetCheckKey]:
    """Return the keys of all checks, for the job that evaluates them."""
    return [
        dg.AssetCheckKey(dg.AssetKey([database.name, _PARTS[part][0]]), part)
        for part in protection_parts(database, settings)
    ]


def build_protection_checks(
    database: DatabaseSettings, settings: Settings, *, clock: Callable[[], datetime]
) -> dg.AssetChecksDefinition:
    """Return the checks of one database on RDS; no run fails by them, and the watch tells of each that fails.

    A failure is of severity ERROR; what is only worth a look, or could not be asked for the moment, is a warning.
    """
    parts = protection_parts(database, settings)
    specs = [
        dg.AssetCheckSpec(part, asset=[database.name, _PARTS[part][0]], description=_PARTS[part][1]) for part in parts
    ]

    @dg.multi_asset_check(name=f"{database.name}_rds_protection", specs=specs)
    def protection(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        # boto3 costs a third of a second: only who asks AWS pays it.
        from backup_assets.aws.rds.examining import examine_protection, signature_of

        examined = list(examine_protection(database, settings, clock()))
        context.instance.add_run_tags(context.run.run_id, {FINDINGS: signature_of(examined)})
        for found in examined:
            wrong = [one for one in found.findings if one.state != "ok"]
            broken = any(one.state == "fail" for one in wrong)
            for one in wrong:
                context.log.warning(f"{one.name}: {one.found}; next: {one.remedy}")
            rows = ["| what | state | found | next |", "|---|---|---|---|"]
            rows += [f"| {one.name} | {one.state} | {one.found} | {one.remedy} |" for one in found.findings]
            yield dg.AssetCheckResult(
                passed=not wrong,
                asset_key=[database.name, _PARTS[found.group][0]],
                check_name=found.group,
                severity=dg.AssetCheckSeverity.ERROR if broken else dg.AssetCheckSeverity.WARN,
                description="\n\n".join(f"{one.found}; next: {one.remedy}" for one in wrong) or "as it should be",
                metadata={
                    "problem_count": sum(one.state == "fail" for one in wrong),
                    "findings": dg.MetadataValue.md("\n".join(rows)),
                },
            )

    return protection
