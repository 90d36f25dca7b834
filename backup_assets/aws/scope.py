"""Which buckets, keys and roles of AWS do the settings speak of?"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from urllib.parse import urlsplit

from backup_assets.aws.infrastructure.place import infrastructure_databases
from backup_assets.errors import Refused, SettingsError
from backup_assets.local import place_of
from backup_assets.settings import Settings
from backup_assets.settings_stores import ObjectLockSettings, StoreSettings
from backup_assets.stores.contract import TRIAL_KEY_START

_KEY_ARN = re.compile(r"arn:(?P<partition>[a-z-]+):kms:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):key/(?P<id>[\w-]+)")
_ACCOUNT = re.compile(r"\d{12}")
_ROLE_NAME = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)


@dataclass(frozen=True)
class Roles:
    """The names of the IAM roles, each of which may do one thing.

    Raises SettingsError for a name that IAM does not allow, or that two of them bear.
    """

    uploader: str = "backup-uploader"
    restorer: str = "backup-restorer"
    verifier: str = "backup-verifier"
    retention: str = "backup-retention"
    copier: str = "backup-copier"
    replicator: str = "backup-replicator"
    administrator: str = "backup-administrator"
    custodian: str = "backup-custodian"

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        for role, name in self.by_role().items():
            if not _ROLE_NAME.fullmatch(name):
                raise SettingsError(
                    f"--{role} {name!r} is not the name of a role",
                    remedy="give the name alone: at most 64 letters, digits and + = , . @ _ -",
                )
            if name in seen:
                raise SettingsError(
                    f"--{role} and --{seen[name]} are both {name}",
                    why="roles that are one role are not kept apart",
                    remedy="give each a name of its own",
                )
            seen[name] = role

    def by_role(self) -> dict[str, str]:
        """Return the names by what the roles are for."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class Account:
    """An AWS account and the roles in it; ``id`` has twelve digits, ``partition`` is ``aws`` nearly everywhere."""

    id: str
    partition: str = "aws"
    roles: Roles = Roles()

    def role_arn(self, role: str) -> str:
        """Return the ARN of the role that is for ``role``, such as ``uploader``."""
        return self.arn("iam", f"role/{self.roles.by_role()[role]}")

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of something that has no region."""
        return f"arn:{self.partition}:{service}::{self.id}:{resource}"


@dataclass(frozen=True)
class Scope:
    """What one store of the settings is in AWS.

    ``roots`` are the keys (without a slash at the end) below which the sets of each database lie. ``key_arn`` is the
    KMS key, None for SSE-S3. ``locked`` says how long objects may be locked, None: not by request.
    """

    name: str
    bucket: str
    region: str
    partition: str
    prefix: str
    roots: tuple[str, ...]
    key_arn: str | None
    locked: ObjectLockSettings | None
    sha256_tag: bool
    retention_tags: bool
    copied_from: str | None
    second_lock: bool

    @property
    def bucket_arn(self) -> str:
        """The ARN of the bucket."""
        return f"arn:{self.partition}:s3:::{self.bucket}"

    @property
    def owner(self) -> str | None:
        """The account that the KMS key belongs to."""
        return self.key_arn.split(":")[4] if self.key_arn else None

    @property
    def objects(self) -> tuple[str, ...]:
        """The ARNs of everything that belongs to the sets."""
        return tuple(f"{self.bucket_arn}/{root}/*" for root in self.roots)

    @property
    def trial_key(self) -> str:
        """The start of the keys under which an upload is begun for trial, and given up."""
        return f"{self.prefix}/{TRIAL_KEY_START}" if self.prefix else TRIAL_KEY_START

    @property
    def trial_objects(self) -> str:
        """The ARN of the keys of :attr:`trial_key`."""
        return f"{self.bucket_arn}/{self.trial_key}*"

    @property
    def listed(self) -> tuple[str, ...]:
        """What a listing may ask for, as patterns of ``s3:prefix``."""
        return (*(pattern for root in self.roots for pattern in (root, f"{root}/*")), f"{self.trial_key}*")

    @property
    def via_s3(self) -> str:
        """The name under which S3 uses a KMS key for somebody: https://docs.aws.amazon.com/kms (kms:ViaService)."""
        return f"s3.{self.region}.amazonaws.com"

    @property
    def tagged(self) -> bool:
        """Whether new objects bear tags."""
        return self.sha256_tag or self.retention_tags


