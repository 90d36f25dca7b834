"""Which older copies are verified again tonight, and what came of it?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backup_assets.ciphers.contract import LockedPrivateKey, MissingPrivateKey
from backup_assets.errors import BackupError, EnvironmentFault
from backup_assets.local import local_store, place_of
from backup_assets.named_stores import LOCAL, catalog_in, store_named
from backup_assets.restore.verification import Proof, verify_set
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.record_order import is_in_future
from backup_assets.sets.records import VerificationRecord
from backup_assets.settings import DatabaseSettings, Settings

#: One name for all databases: two trial restores at a time would be too much for a small machine.
LOCK = "verification-rotation"


@dataclass(frozen=True)
class Copy:
    """A set in one store; ``looked_at`` is when that copy was last verified, at any level, None: never.

    ``doubtful``: the last verification bears a time to come, so that nobody knows when it was; it is not in
    ``looked_at``.
    """

    store: str
    set: BackupSet
    looked_at: datetime | None
    doubtful: bool = False

    @property
    def since(self) -> datetime:
        """From when its age counts: that of its last verification, else its own."""
        return self.looked_at or self.set.taken_at


@dataclass(frozen=True)
class Checked:
    """One copy that was verified now: the proof, or ``error`` where this machine could not answer the question."""

    copy: Copy
    proof: Proof | None = None
    error: BackupError | None = None

    @property
    def passed(self) -> bool:
        """Whether the copy is known to be good at the level that was possible."""
        return self.proof is not None and self.proof.record.passed


@dataclass(frozen=True)
class Rotation:
    """One night: what was ``checked``, and how it stands with all ``copies`` afterwards.

    ``overdue`` are copies whose last verification is longer ago than promised. ``unread`` says of each store that
    did not answer why. ``gone`` were deleted while they waited for their turn.
    """

    checked: tuple[Checked, ...]
    copies: int
    overdue: tuple[Copy, ...]
    unread: dict[str, BackupError]
    gone: tuple[Copy, ...] = ()


def copies_of(
    database: DatabaseSettings, settings: Settings, unread: dict[str, BackupError] | None = None, *, now: datetime
) -> list[Copy]:
    """Return every complete set of every store that answers; the others are added to ``unread``."""
    found: list[tuple[str, BackupSet]] = []
    for name in (LOCAL, *(store.name for store in settings.stores)):
        try:
            sets = catalog_in(store_named(settings, name), place_of(database, settings)).sets()
        except BackupError as error:
            if unread is not None:
                unread[name] = error
            continue
        found += [(name, one) for one in sets]
    # Who may only read in a store has its records in the local one: a copy's last verification may be in either.
    known: dict[tuple[str, str], list[VerificationRecord]] = {}
    for _, one in found:
        for record in one.verifications:
            known.setdefault((record.store, one.id), []).append(record)
    return [_copy(name, one, known.get((name, one.id), ()), now) for name, one in found if not one.faults]


def _copy(store: str, one: BackupSet, verifications: Sequence[VerificationRecord], now: datetime) -> Copy:
    last = max(verifications, key=lambda record: record.order, default=None)
    looked_at = max((record.at for record in verifications if not is_in_future(record.at, now)), default=None)
    return Copy(store, one, looked_at, doubtful=last is not None and is_in_future(last.at, now))


def due(copies: Sequence[Copy], database: DatabaseSettings, now: datetime) -> list[Copy]:
    """Return what is verified tonight: least recently verified first, no more than `nightly_limit`.

    A copy takes part when half of `every_days` is over, so that a night without this machine does no harm; and at
    once, before all others, when its last verification is from the future, which proves nothing. Which one comes first
    does not depend on anything but the copies.
    """
    wanted = database.verification
    old = [copy for copy in copies if copy.doubtful or now - copy.since >= timedelta(days=wanted.every_days) / 2]
    in_turn = sorted(old, key=lambda copy: (not copy.doubtful, copy.since, copy.set.id, copy.store))
    return in_turn[: wanted.nightly_limit]


def rotate(
    database: DatabaseSettings,
    settings: Settings,
    *,
    log: Callable[[str], None],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Rotation:
    """Verify tonight's copies, one after the other, each record stored beside its set.

    Level `restored` where the copy can be read here, `stored` where it is encrypted and the private key is elsewhere.
    Raises Refused when another rotation, of whichever database, is at work.
    """
    store = local_store(settings)
    store.check()
    with store.capture_lock(LOCK, run=database.name):
        unread: dict[str, BackupError] = {}
        copies = copies_of(database, settings, unread, now=now())
        checked: list[Checked] = []
        gone: list[Copy] = []
        for copy in due(copies, database, now()):
            one = _verified(database, settings, copy, log, now)
            if one.passed or _is_there(database, settings, copy):
                checked.append(one)
            else:
                gone.append(copy)
                log(f"{copy.set.id} was deleted from {copy.store} before its turn was over")
        answered = {(one.copy.store, one.copy.set.id) for one in checked if one.proof is not None}
        within = timedelta(days=database.verification.every_days)
        overdue = [c for c in copies if (c.store, c.set.id) not in answered and now() - c.since > within]
    return Rotation(
        tuple(checked), len(copies), tuple(copy for copy in overdue if copy not in gone), unread, tuple(gone)
    )


def _verified(
    database: DatabaseSettings,
    settings: Settings,
    copy: Copy,
    log: Callable[[str], None],
    now: Callable[[], datetime],
) -> Checked:
    try:
        store = store_named(settings, copy.store)
        try:
            proof = verify_set(database, settings, store, copy.set, log=log, now=now)
        except (MissingPrivateKey, LockedPrivateKey):
            log(f"{copy.set.id} in {copy.store} is encrypted, and the private key is not here: its bytes are compared")
            proof = verify_set(database, settings, store, copy.set, level="stored", log=log, now=now)
    except BackupError as error:
        log(f"{copy.set.id} in {copy.store} could not be verified: {error}")
        return Checked(copy, error=error)
    except OSError as error:  # of a disk on the way; the other copies have their turn nevertheless
        fault = EnvironmentFault(
            f"{copy.set.id} in {copy.store} could not be verified",
            why=str(error),
            remedy="check the disk that is named, and its permissions; the kernel's log may say more",
        )
        log(str(fault))
        return Checked(copy, error=fault)
    outcome = "is good" if proof.record.passed else "is DAMAGED"
    log(f"{copy.set.id} in {copy.store} {outcome} at level {proof.record.level}")
    return Checked(copy, proof)


def _is_there(database: DatabaseSettings, settings: Settings, copy: Copy) -> bool:
    """Tell whether a copy that could not be verified still exists; whoever cannot tell says yes."""
    try:
        key = place_of(database, settings).manifest_key(copy.set.id)
        return store_named(settings, copy.store).stat(key) is not None
    except BackupError:
        return True
