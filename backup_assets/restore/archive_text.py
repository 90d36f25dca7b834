"""How is what pg_restore prints of an archive read as it was written, in whichever encoding that is?"""

from __future__ import annotations

import re
from pathlib import Path

from backup_assets.errors import CheckFailed, EnvironmentFault, TransientFault
from backup_assets.postgres.clients import Clients
from backup_assets.postgres.names import quote_literal
from backup_assets.postgres.session import Session, text_value
from backup_assets.process import run

#: Encodings that need no conversion; one without a name of its own is taken for UTF-8, or it cannot be read.
AS_IT_IS = ("UTF8", "SQL_ASCII")
_DECLARED = re.compile(rb"^SET client_encoding = '([A-Za-z0-9_]+)';", re.MULTILINE)
_SECONDS = 600


def declared_encoding(script: bytes) -> str:
    """Return the encoding that a script of pg_restore says it is in: it is that of the archive."""
    found = _DECLARED.search(script)
    return found[1].decode("ascii") if found else "UTF8"


def encoding_of(clients: Clients, archive: Path, workdir: Path) -> str:
    """Return the encoding of an archive's names and rows."""
    nothing = workdir / "no-entries"
    nothing.write_text("", encoding="ascii")
    argv = [clients.program("pg_restore"), f"--use-list={nothing}", "--file=-", str(archive)]
    return declared_encoding(run(argv, timeout=_SECONDS).raw)


def text_of(content: bytes, encoding: str, session: Session) -> str:
    """Return ``content`` as text, converted by the server behind ``session``: no other table is just like its own.

    Raises CheckFailed when the bytes are not of that encoding, TransientFault when the server was lost.
    """
    if content.isascii():
        return content.decode("ascii")
    try:
        if encoding in AS_IT_IS:
            return content.decode("utf-8")
        return text_value(
            session, f"SELECT convert_from(decode('{content.hex()}', 'hex'), {quote_literal(encoding)}::name)"
        )
    except TransientFault:  # the server was lost, of which the dump is not to blame
        raise
    except (UnicodeDecodeError, EnvironmentFault) as error:
        why = error.why.partition(" in: ")[0] if isinstance(error, EnvironmentFault) else str(error)
        raise CheckFailed(
            f"the dump's own words cannot be read in its encoding, {encoding}",
            why=why,
            remedy="restore this set by hand (backup-assets show prints the commands), and mend the names or comments "
            "of the source that have bytes of another encoding",
        ) from error
