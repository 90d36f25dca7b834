"""Sets for tests: small, valid, and put into a store the way a capture does it, manifest last."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import BinaryIO, Literal, Protocol

from backup_assets.errors import CheckFailed
from backup_assets.sets.backup_id import BackupId
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.manifest import (
    Artifact,
    AttachmentsFacts,
    ClientFacts,
    Fingerprints,
    Hold,
    Manifest,
    ServerFacts,
    SnapshotFacts,
    TableFingerprint,
)
from backup_assets.sets.place import Place, StoredObject
from backup_assets.sets.records import Level, Problem, Record, VerificationRecord, record_key
from backup_assets.sets.servers import ServerIdentity

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
ERP4 = Place("erp4", "prod")


class Putting(Protocol):
    def put(self, key: str, source: bytes, *, sha256: str, size: int) -> StoredObject: ...


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def dump_of(set_id: str) -> bytes:
    return f"the dump of {set_id}".encode()


def a_manifest(
    taken_at: datetime = NOW,
    *,
    run: str = "1a2b3c4d",
    kind: Literal["full", "important_tables"] = "full",
    full_set: str | None = None,
    requires: tuple[str, ...] = (),
    hold: Hold | None = None,
    tables: int = 2,
    server: ServerIdentity | None = None,
) -> Manifest:
    """Return a manifest with a dump and an archive; ``full_set`` makes the archive a differential of that set."""
    system_identifier, timeline = server or (None, None)
    set_id = str(BackupId.make(f"{taken_at:%Y-%m-%d}", taken_at, run))
    dump, archive = dump_of(set_id), b"attachments"
    return Manifest(
        id=set_id,
        kind=kind,
        database="erp4",
        source_database="erp4",
        env="prod",
        tier="important",
        slot=f"{taken_at:%Y-%m-%d}",
        hold=hold,
        generated_at=taken_at,
        server=ServerFacts(
            version="17.10",
            version_num=170010,
            encoding="UTF8",
            database_bytes=1,
            system_identifier=system_identifier,
            timeline=timeline,
        ),
        client=ClientFacts(version="17.10", directory="bin"),
        snapshot=SnapshotFacts(taken_at=taken_at, lsn="0/1", name="00000003-1"),
        artifacts=(
            Artifact(
                kind="db",
                role="dump",
                name=f"db/{set_id}.dump",
                format="pg_custom",
                size_bytes=len(dump),
                sha256=sha256(dump),
            ),
            Artifact(
                kind="assets",
                role="archive",
                name=f"assets/{set_id}.tar.zst",
                format="tar.zst",
                size_bytes=len(archive),
                sha256=sha256(archive),
            ),
        ),
        fingerprints=Fingerprints(
            tables=tuple(
                TableFingerprint(table_schema="public", name=f"table_{number}", rows=number, content_hash="1234567890")
                for number in range(tables)
            )
        ),
        attachments=AttachmentsFacts(
            mode="differential" if full_set else "full",
            full_set=full_set or set_id,
            files=1,
            bytes=11,
            archived_files=1,
            archived_bytes=11,
        ),
        requires=requires,
        tool_version="0.1.0",
    )


def put(store: Putting, key: str, content: bytes) -> StoredObject:
    return store.put(key, content, sha256=sha256(content), size=len(content))


def put_artifacts(store: Putting, manifest: Manifest, place: Place = ERP4) -> None:
    for artifact in manifest.artifacts:
        put(store, place.key(artifact.name), dump_of(manifest.id) if artifact.role == "dump" else b"attachments")


def put_set(store: Putting, manifest: Manifest, place: Place = ERP4) -> Manifest:
    put_artifacts(store, manifest, place)
    put(store, place.manifest_key(manifest.id), manifest.to_json())
    return manifest


def put_record(store: Putting, record: Record, place: Place = ERP4) -> str:
    key = record_key(place, record)
    put(store, key, record.to_json())
    return key


def a_verification(
    set_id: str,
    *,
    at: datetime = NOW,
    level: Level = "restored",
    passed: bool = True,
    content: bool = True,
    store: str = "local",
) -> VerificationRecord:
    return VerificationRecord(
        set_id=set_id,
        level=level,
        content=content,
        passed=passed,
        store=store,
        started_at=at,
        problems=() if passed else (Problem(what="rows of public.invoices", expected="3", found="2"),),
        tool_version="0.1.0",
    )


def proof_of(one: BackupSet) -> VerificationRecord | None:
    """Return the proof of a set in a test where no clock is wrong."""
    return one.proof_at(datetime(9000, 1, 1, tzinfo=UTC))


class ShelfStore:
    """A store in memory, for the domain's own tests: what `sets/` needs of a store and no more."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, datetime]] = {}
        self.opened: list[str] = []
        self.deleted: list[str] = []
        self.now = NOW - timedelta(days=30)

    def put(self, key: str, source: bytes, *, sha256: str, size: int) -> StoredObject:
        self.objects[key] = (source, self.now)
        return StoredObject(key, size, self.now, sha256)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        for key in sorted(self.objects):
            if not prefix or key.startswith(f"{prefix}/"):
                content, stored_at = self.objects[key]
                yield StoredObject(key, len(content), stored_at)

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        self.opened.append(key)
        if key not in self.objects:
            raise CheckFailed(f"there is no {key}")
        yield BytesIO(self.objects[key][0])

    def delete(self, key: str) -> None:
        self.deleted.append(key)
        self.objects.pop(key, None)


def three_days(store: ShelfStore) -> list[Manifest]:
    """Put a set of today, of yesterday and of the day before; return their manifests, newest first."""
    return [put_set(store, a_manifest(NOW - days * DAY)) for days in range(3)]


def a_full_and_two_differentials(store: ShelfStore) -> tuple[Manifest, Manifest, Manifest]:
    """Put a full set and two that need it; return their manifests, oldest first."""
    full = put_set(store, a_manifest(NOW - 2 * DAY))
    return (
        full,
        put_set(store, a_manifest(NOW - DAY, full_set=full.id, requires=(full.id,))),
        put_set(store, a_manifest(NOW, full_set=full.id)),
    )
