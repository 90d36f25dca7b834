"""Does a variable look like a misspelling of one of ours, which would leave it without effect and without a word?"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from backup_assets.errors import SettingsError
from backup_assets.settings_variables import BY_NAME

#: Names of ours that choose what a single command works on; they set nothing here and are no misspellings.
COMMAND_VARIABLES = ("BACKUP_FILE", "BACKUP_GLOBALS_FILE", "BACKUP_ASSETS_FILE")
#: Names that other programs use, and that look like ours: gpg and its callers, CGI, clients of object stores, Dagster.
OTHERS = frozenset(
    {"GPG_TTY", "GPG_AGENT_INFO", "GPG_KEY", "GPG_KEY_ID", "GPG_PASSPHRASE", "REMOTE_ADDR", "REMOTE_IDENT"}
    | {"S3_ENDPOINT", "S3_URL", "SECRET_KEY", "DAGSTER_URL", "DAGSTER_PG_URL"}
)
_MANY_USE = ("BACKUP_", "DB_")
#: None of ours begins so: AWS_ENDPOINT_URL has its effect, as the AWS SDK reads it.
_AWS = "AWS_"
#: How alike, of 1, what follows the first word must be, and for other beginnings than those that many use the whole
#: name: RETENTION_APPLIED, AGE_RECIPENT and ASSETS_DIR are found, REMOTE_ADDR (CGI) is not.
_ALIKE_AFTER_MANY_USE, _ALIKE_AFTER, _ALIKE_WHOLE = 0.75, 0.8, 0.87


def refuse_misspelled(environment: Mapping[str, str]) -> None:
    """Raise SettingsError when a variable that is set looks like a misspelling of one of ours.

    Where that one is there as well, be it empty, the other is somebody else's: DB_USERNAME beside DB_USER.
    """
    found = [
        (name, meant)
        for name, value in sorted(environment.items())
        if value and (meant := _meant(name)) is not None and meant not in environment
    ]
    if found:
        empty = " ".join(dict.fromkeys(f"{meant}=" for _, meant in found))
        raise SettingsError(
            "\n".join(f"the environment variable {name} is unknown; did you mean {meant}?" for name, meant in found),
            why="it would have no effect",
            remedy=f"rename or unset it; where another program needs it, set what is meant too, if to nothing: {empty}",
        )


def _meant(name: str) -> str | None:
    """Return the variable that ``name`` misspells, None for one that is ours or somebody else's."""
    upper = name.upper()
    if name in BY_NAME or name in COMMAND_VARIABLES or upper in OTHERS or upper.startswith(_AWS):
        return None
    if upper in BY_NAME:
        return upper
    first = next((start for start in _MANY_USE if upper.startswith(start)), None) or upper.partition("_")[0] + "_"
    return _alike_after(first, upper) or (None if first in _MANY_USE else _alike_whole(upper))


def _alike_after(first: str, name: str) -> str | None:
    rest = name.removeprefix(first)
    known = [other.removeprefix(first) for other in BY_NAME if other.startswith(first)]
    for other in known:
        # DB_USERNAME and BACKUP_DIRECTORY are meant; DB_HOST_REPLICA is somebody else's.
        shorter, longer = sorted((rest, other), key=len)
        if len(shorter) >= 3 and longer.startswith(shorter) and "_" not in longer[len(shorter) :]:
            return first + other
    cutoff = _ALIKE_AFTER_MANY_USE if first in _MANY_USE else _ALIKE_AFTER
    close = difflib.get_close_matches(rest, _not_begun(rest, known), n=1, cutoff=cutoff)
    return first + close[0] if close else None


def _alike_whole(name: str) -> str | None:
    known = [other for other in BY_NAME if not other.startswith(_MANY_USE)]
    close = difflib.get_close_matches(name, _not_begun(name, known), n=1, cutoff=_ALIKE_WHOLE)
    return close[0] if close else None


def _not_begun(name: str, known: list[str]) -> list[str]:
    """Return the known names that ``name`` does not continue: S3_BUCKET_NAME is somebody else's, not S3_BUCKET."""
    return [other for other in known if not name.startswith(f"{other}_")]
