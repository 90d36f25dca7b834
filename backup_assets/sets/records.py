"""What was learned or wished about a set after it was written: verifications, holds, restores, copies."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, TypeAdapter, model_validator

from backup_assets.errors import CheckFailed
from backup_assets.sets.manifest import CipherName, Part, SetId, Sha256, is_unset, what_is_wrong
from backup_assets.sets.place import Place
from backup_assets.sets.sealed import seal, unseal

RECORD_VERSION = 1
Level = Literal["stored", "readable", "restored", "drilled"]
#: Cheapest first; each proves more than the one before.
LEVELS: tuple[Level, ...] = ("stored", "readable", "restored", "drilled")
#: Levels that count as proof that a set can be restored.
PROVING_LEVELS: tuple[Level, ...] = ("restored", "drilled")


class Problem(Part):
    """One thing that was found other than expected; values as text, never a secret."""

    what: str
    expected: str = ""
    found: str = ""
    remedy: str = Field(default="", description="What to do about it; empty where nothing better is known.")

    def __str__(self) -> str:
        if self.expected:
            return f"{self.what}: {self.expected} expected, {self.found} found"
        return f"{self.what}: {self.found}" if self.found else self.what


class RecordBase(Part):
    """What every record says: its form, the set it is about, and which version of the program wrote it."""

    format: Literal["backup_assets/record"] = "backup_assets/record"
    version: Literal[1] = RECORD_VERSION
    set_id: SetId
    tool_version: str

    @property
    def at(self) -> datetime:
        """The time that the record's name bears."""
        raise NotImplementedError

    @property
    def order(self) -> datetime:
        """The moment that orders records of one kind: the later one counts."""
        return self.at

    def to_json(self) -> bytes:
        """Return the bytes that are stored: UTF-8, indented, sealed."""
        return seal(self)


class _Outcome(RecordBase):
    """A record of something that passed or failed; a failure names its problems, a pass has none."""

    passed: bool
    started_at: AwareDatetime
    problems: tuple[Problem, ...] = ()

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> _Outcome:
        if self.passed == bool(self.problems):
            raise ValueError("it passed with problems" if self.passed else "it failed without a problem")
        return self

    @property
    def at(self) -> datetime:
        """When it began."""
        return self.started_at


class VerificationRecord(_Outcome):
    """The outcome of checking the copy of a set in one store at one level."""

    kind: Literal["verification"] = "verification"
    level: Level
    content: bool = Field(description="Whether content hashes were compared, not only counts and totals.")
    store: str = Field(description="Name of the store whose copy was checked.")
    durations: dict[str, float] = Field(default_factory=dict, description="Seconds by stage.")
    server_major: int | None = Field(default=None, description="Major version of the server restored on.")
    ordered_at: AwareDatetime | None = Field(
        default=None,
        exclude_if=is_unset,
        description="Present where the set bore a verification of the same or a later time when this one was recorded: "
        "a clock was wrong, and this one counts after it, as of this moment.",
    )

    @model_validator(mode="after")
    def _is_ordered_later(self) -> VerificationRecord:
        if self.ordered_at is not None and self.ordered_at <= self.started_at:
            raise ValueError("its ordered_at is not later than its own time")
        return self

    @property
    def order(self) -> datetime:
        """When it began, or where a clock was wrong the moment as of which it counts."""
        return self.ordered_at or self.started_at

    @property
    def is_proof(self) -> bool:
        """Whether this shows that the set can be restored."""
        return self.passed and self.level in PROVING_LEVELS


class _Wish(RecordBase):
    """A hold or a release: of the two the one that was wished later counts, whatever the clocks said."""

    ordered_at: AwareDatetime | None = Field(
        default=None,
        exclude_if=is_unset,
        description="Present where the set bore a release (for a hold) or a hold (for a release) of the same or a "
        "later time when this was recorded: a clock was wrong, and this one counts after it, as of this moment.",
    )

    @model_validator(mode="after")
    def _is_ordered_later(self) -> _Wish:
        if self.ordered_at is not None and self.ordered_at <= self.at:
            raise ValueError("its ordered_at is not later than its own time")
        return self

    @property
    def order(self) -> datetime:
        """When it was recorded, or where a clock was wrong the moment as of which it counts."""
        return self.ordered_at or self.at


class HoldRecord(_Wish):
    """A wish to keep the set, until a time or until released."""

    kind: Literal["hold"] = "hold"
    placed_at: AwareDatetime
    reason: str
    until: AwareDatetime | None = None

    @property
    def at(self) -> datetime:
        """When the hold was placed."""
        return self.placed_at


class ReleaseRecord(_Wish):
    """The end of every hold that was placed before it, the manifest's own included."""

    kind: Literal["release"] = "release"
    released_at: AwareDatetime
    reason: str

    @property
    def at(self) -> datetime:
        """When the holds ended."""
        return self.released_at


