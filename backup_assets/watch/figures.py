"""What is known of the backups of one database, measured from sets and records alone?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

StoreKind = Literal["local", "folder", "s3", "ssh"]
ObjectiveName = Literal[
    "rpo", "off_site", "verified", "drill", "rto", "three_copies", "two_media", "one_off_site", "store_space", "slots",
    "important_tables", "infrastructure",
]  # fmt: skip
ObjectiveState = Literal["met", "warn", "broken", "unknown"]


@dataclass(frozen=True)
class SetFigures:
    """One set as it is told here: moments in UTC, sizes in bytes."""

    id: str
    slot: str
    taken_at: datetime
    size_bytes: int
    label: str | None = None
    held: str | None = None
    verified_at: datetime | None = None
    verified_level: str | None = None
    verification_failed_at: datetime | None = None


@dataclass(frozen=True)
class StoreFigures:
    """What one store holds of a database: only sets of the kind `full` count, but for ``lost`` and ``vanished``.

    ``error`` is one sentence when the store did not answer, or with ``denied`` when it did and this role may not read
    there: everything else is then unknown. ``newest`` is the newest
    complete set that is not known to be bad (it has not failed its last verification, and is not of the future);
    ``proven`` the newest of those that is proven restorable there. ``sets`` counts the complete ones, ``bytes`` all.
    ``region`` and ``account`` tell copies apart where the settings say so; ``not_apart`` is empty when the store is on
    another medium than the local one, else why not. ``late`` is one sentence when ``newest`` is older than promised,
    or missing. ``lost`` are the ids, newest first, of sets of any kind that have lost files there, and ``vanished`` of
    those that were copied there and are gone, although nothing that is known here has removed them (None: unknown).
    ``servers`` is one sentence for each server, where several write there under the name of the database.
    """

    name: str
    kind: StoreKind
    error: str = ""
    denied: bool = False
    sets: int = 0
    incomplete: int = 0
    lost: tuple[str, ...] = ()
    vanished: tuple[str, ...] | None = ()
    servers: tuple[str, ...] = ()
    damaged: int = 0
    bytes: int = 0
    free_bytes: int | None = None
    newest: SetFigures | None = None
    proven: SetFigures | None = None
    not_apart: str = ""
    off_site: bool = False
    region: str = ""
    account: str = ""
    late: str = ""


@dataclass(frozen=True)
class DrillFigures:
    """The newest drill: when, from which store, how long it took (seconds), and whether it passed within its RTO."""

    at: datetime
    store: str
    passed: bool
    within_rto: bool
    seconds: float
    set_id: str


@dataclass(frozen=True)
class Objective:
    """One promise: what was ``wanted``, what was ``measured`` (hours, counts, bytes: ``unit``), and one sentence."""

    name: ObjectiveName
    state: ObjectiveState
    measured: float | None
    wanted: float | None
    unit: str
    text: str


@dataclass(frozen=True)
class DatabaseFigures:
    """Everything that is known of one database at a moment.

    ``missed_slots`` have no complete set although they are over; ``restore_forecast_seconds`` is made from past
    restores and the present size, None without any.
    """

    database: str
    tier: Literal["important", "ordinary"]
    at: datetime
    rpo_hours: float
    rto_hours: float
    stores: tuple[StoreFigures, ...]
    drill: DrillFigures | None
    missed_slots: tuple[str, ...]
    restore_forecast_seconds: float | None
    objectives: tuple[Objective, ...]

    def objective(self, name: ObjectiveName) -> Objective | None:
        """Return the objective of that name, or None where it does not apply."""
        return next((one for one in self.objectives if one.name == name), None)

    @property
    def broken(self) -> tuple[Objective, ...]:
        """Return the objectives that are not met."""
        return tuple(one for one in self.objectives if one.state == "broken")