def scopes_of(settings: Settings) -> tuple[Scope, ...]:
    """Return what the stores of the settings are in AWS; those of another service are left out.

    Raises SettingsError when none is left, and for a KMS key that is not named by its ARN or lies in another region
    than its bucket.
    """
    buckets = [store for store in settings.stores if store.kind == "s3"]
    in_aws = [store for store in buckets if is_in_aws(store)]
    if not in_aws:
        elsewhere = ", ".join(f"{store.name} ({store.endpoint_url or 'the demo'})" for store in buckets)
        raise SettingsError(
            "no store in AWS is configured, so there is nothing to write policies for",
            why=f"these are of other services: {elsewhere}" if buckets else "there is no store of kind s3",
            remedy="configure a bucket: `stores` of kind s3, or S3_BUCKET (docs/off-site.md)",
        )
    places = [*settings.databases, *infrastructure_databases(settings)]
    roots = tuple(sorted({place_of(database, settings).root for database in places}))
    return tuple(_scope_of(store, roots, settings) for store in in_aws)


def scope_named(scopes: Iterable[Scope], name: str) -> Scope:
    """Return the scope of the store of that name; raises SettingsError naming those that there are."""
    found = {scope.name: scope for scope in scopes}
    if name not in found:
        raise SettingsError(
            f"{name} is no store in AWS", why=f"configured: {', '.join(found)}", remedy="correct --store"
        )
    return found[name]


def account_of(scopes: Iterable[Scope], account_id: str | None, roles: Roles) -> Account:
    """Return the account: the one given, else that of the KMS keys.

    Raises SettingsError when neither tells it, or when they tell different ones.
    """
    scopes = tuple(scopes)
    owners = {owner for scope in scopes if (owner := scope.owner)}
    if account_id is None and len(owners) != 1:
        raise SettingsError(
            "it is not known which AWS account is meant",
            why=f"the KMS keys belong to {', '.join(sorted(owners))}" if owners else "no KMS key is configured",
            remedy="name it with --account (twelve digits), and one --store at a time when there are several",
        )
    chosen = account_id or owners.pop()
    if not _ACCOUNT.fullmatch(chosen):
        raise SettingsError(f"--account {chosen!r} is no AWS account", remedy="give its twelve digits")
    if others := owners - {chosen}:
        raise SettingsError(
            f"--account is {chosen}, but a KMS key belongs to {', '.join(sorted(others))}",
            remedy="choose the store with --store, and the account that owns its bucket and key",
        )
    return Account(chosen, scopes[0].partition, roles)


def _scope_of(store: StoreSettings, roots: tuple[str, ...], settings: Settings) -> Scope:
    prefix = store.prefix.strip("/")
    if wild := [text for text in (prefix, *roots) if re.search(r"[*?$]", text)]:
        raise Refused(
            f"the store {store.name} keeps its sets below {wild[0]!r}",
            why="`*`, `?` and `$` have a meaning of their own in a policy",
            remedy="choose a prefix without them",
        )
    return Scope(
        name=store.name,
        bucket=store.bucket or "",
        region=store.region,
        partition=_partition_of(store.region),
        prefix=prefix,
        roots=tuple(f"{prefix}/{root}" if prefix else root for root in roots),
        key_arn=_key_of(store),
        locked=store.object_lock,
        sha256_tag=store.sha256_tag,
        retention_tags=store.retention_tags,
        copied_from=store.copied_from,
        second_lock=settings.encryption.encrypts,
    )


def _key_of(store: StoreSettings) -> str | None:
    if store.sse_kms_key_id is None:
        return None
    found = _KEY_ARN.fullmatch(store.sse_kms_key_id)
    if found is None:
        raise SettingsError(
            f"the store {store.name} does not name its KMS key by its ARN",
            why=f"found {store.sse_kms_key_id}; a policy has to name the key itself, as an alias can be moved",
            remedy=f"set `sse_kms_key_id` to what this prints: aws kms describe-key --region {store.region} "
            f"--key-id {store.sse_kms_key_id} --query KeyMetadata.Arn --output text",
        )
    if found["region"] != store.region:
        raise SettingsError(
            f"the bucket of the store {store.name} is in {store.region}, its KMS key in {found['region']}",
            why="S3 uses keys of the bucket's own region only",
            remedy="correct `region` or `sse_kms_key_id`",
        )
    return store.sse_kms_key_id


def is_in_aws(store: StoreSettings) -> bool:
    """Tell whether a store of kind s3 is a bucket of AWS, and of no other service."""
    if store.endpoint_url is None:
        return store.embedded is None
    host = urlsplit(store.endpoint_url).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))  # an endpoint of a VPC, or one with FIPS


def _partition_of(region: str) -> str:
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"
