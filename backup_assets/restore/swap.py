"""How a verified copy takes the place of what is there now: by renaming, with the old one kept."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from backup_assets.errors import EnvironmentFault
from backup_assets.files import fsync_directory
from backup_assets.postgres.names import quote_literal, quote_name
from backup_assets.postgres.server import Server
from backup_assets.postgres.session import OBJECT_IN_USE, Session, open_session
from backup_assets.restore.database import database_exists, oid_of

LONGEST_NAME_BYTES = 63
_ATTEMPTS = 3
_REMEDY = "the user of the restore must be a superuser, or own the database and be allowed to create databases"
_END_AGAIN_SECONDS = 0.1


class SwapInDoubt(EnvironmentFault):
    """The server was lost as it renamed: nobody can say whether it has."""


def side_name(base: str, purpose: str, at: datetime) -> str:
    """Return ``<base>__<purpose>_<UTC time>`` as a name that PostgreSQL does not cut off."""
    suffix = f"__{purpose}_{at.astimezone(UTC):%Y%m%dT%H%M%SZ}".lower()
    shortened = base.encode()[: LONGEST_NAME_BYTES - len(suffix)].decode("utf-8", "ignore")
    return shortened + suffix


def maintenance_database(name: str) -> str:
    """Return a database to connect to while ``name`` is renamed."""
    return "template1" if name == "postgres" else "postgres"


def swap_database(
    server: Server, new: str, live: str, kept: str, *, meanwhile: Callable[[], object] = lambda: None
) -> bool:
    """Rename ``live`` to ``kept`` and ``new`` to ``live``, both or neither; return whether there was a live one.

    Sessions in both are ended, also those of clients that connect again at once. ``meanwhile`` is called while nobody
    can get into either; what it raises takes both names back. Raises EnvironmentFault, nothing renamed, when sessions
    stay nevertheless (a prepared transaction does); SwapInDoubt when the answer was lost, and the server cannot be
    asked again or has not renamed them yet.
    """
    with open_session(server, maintenance_database(live)) as session:
        existed, restored = database_exists(session, live), oid_of(session, new)
    try:
        _swap_when_empty(server, new, live, kept if existed else None, meanwhile)
    except EnvironmentFault:  # perhaps after it was done: what is there tells
        if restored is not None and is_known_as(server, restored, live):
            return existed
        raise
    return existed


def is_known_as(server: Server, oid: str, name: str) -> bool:
    """Tell whether a database has that name; also no when the server cannot be asked."""
    with suppress(EnvironmentFault), open_session(server, maintenance_database(name)) as session:
        return oid_of(session, name) == oid
    return False


def _swap_when_empty(server: Server, new: str, live: str, kept: str | None, meanwhile: Callable[[], object]) -> None:
    with open_session(server, maintenance_database(live)) as session:
        for attempt in range(_ATTEMPTS):
            with _kept_empty(server, (live, new)):
                try:
                    _rename(session, new, live, kept)
                except EnvironmentFault as error:
                    session.execute("ROLLBACK")
                    # A rename waits five seconds for other sessions by itself (CountOtherDBBackends in dbcommands.c).
                    in_use = error.sqlstate == OBJECT_IN_USE
                    if in_use and attempt < _ATTEMPTS - 1:
                        continue
                    remedy = "stop the programs that use it, and end its prepared transactions" if in_use else _REMEDY
                    raise EnvironmentFault(
                        f"the database {live} could not be replaced; it is as it was", why=error.why, remedy=remedy
                    ) from error
                try:
                    meanwhile()
                except BaseException:
                    with suppress(EnvironmentFault, BrokenPipeError):  # a lost session is rolled back as well
                        session.execute("ROLLBACK")
                    raise
                _commit(session, live, kept)
                return


def _rename(session: Session, new: str, live: str, kept: str | None) -> None:
    session.execute("BEGIN")
    if kept is not None:
        session.execute(f"ALTER DATABASE {quote_name(live)} RENAME TO {quote_name(kept)}")
    session.execute(f"ALTER DATABASE {quote_name(new)} RENAME TO {quote_name(live)}")


def _commit(session: Session, live: str, kept: str | None) -> None:
    try:
        session.execute("COMMIT")
    except (EnvironmentFault, BrokenPipeError) as error:  # the latter: psql in a container ended with its connection
        kept_too = f", and whether {kept} is the one of before" if kept else ""
        raise SwapInDoubt(
            f"nobody can say whether the database {live} was replaced: the server was lost as it did it",
            why=error.why if isinstance(error, EnvironmentFault) else str(error),
            remedy=f"when the server is back, look whether {live} is the restored one{kept_too}; `backup-assets "
            "doctor` tells whether attachments of another generation are with it; then restore again",
        ) from error


@contextmanager
def _kept_empty(server: Server, names: tuple[str, ...]) -> Iterator[None]:
    """End the sessions in some databases again and again while the block runs.

    Ending them once is not enough: a client that connects again at once is back before the rename begins. The rename
    locks its database first, so that nobody new gets in, and then waits for those inside, which are ended meanwhile.
    """
    done = threading.Event()

    def end_them() -> None:
        # Whatever happens to this session, the rename says by itself who is still there.
        with suppress(EnvironmentFault), open_session(server, maintenance_database(names[0])) as session:
            while not done.wait(_END_AGAIN_SECONDS):
                for name in names:
                    end_sessions(session, name)

    thread = threading.Thread(target=end_them, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def end_sessions(session: Session, name: str) -> None:
    """End every other session in a database."""
    list(
        session.rows(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity "
            f"WHERE datname = {quote_literal(name)} AND pid <> pg_catalog.pg_backend_pid()"
        )
    )


def swap_directory(new: Path, live: Path, kept: Path) -> bool:
    """Rename ``live`` to ``kept`` and ``new`` to ``live``, durably; return whether there was a live one.

    What was renamed is renamed back when anything fails. Raises EnvironmentFault where a directory cannot be renamed,
    or where that cannot be forced to disk.
    """
    existed = live.exists()
    try:
        if existed:
            _allow_the_same(live, new)
            os.rename(live, kept)  # noqa: PTH104 - rename, never replace
        try:
            os.rename(new, live)  # noqa: PTH104
            try:
                _force_renames(live.parent)
            except BaseException:
                os.rename(live, new)  # noqa: PTH104
                raise
        except BaseException:
            if existed:
                os.rename(kept, live)  # noqa: PTH104
            raise
    except OSError as error:
        raise EnvironmentFault(
            f"the attachments directory {live} could not be replaced; it is as it was",
            why=str(error),
            remedy="a mount point cannot be renamed, and a disk that fails writes nothing: restore with "
            "--attachments-to DIR and move the files by hand",
        ) from error
    return existed


def put_back_directory(new: Path, live: Path, kept: Path) -> None:
    """Rename as it was before :func:`swap_directory`; raises EnvironmentFault."""
    try:
        os.rename(live, new)  # noqa: PTH104 - rename, never replace
        if kept.exists():
            os.rename(kept, live)  # noqa: PTH104
        _force_renames(live.parent)
    except OSError as error:
        raise EnvironmentFault(
            f"the attachments directory {live} is the restored one, its database may not be: it could not be put back",
            why=str(error),
            remedy=f"stop the programs that use the files, rename {live} to {new} and {kept} to {live}",
        ) from error


def _force_renames(directory: Path) -> None:
    try:
        fsync_directory(directory)
    except OSError as error:
        # Some network file systems know no fsync of a directory; PostgreSQL passes over the same two (fsync_fname).
        if error.errno not in (errno.EINVAL, errno.EBADF):
            raise
        os.sync()


def _allow_the_same(model: Path, directory: Path) -> None:
    """Give a directory the owner and the permissions of another: the programs that use it must get in."""
    status = model.stat()
    if os.geteuid() == 0:
        os.chown(directory, status.st_uid, status.st_gid)
    shutil.copystat(model, directory)
