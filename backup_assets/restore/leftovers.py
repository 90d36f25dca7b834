"""What has a restore that was killed left behind, and when may it be removed?"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backup_assets.errors import EnvironmentFault, Refused
from backup_assets.postgres.names import quote_literal, quote_name
from backup_assets.postgres.server import Server
from backup_assets.postgres.session import Session, one_value, open_session
from backup_assets.restore.swap import maintenance_database, side_name
from backup_assets.settings import Settings
from backup_assets.stores.folder_lock import folder_lock

RESTORING = "restoring"
VERIFYING = "verifying"
SCRATCH_DATABASE = "backup_assets_scratch"
#: Longer than anything that is still at work where no lock tells.
ABANDONED_AFTER = timedelta(days=1)
_TIME_LENGTH = len("20261122t143800z")


@contextmanager
def sole_restore(server: Server, name: str) -> Iterator[Session]:
    """Hold, for a block, the only right to restore into the database ``name`` of a server.

    The right is a lock of the yielded session: it ends with the process, however that ends. Raises Refused when
    another restore has it.
    """
    with open_session(server, maintenance_database(name)) as session:
        session.execute("SET idle_session_timeout = 0")
        key = quote_literal(f"backup_assets restore {_stem(name, RESTORING)}")
        if one_value(session, f"SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended({key}, 0))") != "t":
            raise Refused(
                f"another restore into the database {name} at {server.place} is running",
                why="nothing was changed by this one",
                remedy="wait for it to end, or choose another name with --into",
            )
        yield session


@contextmanager
def sole_restore_of_files(settings: Settings, attachments: Path) -> Iterator[None]:
    """Hold, for a block, the only right to restore into the directory ``attachments``, whatever database goes with it.

    It ends with the process, as that of :func:`sole_restore` does, and asks no server. Raises Refused when another
    restore has it.
    """
    tag = hashlib.sha256(os.fsencode(attachments)).hexdigest()[:16]
    with ExitStack() as held:
        try:
            held.enter_context(folder_lock(settings.backup_dir.absolute(), f"restore-{tag}"))
        except Refused as error:
            raise Refused(
                f"another restore into the directory {attachments} is running",
                why=f"nothing was changed by this one: {error.why}",
                remedy="wait for it to end, or choose another directory with --attachments-to",
            ) from error
        yield


def remove_left_databases(session: Session, name: str, log: Callable[[str], None]) -> None:
    """Remove the half restored copies of ``name`` that killed restores have left, unless somebody is connected.

    Only for the holder of :func:`sole_restore`: no living restore can own one then.
    """
    for left, _, connected in list(_databases_named(session, _stem(name, RESTORING))):
        _remove(session, left, connected, log)


def remove_left_scratch(session: Session, now: datetime, log: Callable[[str], None]) -> None:
    """Remove the trial databases that killed verifications left on a lasting scratch server a day ago or more."""
    for left, made_at, connected in list(_databases_named(session, SCRATCH_DATABASE)):
        if now - made_at > ABANDONED_AFTER:
            _remove(session, left, connected, log)


def remove_left_directories(
    attachments: Path, now: datetime, log: Callable[[str], None], *, keep: Collection[Path] = ()
) -> None:
    """Remove the half restored copies of an attachments directory that are older than a day, but those to ``keep``."""
    stem = _stem(attachments.name, RESTORING)
    try:
        for path in sorted(attachments.parent.iterdir()):
            made_at = _made_at(path.name, stem)
            abandoned = made_at is not None and now - made_at > ABANDONED_AFTER and path not in keep
            if abandoned and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
                log(f"removed the half restored directory {path} that an earlier restore had left")
    except FileNotFoundError:  # nothing is there yet
        return
    except OSError as error:
        log(f"what an earlier restore left beside {attachments} could not be removed: {error}")


def _stem(name: str, purpose: str) -> str:
    return side_name(name, purpose, datetime.now(UTC))[:-_TIME_LENGTH]


def _made_at(name: str, stem: str) -> datetime | None:
    """Return the time in a name that we gave to something that begins with ``stem``, None for any other name."""
    if not name.startswith(stem):
        return None
    try:
        return datetime.strptime(name[-_TIME_LENGTH:], "%Y%m%dt%H%M%Sz").replace(tzinfo=UTC)
    except ValueError:
        return None


def _databases_named(session: Session, stem: str) -> Iterator[tuple[str, datetime, int]]:
    query = (
        "SELECT d.datname, (SELECT count(*) FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid) "
        "FROM pg_catalog.pg_database d ORDER BY 1"
    )
    for name, connected in session.rows(query):
        made_at = _made_at(str(name), stem)
        if made_at is not None:
            yield str(name), made_at, int(connected or 0)


def _remove(session: Session, name: str, connected: int, log: Callable[[str], None]) -> None:
    if connected:
        log(f"the half restored database {name} of an earlier restore stays: {connected} sessions are in it")
        return
    try:
        session.execute(f"DROP DATABASE IF EXISTS {quote_name(name)}")
    except EnvironmentFault as error:
        log(f"the half restored database {name} of an earlier restore could not be removed: {error.why}")
    else:
        log(f"removed the half restored database {name} that an earlier restore had left")
