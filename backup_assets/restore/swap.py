"""How a verified copy takes the place of what is there now: by renaming, with the old one kept."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from backup_assets.errors import EnvironmentFault
from backup_assets.files import fsync_directory
from backup_assets.postgres.names import quote_literal, quote_name
from backup_assets.postgres.server import Server
from backup_assets.postgres.session import Session, open_session
from backup_assets.restore.database import database_exists

LONGEST_NAME_BYTES = 63
_ATTEMPTS = 5
#: A rename waits five seconds for other sessions by itself (CountOtherDBBackends in PostgreSQL's dbcommands.c).
_IN_USE = "is being accessed by other users"


def side_name(base: str, purpose: str, at: datetime) -> str:
    """Return ``<base>__<purpose>_<UTC time>`` as a name that PostgreSQL does not cut off."""
    suffix = f"__{purpose}_{at.astimezone(UTC):%Y%m%dT%H%M%SZ}".lower()
    shortened = base.encode()[: LONGEST_NAME_BYTES - len(suffix)].decode("utf-8", "ignore")
    return shortened + suffix


def maintenance_database(name: str) -> str:
    """Return a database to connect to while ``name`` is renamed."""
    return "template1" if name == "postgres" else "postgres"


def swap_database(server: Server, new: str, live: str, kept: str) -> bool:
    """Rename ``live`` to ``kept`` and ``new`` to ``live``, both or neither; return whether there was a live one.

    Sessions in ``live`` are ended. Raises EnvironmentFault, nothing renamed, when clients keep reconnecting.
    """
    with open_session(server, maintenance_database(live)) as session:
        existed = database_exists(session, live)
        for attempt in range(_ATTEMPTS):
            try:
                _swap(session, new, live, kept if existed else None)
                return existed
            except EnvironmentFault as error:
                session.execute("ROLLBACK")
                if _IN_USE not in error.why or attempt == _ATTEMPTS - 1:
                    raise EnvironmentFault(
                        f"the database {live} could not be replaced; it is as it was",
                        why=error.why,
                        remedy="stop the programs that use it and restore again",
                    ) from error
    raise AssertionError("unreachable")


def _swap(session: Session, new: str, live: str, kept: str | None) -> None:
    for name in (live, new):
        end_sessions(session, name)
    session.execute("BEGIN")
    if kept is not None:
        session.execute(f"ALTER DATABASE {quote_name(live)} RENAME TO {quote_name(kept)}")
    session.execute(f"ALTER DATABASE {quote_name(new)} RENAME TO {quote_name(live)}")
    session.execute("COMMIT")


def end_sessions(session: Session, name: str) -> None:
    """End every other session in a database."""
    list(
        session.rows(
            "SELECT pg_catalog.pg_terminate_backend(pid, 5000) FROM pg_catalog.pg_stat_activity "
            f"WHERE datname = {quote_literal(name)} AND pid <> pg_catalog.pg_backend_pid()"
        )
    )


def swap_directory(new: Path, live: Path, kept: Path) -> bool:
    """Rename ``live`` to ``kept`` and ``new`` to ``live``; return whether there was a live one.

    When the second rename fails the first is undone. Raises EnvironmentFault where a directory cannot be renamed.
    """
    existed = live.exists()
    try:
        if existed:
            os.rename(live, kept)  # noqa: PTH104 - rename, never replace
        try:
            os.rename(new, live)  # noqa: PTH104
        except OSError:
            if existed:
                os.rename(kept, live)  # noqa: PTH104
            raise
    except OSError as error:
        raise EnvironmentFault(
            f"the attachments directory {live} could not be replaced; it is as it was",
            why=str(error),
            remedy="a mount point cannot be renamed: restore with --attachments-to DIR and move the files by hand",
        ) from error
    fsync_directory(live.parent)
    return existed
