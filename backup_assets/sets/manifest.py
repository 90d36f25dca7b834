"""The manifest: what a backup set is made of, and the figures that its restore is compared with."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from backup_assets.errors import CheckFailed, Refused
from backup_assets.sets.backup_id import BackupId
from backup_assets.sets.sealed import seal, sealed_schema, unseal

MANIFEST_VERSION = 1
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _id_of_a_set(text: str) -> str:
    try:
        BackupId.parse(text)
    except Refused as error:  # pydantic collects ValueErrors only
        raise ValueError(error.what) from error
    return text


SetId = Annotated[str, AfterValidator(_id_of_a_set)]


class Part(BaseModel):
    """Base of every part of a manifest or record: immutable, unknown names are damage."""

    # NaN and infinity would be written as null, which cannot be read back.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def is_unset(value: object) -> bool:
    """Tell whether a member that earlier versions did not know is left out of a stored document.

    Every member that came after the first documents has this as its ``exclude_if``. What an earlier version stored is
    so written again byte for byte: the envelope of a set that other stores hold already, the key of a record. And an
    earlier version reads what makes no use of the member.
    """
    return value is None


CipherName = Literal["gpg", "age"]


class Artifact(Part):
    """One stored file of a set."""

    kind: Literal["db", "globals", "assets", "secrets", "meta"]
    role: Literal["dump", "globals", "archive", "index", "secrets", "manifest", "infrastructure"]
    name: str = Field(description="Key below <prefix>/<env>/, for example db/<id>.dump.", pattern=r"^[a-z]+/[^/]+$")
    format: Literal[
        "pg_custom",
        "pg_custom.zst",
        "pg_directory.tar",
        "sql",
        "tar.zst",
        "index.tsv.zst",
        "tar",
        "manifest.json",
        "infrastructure.json",
    ] = Field(description="Of what is inside, where the file is encrypted.")
    size_bytes: int = Field(ge=0)
    sha256: Sha256
    encryption: CipherName | None = Field(
        default=None, description="The stored file, which size and SHA-256 are of, is encrypted with this."
    )


class TableFingerprint(Part):
    """What one table held in the dump's snapshot."""

    table_schema: str
    name: str
    rows: int = Field(ge=0)
    content_hash: str | None = Field(
        default=None, description="Sum over all rows of hashtextextended(row as text, 0); None: not taken."
    )


class SequenceValue(Part):
    """The position of one sequence."""

    table_schema: str
    name: str
    last_value: int
    is_called: bool


class LargeObjects(Part):
    """All large objects together."""

    count: int = Field(ge=0)
    content_hash: str | None = Field(default=None, description="As for a table, over 16 MiB pieces; None: not taken.")


class IntegrityResult(Part):
    """The result of one named query of the user's integrity file, as text, row by row."""

    name: str
    query: str = Field(description="As it was run, so that a later change of the file does not matter.")
    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]


class Fingerprints(Part):
    """Everything that a restored copy is compared with, taken in the dump's own snapshot."""

    tables: tuple[TableFingerprint, ...] = ()
    sequences: tuple[SequenceValue, ...] = ()
    large_objects: LargeObjects = LargeObjects(count=0)
    integrity: tuple[IntegrityResult, ...] = ()
    search_path: str = Field(default="public", description="Where the integrity queries look up unqualified names.")

    @property
    def total_rows(self) -> int:
        """Rows of all tables together."""
        return sum(table.rows for table in self.tables)

    @property
    def has_content(self) -> bool:
        """Whether everything that was counted was hashed, too: every table, and the large objects where there are any.

        A role that may not read pg_largeobject counts large objects that it cannot hash.
        """
        large = self.large_objects
        return all(table.content_hash is not None for table in self.tables) and (
            large.count == 0 or large.content_hash is not None
        )


class ServerFacts(Part):
    """The server that was backed up."""

    version: str = Field(description="As `server_version` says, for example 17.10.")
    version_num: int = Field(description="As `server_version_num` says, for example 170010.")
    encoding: str
    database_bytes: int = Field(ge=0)
    system_identifier: str | None = Field(
        default=None,
        exclude_if=is_unset,
        description="As pg_control_system() says; None where it does not say: Aurora, and older sets.",
    )
    timeline: int | None = Field(
        default=None, exclude_if=is_unset, description="Of a primary: the timeline of the WAL that it writes."
    )
    bootstrap_superuser: str = Field(default="postgres", description="The role that initdb made.")
    roles: tuple[str, ...] = Field(default=(), description="Roles that own or may use something; not pg_* ones.")
    extensions: dict[str, str] = Field(default_factory=dict)

    @property
    def major(self) -> int:
        """Major version, for example 17."""
        return self.version_num // 10000


class ClientFacts(Part):
    """The client programs that made the dump."""

    version: str
    directory: str


class SnapshotFacts(Part):
    """The moment that the dump shows."""

    taken_at: AwareDatetime
    lsn: str
    name: str = Field(description="As pg_export_snapshot() returned it.")


class RebuiltFacts(Part):
    """Where the data of a slot came from whose time was over when it was dumped."""

    source: str = Field(description="What travelled back in time, for example: the automated backups of erp4-prod.")
    server: str = Field(description="The server that was restored for it, and is gone.")
    dumped_at: AwareDatetime