class RestoreRecord(_Outcome):
    """A restore of the set into a real database."""

    kind: Literal["restore"] = "restore"
    target: str = Field(description="Where it was restored to, for example host:port; no secret.")
    database: str = Field(description="Name of the database that was restored into.")
    stages: dict[str, float] = Field(default_factory=dict, description="Seconds by stage.")
    kept_old_database: str | None = Field(default=None, description="Name under which the old one was kept.")
    partial: bool = Field(default=False, description="Some tables only, or no attachments of a set that has them.")


class DrillRecord(_Outcome):
    """A rehearsal: the set was fetched from a store, restored elsewhere whole, compared and tried, against the clock.

    It fails when the set is damaged, and also when the application does not answer or the time promised is exceeded.
    """

    kind: Literal["drill"] = "drill"
    store: str = Field(description="Name of the store that the set was fetched from.")
    stages: dict[str, float] = Field(default_factory=dict, description="Seconds by stage.")
    total_seconds: float = Field(ge=0, description="From the first byte fetched to the last check.")
    rto_hours: float = Field(description="Recovery time objective.")
    within_rto: bool | None = Field(
        default=None, description="Whether all of it took no longer; None: it broke off before its end."
    )
    taken_at: AwareDatetime = Field(description="The moment that the set shows.")
    age_hours: float | None = Field(
        ge=0,
        description="Its age when the drill began, or at the end of the past month rehearsed: measured RPO. None: a "
        "clock was wrong, and the moment that the set says it shows was still to come.",
    )
    fetched_bytes: int = Field(ge=0, description="Size of the set's files in the store.")
    database_bytes: int = Field(default=0, ge=0, description="Size of the database when it was backed up.")
    attachment_files: int = Field(default=0, ge=0, description="Attachments that were unpacked and compared.")
    attachment_bytes: int = Field(default=0, ge=0)
    server_major: int | None = Field(default=None, description="Major version of the server restored on.")
    after: tuple[AwareDatetime, ...] | None = Field(
        default=None,
        exclude_if=is_unset,
        description="Present where the set bore drills of a later time when this one began: a clock was wrong, and "
        "this one counts after those, which began at these times.",
    )

    @model_validator(mode="after")
    def _is_after_later_ones(self) -> DrillRecord:
        if any(at <= self.started_at for at in self.after or ()):
            raise ValueError("it is after a drill that is not later than its own time")
        return self


class CopiedArtifact(Part):
    """One file of a set as the other store holds it."""

    name: str = Field(description="Key below <prefix>/<env>/ in that store.")
    size_bytes: int = Field(ge=0)
    sha256: Sha256


class CopyRecord(RecordBase):
    """The set was copied whole to another store, which proved every byte; kept in the store that it came from."""

    kind: Literal["copy"] = "copy"
    store: str = Field(description="Name of the store that holds the copy.")
    copied_at: AwareDatetime = Field(description="When the copy was whole.")
    bytes: int = Field(ge=0, description="Bytes that had to be sent; what was there already is not counted.")
    seconds: float = Field(ge=0)
    artifacts: tuple[CopiedArtifact, ...]

    @property
    def at(self) -> datetime:
        """When the copy was whole."""
        return self.copied_at


class EncryptedFile(Part):
    """One file of a set, plain and encrypted: names below <prefix>/<env>/, sizes in bytes."""

    role: str
    name: str
    size_bytes: int = Field(ge=0)
    sha256: Sha256
    encrypted_name: str
    encrypted_size_bytes: int = Field(ge=0)
    encrypted_sha256: Sha256


class EncryptionRecord(RecordBase):
    """Every file of the set, its manifest included, was encrypted beside it; never leaves the local store."""

    kind: Literal["encryption"] = "encryption"
    cipher: CipherName
    recipients: tuple[str, ...] = Field(description="Full fingerprints (gpg) or `age1…` keys.")
    encrypted_at: AwareDatetime
    seconds: float = Field(ge=0)
    files: tuple[EncryptedFile, ...]

    @property
    def at(self) -> datetime:
        """When all of it was encrypted."""
        return self.encrypted_at

    def file(self, role: str) -> EncryptedFile | None:
        """Return the file of that role, or None."""
        return next((file for file in self.files if file.role == role), None)


Record = Annotated[
    VerificationRecord | HoldRecord | ReleaseRecord | RestoreRecord | DrillRecord | CopyRecord | EncryptionRecord,
    Field(discriminator="kind"),
]
_ANY_RECORD: TypeAdapter[Record] = TypeAdapter(Record)


def record_key(place: Place, record: Record) -> str:
    """Return the key of a record: made of its content, so that storing it twice stores it once."""
    tag = hashlib.sha256(record.to_json()).hexdigest()[:8]
    return place.record_key(record.set_id, record.kind, record.at, tag)


def parse_record(content: bytes, where: str) -> Record:
    """Return the record stored as ``content`` at ``where``; raises CheckFailed when it is damaged or unknown."""
    try:
        return _ANY_RECORD.validate_json(unseal(content))
    except ValueError as error:
        raise CheckFailed(
            f"the record {where} is damaged or from a newer version",
            why=what_is_wrong(error),
            remedy="its statement no longer counts: repeat the verification, or place the hold again",
        ) from error
