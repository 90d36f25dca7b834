"""The settings of what AWS itself backs up: RDS and Aurora, AWS Backup, and the infrastructure around them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from backup_assets.settings_model import LocalTime, Model

Region = Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d+$")]
AccountId = Annotated[str, Field(pattern=r"^\d{12}$")]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*$", max_length=63)]


class RdsCopySettings(Model):
    """Where every snapshot is copied to."""

    region: Region = Field(default="ap-northeast-3", description="Region of the copies, another than the database's.")
    kms_key_id: str | None = Field(
        default=None,
        description="KMS key of that region which copies are encrypted with; needed where the snapshots are encrypted.",
    )
    share_with: tuple[AccountId, ...] = Field(
        default=(),
        description="Accounts that may restore and copy the copies; only with a key that they may use, which AWS's "
        "own default key never is.",
    )
    account_profile: str | None = Field(
        default=None,
        description="AWS profile of another account, which makes a copy of its own of every copy that is shared with "
        "it; its account must be in `share_with`.",
    )
    account_kms_key_id: str | None = Field(
        default=None, description="KMS key of that account which its own copies are encrypted with."
    )


RestoredFor = Literal["drill", "rebuild"]


class RdsServerSettings(Model):
    """The server that RDS restores into, for as long as it is needed."""

    #: What it is restored for, which is also what its part of the settings is called.
    ROLE: ClassVar[RestoredFor]

    instance_class: str | None = Field(
        default=None, description="Class of the instance; left out: that of the source. Of Aurora also `db.serverless`."
    )
    subnet_group: str | None = Field(
        default=None, description="DB subnet group, apart from production; left out: that of the source."
    )
    security_groups: tuple[str, ...] = Field(
        default=(), description="VPC security groups of the instance; required, and none of the source's."
    )
    host: str | None = Field(
        default=None, description="Address under which the instance is reached; left out: the one that AWS gives it."
    )
    port: int | None = Field(default=None, ge=1, le=65535, description="Port there; left out: that of the instance.")
    timeout_hours: float = Field(gt=0, le=48)


class RdsDrillSettings(RdsServerSettings):
    """The monthly restore into an instance of its own, which is removed again."""

    ROLE = "drill"

    source: Literal["snapshot", "copy", "point_in_time"] = Field(
        default="snapshot",
        description="What is restored: the newest snapshot, the newest copy in the other region, or the latest moment "
        "that the automated backups reach.",
    )
    timeout_hours: float = Field(default=3.0, gt=0, le=48, description="A drill that takes longer fails.")
    day_of_month: int = Field(default=2, ge=1, le=28, description="Day of the month that the drill is due.")
    at: LocalTime = Field(default="05:30", description="Local time of the drill, in the zone of the schedule.")


class RdsRebuildSettings(RdsServerSettings):
    """How a slot that was missed gets its set later: restored as of its own time into an instance, and dumped there."""

    ROLE = "rebuild"

    timeout_hours: float = Field(
        default=12.0, gt=0, le=48, description="A rebuild, its dump included, that takes longer fails."
    )


class RdsSettings(Model):
    """The RDS instance or Aurora cluster that runs a database."""

    instance: Identifier | None = Field(default=None, description="DB instance identifier; this or `cluster`.")
    cluster: Identifier | None = Field(default=None, description="DB cluster identifier of Aurora or Multi-AZ RDS.")
    automated_days: int = Field(
        default=14, ge=7, le=35, description="Days that automated backups must be kept; as users' policy says, 7 to 35."
    )
    multi_az: bool | None = Field(
        default=None, description="Whether it must run in several availability zones; left out: either is right."
    )
    kms_key_id: str | None = Field(
        default=None, description="KMS key (ARN or id) that its storage must be encrypted with; left out: any."
    )
    snapshot_at: LocalTime = Field(
        default="02:30", description="Local time of the daily snapshot, in the zone of the schedule."
    )
    snapshot_timeout_hours: float = Field(
        default=6.0, gt=0, le=48, description="A snapshot or copy that takes longer is reported as failed."
    )
    copies: RdsCopySettings | None = Field(
        default=None, description="Where snapshots are copied to; left out: nowhere."
    )
    drill: RdsDrillSettings | None = Field(default=None, description="The monthly restore; left out: none.")
    rebuild: RdsRebuildSettings | None = Field(
        default=None, description="How missed slots are rebuilt from a point in time; left out: they stay empty."
    )

    @property
    def identifier(self) -> str:
        """The identifier of the instance or cluster."""
        return self.instance or self.cluster or ""


class BackupPlanSettings(Model):
    """The plan of AWS Backup: recovery points of every RDS source, copied to the second region."""

    vault: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{2,50}$")] = Field(
        default="backup-assets", description="Name of the vaults, the same in both regions."
    )
    every_hours: Literal[1, 2, 3, 4, 6, 8, 12, 24] = Field(default=3, description="Hours between recovery points.")
    keep_days: int = Field(default=14, ge=1, le=36500, description="Days that a recovery point and its copy are kept.")
    locked: bool = Field(
        default=True,
        description="Whether the vaults are locked (governance mode): recovery points cannot be kept for less time.",
    )
    restore_testing: bool = Field(
        default=True, description="Whether AWS Backup restores the newest recovery point every month, and removes it."
    )
    second_kms_key_id: str | None = Field(
        default=None, description="KMS key of the vault in the second region; left out: one is made by `aws apply`."
    )


class InfrastructureSettings(Model):
    """The settings around the databases that are written down every day; buckets are those of the stores."""

    lambda_functions: tuple[str, ...] = Field(default=(), description="Names of Lambda functions.")
    security_groups: tuple[str, ...] = Field(
        default=(), description="Ids of security groups, besides those of the databases."
    )
    buckets: tuple[str, ...] = Field(default=(), description="Names of buckets, besides those of the stores.")
    values: bool = Field(
        default=False,
        description="Whether values of environment variables are written down too: only with encryption. Otherwise "
        "their names and a hash keyed per set.",
    )
    at: LocalTime = Field(default="01:30", description="Local time, in the zone of the first database's schedule.")


class EventsSettings(Model):
    """How events of RDS and AWS Backup are heard of: by asking, or through a queue."""

    queue_url: str | None = Field(
        default=None,
        description="SQS queue that EventBridge sends them to (`aws apply` makes one); left out: RDS and AWS Backup "
        "are asked every few minutes.",
    )


class AwsSettings(Model):
    """How AWS is reached, and what in it belongs to the backups."""

    region: Region = Field(default="ap-northeast-1", description="Region of the databases.")
    second_region: Region = Field(default="ap-northeast-3", description="Region of the second copies.")
    profile: str | None = Field(default=None, description="AWS profile; left out: boto3's own order.")
    apply_profile: str | None = Field(
        default=None, description="AWS profile with which `aws plan` and `aws apply` work; left out: `profile`."
    )
    endpoint_url: str | None = Field(default=None, description="Address of a service that stands for AWS.")
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")] = Field(
        default="backup-assets", description="First part of the names of everything that `aws apply` creates."
    )
    backup_plan: BackupPlanSettings | None = Field(
        default=None, description="The plan of AWS Backup; left out: none is made or watched."
    )
    infrastructure: InfrastructureSettings | None = Field(
        default=None, description="What is written down of the infrastructure every day; left out: nothing."
    )
    events: EventsSettings = Field(default=EventsSettings(), description="How events are heard of.")