class AttachmentsFacts(Part):
    """The attachment archive of a set."""

    mode: Literal["full", "differential"]
    full_set: str = Field(description="Id of the set that holds the full archive: this set's own for a full one.")
    files: int = Field(ge=0)
    bytes: int = Field(ge=0, description="Sum of the sizes of all files that belong to the set.")
    archived_files: int = Field(ge=0)
    archived_bytes: int = Field(ge=0)
    vanished: tuple[str, ...] = Field(default=(), description="Listed, then gone before they could be read.")
    changing: tuple[str, ...] = Field(default=(), description="Changed at every attempt to read them.")
    skipped: tuple[str, ...] = Field(default=(), description="Sockets, pipes and devices: not archived.")
    hard_linked: int = Field(default=0, ge=0, description="Files stored in full although another name shares them.")


class SecretEntry(Part):
    """One file, secret or parameter in the archive of the secrets; its value is nowhere else."""

    kind: Literal["file", "secrets_manager", "ssm_parameter"]
    name: str = Field(description="Base name of the file; name or ARN as configured.")
    size_bytes: int = Field(ge=0)
    keyed_hash: Sha256 = Field(description="HMAC-SHA256 of the value; the key is in the encrypted archive alone.")
    version_id: str | None = Field(default=None, description="Of the secret, or the parameter's number.")


class SecretsFacts(Part):
    """The environment settings and secrets of a set: what was captured, never what it says."""

    entries: tuple[SecretEntry, ...]
    recipients: tuple[str, ...] = Field(description="Who can read them: full fingerprints (gpg) or `age1…` keys.")


class Hold(Part):
    """A wish to keep a set whatever the retention says."""

    reason: str
    until: AwareDatetime | None = None


class Encryption(Part):
    """With what, and by whose keys, the files of a set are encrypted."""

    cipher: CipherName
    recipients: tuple[str, ...] = Field(description="Full fingerprints (gpg) or `age1…` keys.")


#: What the manifest of a set says that holds no dump.
NO_SERVER = ServerFacts(version="", version_num=0, encoding="", database_bytes=0, bootstrap_superuser="")
NO_CLIENT = ClientFacts(version="", directory="")
SetKind = Literal["full", "important_tables", "infrastructure"]


class Manifest(Part):
    """The commit point of a set: written last; a set without one does not exist."""

    format: Literal["backup_assets/manifest"] = "backup_assets/manifest"
    version: Literal[1] = MANIFEST_VERSION
    id: SetId
    kind: SetKind = "full"
    database: str = Field(description="The configured name.")
    source_database: str = Field(description="The database's name on its server.")
    env: str
    tier: Literal["important", "ordinary"]
    slot: str
    label: str | None = None
    hold: Hold | None = None
    generated_at: AwareDatetime
    schema_version: str | None = None
    server: ServerFacts = Field(description="Of kind infrastructure: with nothing in it, as nothing was dumped.")
    client: ClientFacts = Field(description="Of kind infrastructure: with nothing in it.")
    snapshot: SnapshotFacts
    rebuilt: RebuiltFacts | None = Field(
        default=None,
        exclude_if=is_unset,
        description="Present: dumped later, from a server that was restored as of `snapshot.taken_at`.",
    )
    artifacts: tuple[Artifact, ...]
    fingerprints: Fingerprints
    attachments: AttachmentsFacts | None = None
    secrets: SecretsFacts | None = None
    encryption: Encryption | None = Field(
        default=None,
        description="Present: an envelope. Every artifact is encrypted, the set's own manifest is that of role "
        "`manifest`, and what only it may say (figures, names of tables, roles and files) is left out here.",
    )
    requires: tuple[str, ...] = Field(default=(), description="Ids of sets without which this one cannot be restored.")
    only_tables: tuple[str, ...] = Field(default=(), description="Of kind important_tables: the tables dumped.")
    durations: dict[str, float] = Field(default_factory=dict, description="Seconds by stage.")
    warnings: tuple[str, ...] = ()
    tool_version: str

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Manifest:
        if BackupId.parse(self.id).slot != self.slot:
            raise ValueError(f"id {self.id} does not belong to slot {self.slot}")
        names = [artifact.name for artifact in self.artifacts]
        if len(set(names)) != len(names):
            raise ValueError("two artifacts have the same name")
        return self

    @property
    def backup_id(self) -> BackupId:
        """The parsed id."""
        return BackupId.parse(self.id)

    @property
    def size_bytes(self) -> int:
        """Stored size of all artifacts."""
        return sum(artifact.size_bytes for artifact in self.artifacts)

    def artifact(self, role: str) -> Artifact | None:
        """Return the artifact of that role, or None."""
        return next((artifact for artifact in self.artifacts if artifact.role == role), None)

    @property
    def needs(self) -> frozenset[str]:
        """Ids of all sets without which this one cannot be restored."""
        full = {self.attachments.full_set} if self.attachments else set()
        return frozenset({*self.requires, *full} - {self.id})

    def to_json(self) -> bytes:
        """Return the bytes that are stored: UTF-8, indented, keys in the order of the schema, sealed."""
        return seal(self)

    @classmethod
    def from_json(cls, content: bytes, where: str) -> Manifest:
        """Return the manifest stored as ``content`` at ``where``; raises CheckFailed when it is damaged."""
        try:
            return cls.model_validate_json(unseal(content))
        except ValueError as error:
            raise CheckFailed(
                f"the manifest {where} is damaged or from a newer version",
                why=what_is_wrong(error),
                remedy="use another set, or fetch this one again from another store",
            ) from error


def what_is_wrong(error: ValueError) -> str:
    """Return the first mistake that reading a document met, in one line and without the document's content."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "the document"
    return f"{place}: {first['msg']}"


def manifest_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) that every stored manifest satisfies."""
    schema = sealed_schema(Manifest.model_json_schema(mode="serialization"))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def manifest_schema_text() -> str:
    """Return the schema as it is published in ``docs/manifest.schema.json``."""
    return json.dumps(manifest_schema(), indent=1, ensure_ascii=False) + "\n"
