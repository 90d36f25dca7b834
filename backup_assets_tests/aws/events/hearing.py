"""A database on RDS whose events are told by the pretended AWS."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_aws import AwsSettings, EventsSettings, RdsSettings
from backup_assets.settings_schedule import ScheduleSettings
from backup_assets.settings_watch import WatchSettings
from backup_assets_tests.aws.conftest import ACCOUNT, INSTANCE, TOKYO, PretendedAws

ARN = f"arn:aws:rds:{TOKYO}:{ACCOUNT}:db:{INSTANCE}"


def settings_of(
    tmp_path: Path, aws: PretendedAws, *channels: str, queue_url: str | None = None, endpoint_url: str | None = None
) -> Settings:
    database = DatabaseSettings(
        name="erp4",
        database="erp4",
        schedule=ScheduleSettings(timezone="UTC"),
        rds=RdsSettings(instance=INSTANCE),
    )
    return Settings(
        env="prod",
        backup_dir=tmp_path / "local",
        databases=(database,),
        watch=WatchSettings.model_validate({"channels": list(channels)}),
        aws=AwsSettings(endpoint_url=endpoint_url or aws.endpoint_url, events=EventsSettings(queue_url=queue_url)),
    )


def a_job(state: str, job_id: str = "7", at: datetime | None = None, arn: str = ARN) -> dict[str, Any]:
    """Return an event of AWS Backup as EventBridge sends it."""
    return {
        "detail-type": "Backup Job State Change",
        "source": "aws.backup",
        "region": TOKYO,
        "time": (at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "detail": {"backupJobId": job_id, "state": state, "resourceArn": arn, "statusMessage": "the role is missing"},
    }


def a_copy_job(state: str, job_id: str, region: str, at: datetime) -> dict[str, Any]:
    """Return an event of a job that copies the database to a vault in a region."""
    vault = f"arn:aws:backup:{region}:{ACCOUNT}:backup-vault:backup-assets"
    told = a_job(state, at=at)
    detail = {"copyJobId": job_id, "state": state, "resourceArn": ARN, "destinationBackupVaultArn": vault}
    return told | {"detail-type": "Copy Job State Change", "detail": detail}


def a_queue(aws: PretendedAws) -> str:
    return aws.client("sqs").create_queue(QueueName="backup-assets-events")["QueueUrl"]


def send(aws: PretendedAws, url: str, body: dict[str, Any] | str) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    aws.client("sqs").send_message(QueueUrl=url, MessageBody=text)


def waiting(aws: PretendedAws, url: str) -> int:
    """Return how many messages are in the queue, hidden ones included."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)
