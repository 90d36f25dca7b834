"""How do the attachments of a set come back alone, while the database stays as it is?"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from backup_assets.errors import Refused
from backup_assets.local import place_of, work_directory
from backup_assets.named_stores import catalog_in
from backup_assets.restore.attachments import restore_attachments
from backup_assets.restore.beside import holds_files, new_directory_beside, remove_replaced
from backup_assets.restore.fetch import fetch_set
from backup_assets.restore.half_swapped import notes, remove_note
from backup_assets.restore.leftovers import remove_left_directories, sole_restore_of_files
from backup_assets.restore.restore import CONFIRMATION
from backup_assets.restore.shown import Shown, identity_of, kept_because_unseen
from backup_assets.restore.swap import side_name, swap_directory
from backup_assets.restore.verification import require_attachments
from backup_assets.sets.backup_set import BackupSet
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.stores.contract import Store

_ROLES = ("archive", "index")


@dataclass(frozen=True)
class AttachmentsRestored:
    """What came back: the directory with its regular files, and where what was there before is now."""

    set_id: str
    directory: Path
    files: int
    kept: Path | None
    seconds: float


def restore_attachments_alone(
    database: DatabaseSettings,
    settings: Settings,
    store: Store,
    chosen: BackupSet,
    *,
    to: Path | None = None,
    confirmed: bool = False,
    drop_old: bool = False,
    log: Callable[[str], None],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> AttachmentsRestored:
    """Put the attachments of ``chosen`` in the place of those in ``to``, left out for the configured directory.

    Of the set nothing else is fetched, and no server is asked. Every file is compared with the index before anything
    is replaced; what was there stays under another name, unless ``drop_old``. Nothing is recorded beside the set: it
    would say nothing of how long a whole restore takes. Raises Refused, nothing changed, without the confirmation or
    where there is nothing to restore or no place for it, CheckFailed for a damaged set.
    """
    target = _target(database, chosen, to)
    fate = "removed" if drop_old else "kept under another name"
    there = holds_files(target)
    plan = f"would replace: attachments {target} ({fate})" if there else f"would create: {target}"
    shown = Shown(attachments=identity_of(target) if there else None)
    if not confirmed:
        raise Refused(
            f"nothing was changed: a restore needs {CONFIRMATION}=1",
            why=f"restore of the attachments of {chosen.id}\n  {plan}\n  would leave the database as it is",
            remedy=f"read the list above; to go on, run the same command with {CONFIRMATION}=1",
        )
    with sole_restore_of_files(settings, target):
        log(plan.replace("would ", "will "))
        begun, at, place = time.monotonic(), now(), place_of(database, settings)
        half = [note for note in notes(settings) if note.attachments == target]
        remove_left_directories(target, at, log, keep=[note.beside for note in half])
        with work_directory(settings, "restore") as workdir:
            catalog = catalog_in(store, place)
            fetched = fetch_set(store, place, catalog, chosen, workdir, settings.encryption, roles=_ROLES)
            if "index" not in fetched.paths:
                raise _has_none(chosen)
            require_attachments(fetched)
            beside = new_directory_beside(target, at)
            try:
                restored = restore_attachments(
                    beside,
                    index_path=fetched.paths["index"],
                    archive_path=fetched.paths["archive"],
                    full_archive_path=fetched.full_archive,
                )
                kept = target.with_name(side_name(target.name, "before", at))
                existed = swap_directory(beside, target, kept)
            except BaseException:
                shutil.rmtree(beside, ignore_errors=True)
                raise
        for note in half:  # which files are there is the operator's word now
            remove_note(settings, note)
    left = kept if existed else None
    if left is not None and drop_old:
        if shown.is_attachments(left):
            remove_replaced(left)
            left = None
        else:
            log(kept_because_unseen(f"attachments {left}"))
    return AttachmentsRestored(chosen.id, target, restored.files, left, time.monotonic() - begun)


def _target(database: DatabaseSettings, chosen: BackupSet, to: Path | None) -> Path:
    # An envelope does not tell: then the set's own manifest decides, when it is opened.
    if chosen.envelope is None and not chosen.manifest.encryption and chosen.manifest.attachments is None:
        raise _has_none(chosen)
    directory = to or (database.attachments.directory if database.attachments else None)
    if directory is None:
        raise Refused(
            f"no directory of attachments is configured for {database.name}",
            remedy="say where they go with --attachments-to",
        )
    return directory.resolve()


def _has_none(chosen: BackupSet) -> Refused:
    return Refused(f"the set {chosen.id} has no attachments", remedy="choose another one: `backup-assets show` tells")
