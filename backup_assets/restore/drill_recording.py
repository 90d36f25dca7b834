"""Where is written down what a drill has found: for this program, and for people?"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path

from backup_assets import __version__
from backup_assets.errors import BackupError
from backup_assets.local import local_store
from backup_assets.named_stores import LOCAL, store_named
from backup_assets.restore.drill_report import Drilled, report_of
from backup_assets.restore.recording import put_record
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.envelope import disclosed
from backup_assets.sets.manifest import Manifest
from backup_assets.sets.place import Place
from backup_assets.sets.record_order import order_after
from backup_assets.sets.records import DrillRecord, VerificationRecord
from backup_assets.settings import Settings

#: Folder of the reports beside those of the sets; listing, copying, sweeping and deletion leave it alone, so that a
#: report outlives its set.
REPORTS = "drills"


def verification_of(
    drill: DrillRecord, earlier: Sequence[VerificationRecord], manifest: Manifest | None, *, good: bool
) -> VerificationRecord:
    """Return what a drill says of the set alone: it is not bad because the application or the clock was.

    ``earlier`` are the verifications that were there when it began. ``good``: it was restored and equal. Only a drill
    that passed as a whole counts as the highest level.
    """
    return VerificationRecord(
        set_id=drill.set_id,
        tool_version=__version__,
        passed=good,
        started_at=drill.started_at,
        ordered_at=order_after(earlier, drill.started_at),
        problems=() if good else drill.problems,
        level="restored" if good and not drill.passed else "drilled",
        content=manifest is not None and bool(manifest.fingerprints.tables) and manifest.fingerprints.has_content,
        store=drill.store,
        durations=drill.stages,
        server_major=drill.server_major,
    )


def store_drill(
    settings: Settings, place: Place, chosen: BackupSet, drill: DrillRecord, verification: VerificationRecord | None
) -> tuple[str, ...]:
    """Store the records beside the set in the local store and in the one that was drilled; return what to note.

    A store that does not take them is a note. Raises as `Store.put` does when the local store does not.
    """
    records = (drill,) if verification is None else (drill, verification)
    for record in records:
        put_record(local_store(settings), place, record)
    if drill.store == LOCAL:
        return ()
    try:
        there = store_named(settings, drill.store, writing=True)
        for record in records:
            # Beside an encrypted set nothing is said of what is in it.
            put_record(there, place, disclosed(record) if chosen.manifest.encryption else record)
    except BackupError as error:
        return (f"the drill is recorded in the local store only: {error.what}",)
    return ()


def store_report(settings: Settings, place: Place, drilled: Drilled) -> Path:
    """Write the report into the local store and return its path; raises as `Store.put` does."""
    body = report_of(drilled).encode()
    name = f"{drilled.started_at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}.md"
    key = place.key(f"{REPORTS}/{name}")
    local = local_store(settings)
    local.put(key, body, sha256=hashlib.sha256(body).hexdigest(), size=len(body))
    return local.path_of(key)
