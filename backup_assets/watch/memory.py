"""What does the watch remember of one database from look to look?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from backup_assets.errors import Refused
from backup_assets.files import make_private_directory, replace_durably
from backup_assets.settings import Settings
from backup_assets.watch.alerts import Alert
from backup_assets.watch.troubles import Trouble

DIRECTORY = ".watch"
#: What could not be written is kept here, so that a full disk does not make every look tell the same again.
_unwritten: dict[Path, Remembered] = {}


class Cursor(BaseModel):
    """Up to which change of a run Dagster's runs were read, and which of those shortly before were among them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    updated_at: AwareDatetime | None = None
    seen: tuple[str, ...] = ()


class Remembered(BaseModel):
    """The file: losing it means that what holds is told once more.

    ``waiting`` are the keys of what is told once it has been found for a while, and since when it was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["backup_assets/watch"] = "backup_assets/watch"
    version: Literal[1] = 1
    cursor: Cursor = Cursor()
    troubles: tuple[Trouble, ...] = ()
    alerts: tuple[Alert, ...] = ()
    waiting: dict[str, AwareDatetime] = {}


def memory_path(settings: Settings, subject: str) -> Path:
    """Return the file about a database, or about the watch itself."""
    return settings.backup_dir.absolute() / DIRECTORY / f"{settings.env}.{subject}.json"


def recall(settings: Settings, subject: str) -> tuple[Remembered, str]:
    """Return what is remembered, and nothing or one sentence about a file that was damaged: it is begun anew."""
    path = memory_path(settings, subject)
    if path in _unwritten:
        return _unwritten[path], ""
    try:
        return Remembered.model_validate_json(path.read_bytes()), ""
    except FileNotFoundError:
        return Remembered(), ""
    except ValidationError as error:
        aside = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}")
        path.replace(aside)
        return Remembered(), f"{path} was damaged ({error.error_count()} mistakes), and is begun anew; see {aside.name}"


def remember(settings: Settings, subject: str, what: Remembered) -> None:
    """Write what is remembered; raises OSError when that is impossible, and this process then keeps it."""
    path = memory_path(settings, subject)
    _unwritten[path] = what
    make_private_directory(path.parent)
    replace_durably(path, what.model_dump_json(indent=1).encode() + b"\n")
    del _unwritten[path]


@contextmanager
def one_at_a_time(settings: Settings) -> Iterator[None]:
    """Raise Refused while another process, or thread, is in this block for the same store."""
    try:
        directory = make_private_directory(settings.backup_dir.absolute() / DIRECTORY)
        handle = (directory / f"{settings.env}.lock").open("ab")
    except OSError:
        # A full or missing disk is to be told; that two look at once is then the lesser evil.
        yield
        return
    with handle:
        try:
            flock(handle, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise Refused(
                "another look of the watch has not ended yet",
                remedy="wait a minute; the sensor of a running Dagster and `watch --once` need not both be used",
            ) from None
        yield
