"""Which archive of the attachments does a set get, and when is it refused?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from backup_assets.capture.attachments import archive_differential, archive_full, warnings_about
from backup_assets.capture.full_archive import newest_full_archive
from backup_assets.capture.snapshot import read_named_files
from backup_assets.capture.unfinished import Unfinished
from backup_assets.errors import EnvironmentFault
from backup_assets.progress import Progress
from backup_assets.sets.backup_id import BackupId
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.manifest import AttachmentsFacts
from backup_assets.settings_capture import AttachmentsSettings


def take_attachments(
    unfinished: Unfinished,
    wanted: AttachmentsSettings,
    set_id: BackupId,
    catalog: Catalog,
    named_files: Path | None,
    workdir: Path,
    *,
    stands_alone: bool,
    now: datetime,
    progress: Progress,
    log: Callable[[str], None],
) -> AttachmentsFacts:
    """Archive the attachments into the set: in full where it ``stands_alone`` or nothing is fit to build on.

    ``named_files`` holds the names of files in the rows of the database, None where no column names any.
    """
    archive_name, index_name = f"assets/{set_id}.tar.zst", f"assets/{set_id}.index.tsv.zst"

    def report(done: int) -> None:
        progress("attachments", done, None)

    with unfinished.partial(archive_name) as archive, unfinished.partial(index_name) as index:
        full = None if stands_alone else _usable_full(unfinished, wanted, catalog, now, log)
        with unfinished.stage("attachments"):
            if full is None:
                archived = archive_full(wanted.directory, archive, index, set_id=str(set_id), on_progress=report)
            else:
                archived = archive_differential(
                    wanted.directory,
                    full[1],
                    archive,
                    index,
                    set_id=str(set_id),
                    full_set=full[0],
                    on_progress=report,
                )
        _require_not_suddenly_empty(wanted, archived.facts, catalog)
        with unfinished.stage("matches_index"), unfinished.checks.blocking("matches_index"):
            unfinished.checks.matches_index(index, archive)
        if named_files is not None:
            with unfinished.stage("rows_and_files"):
                unfinished.checks.rows_and_files_agree(read_named_files(named_files), index, workdir)
        unfinished.adopt("assets", "archive", archive_name, "tar.zst", archive, archived.archive_sha256)
        unfinished.adopt("assets", "index", index_name, "index.tsv.zst", index, archived.index_sha256)
    unfinished.warnings += warnings_about(archived.facts)
    return archived.facts


def _usable_full(
    unfinished: Unfinished, wanted: AttachmentsSettings, catalog: Catalog, now: datetime, log: Callable[[str], None]
) -> tuple[str, Path] | None:
    """Return id and index of the newest full archive, if it is young enough and whole in the local store."""
    found = newest_full_archive(unfinished.store, catalog, timedelta(days=wanted.full_every_days), now)
    if found is None or found.index is None:
        if found is not None:
            warning = f"all attachments were archived anew: {found.damage}, and {found.set_id} can be no base"
            log(warning)
            unfinished.warnings.append(warning)
        return None
    return found.set_id, found.index


def _require_not_suddenly_empty(wanted: AttachmentsSettings, facts: AttachmentsFacts, catalog: Catalog) -> None:
    """Refuse what an unmounted share looks like: an empty directory where there were files before."""
    previous = next((m.attachments for m in catalog.manifests_newest_first() if m.attachments), None)
    if facts.files == 0 and previous is not None and previous.files > 0:
        raise EnvironmentFault(
            f"the attachments directory {wanted.directory} is empty, the last set had {previous.files} files",
            why="this is what a share that is not mounted looks like",
            remedy="mount it; if the files are gone on purpose, leave one file in the directory that says so",
        )
