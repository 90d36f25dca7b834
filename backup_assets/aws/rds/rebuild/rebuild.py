"""What did the database hold at a slot that was missed? RDS restores that moment, and a set is dumped from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from backup_assets.aws.rds.api import Source
from backup_assets.aws.rds.choice import Choice, at_moment
from backup_assets.aws.rds.looks import TOLERANCE, Glance, glance_at
from backup_assets.aws.rds.server_work import Log, ServerWork
from backup_assets.aws.rds.servers import RestoredServer
from backup_assets.aws.rds.work import Waiting
from backup_assets.capture.capture import Capture
from backup_assets.capture.request import CaptureRequest, PastMoment
from backup_assets.errors import BackupError, CheckFailed, Refused
from backup_assets.local import local_store, place_of
from backup_assets.named_stores import LOCAL, catalog_in, catalog_to_show, store_named
from backup_assets.postgres.server import Server
from backup_assets.progress import Progress
from backup_assets.restore.verification import Proof, verify_set
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.records import Problem
from backup_assets.sets.retention_policy import has_failed
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_aws import RdsRebuildSettings, RdsSettings
from backup_assets.slots import Slots
from backup_assets.source import source_server


@dataclass(frozen=True)
class RdsRebuilt:
    """The outcome of a rebuild. Durations in seconds, moments aware; ``proof`` is that of the set's trial restore."""

    slot: str
    region: str
    server: str
    started_at: datetime
    total_seconds: float
    set: BackupSet | None
    proof: Proof | None
    stages: Mapping[str, float] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the set is there and proven, and nothing is left of the server."""
        return self.proof is not None and not self.problems


def advance_rebuild(
    database: DatabaseSettings,
    settings: Settings,
    slots: Slots,
    slot: str,
    *,
    run_id: str,
    progress: Progress,
    log: Log,
    begin: bool = True,
    last_attempt: bool = True,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> RdsRebuilt | Waiting | None:
    """Go on with the rebuild of a slot that is over, as far as it goes now: to its outcome, or to what is waited for.

    The set shows the moment at which its backup was due. It holds the database and the roles; attachments and secrets
    have no past that could be gone back to, and its warnings say so. None when the slot has a set, in whichever store,
    and when nothing is under way that could be gone on with (``begin`` not given); but a set that an earlier rebuild
    left without a proof is proven first, for which nothing is restored. The server is removed, whatever came of it;
    only a transient fault before the ``last_attempt`` leaves it for the next one.

    Raises Refused for a slot that is not over or that the automated backups do not reach back to, SettingsError when
    what is restored would not be apart from the source, and the errors of `answers.explained`.
    """
    _, end = slots.window(slot)
    if now() < end:
        raise Refused(
            f"the slot {slot} is not over",
            why=f"it lasts until {end:%Y-%m-%d %H:%M} UTC",
            remedy="take a backup now: it belongs into that slot" if slots.is_current(slot, now()) else "wait for it",
        )
    due = slots.due_at(slot)
    work = _Rebuild(database, settings, slot, due, run_id=run_id, progress=progress, log=log, now=now)
    done = work.advance(begin=begin, last_attempt=last_attempt)
    return done if done is not None or not begin else work.proven_later()


def rebuild_of(database: DatabaseSettings) -> tuple[RdsSettings, RdsRebuildSettings]:
    """Return the settings of the rebuilds of a database; it must have some."""
    if database.rds is None or database.rds.rebuild is None:
        raise AssertionError(f"no rebuild from RDS is configured for {database.name}")
    return database.rds, database.rds.rebuild


class _Rebuild(ServerWork[RdsRebuilt | None]):
    def __init__(
        self,
        database: DatabaseSettings,
        settings: Settings,
        slot: str,
        due: datetime,
        *,
        run_id: str,
        progress: Progress,
        log: Log,
        now: Callable[[], datetime],
    ) -> None:
        rds, rebuild = rebuild_of(database)
        super().__init__(database, settings, slot, rds, rebuild, log=log, now=now)
        self._due = due
        self._run_id = run_id
        self._progress = progress

    def _is_done(self) -> bool:
        for where, one in self._sets_there():
            self._log(f"the slot {self._slot} has the set {one.id} in the store {where}: nothing is to be rebuilt")
            return True
        return False

    def _sets_there(self) -> Iterator[tuple[str, BackupSet]]:
        """Yield the sets of the slot that are whole and did not fail, with their store."""
        place = place_of(self._database, self._settings)
        for name in (LOCAL, *(one.name for one in self._settings.stores)):
            try:
                found = catalog_to_show(self._settings, store_named(self._settings, name), place).sets()
            except BackupError as error:
                if name == LOCAL:
                    raise
                # What only that store holds may be rebuilt although it is there: that costs money, and loses nothing.
                self._log(f"whether the store {name} has a set of the slot is not known: {error}")
                continue
            for one in found:
                whole = one.manifest.kind == "full" and one.state == "complete"
                if one.manifest.slot == self._slot and whole and not has_failed(one.verifications, name, self._now()):
                    yield name, one

    def _choice(self, source: Source) -> Choice:
        return at_moment(self._api, source, self._due)

    def _use(self, server: RestoredServer) -> None:
        source = source_server(self._database)
        restored, shows = self._server_of(server, source), self._moment_of(server)
        limit = shows - TOLERANCE
        with self._stages("look"):
            seconds = self._seconds_left(server)
            there = glance_at(restored, self._database, up_to=limit, seconds=seconds)
            now = glance_at(source, self._database, up_to=limit, seconds=seconds)
        self._require_another(restored, there, now)
        self._require_not_newer(restored, there, now, shows)
        past = PastMoment(
            shows, f"the automated backups of {self._rds.identifier}", server.identifier, tuple(self._notes(there, now))
        )
        request = CaptureRequest(slot=self._slot, run_id=self._run_id, past=past)
        hours = min(self._database.dump.timeout_hours, self._seconds_left(server) / 3600)
        dump = self._database.dump.model_copy(update={"timeout_hours": hours})
        database = self._database.model_copy(update={"dump": dump})
        with self._stages("capture"):
            captured = Capture(
                database, self._settings, request, progress=self._progress, log=self._log, server=restored
            ).run()
        self._log(f"committed the set {captured.manifest.id}")

    def _require_not_newer(self, restored: Server, there: Glance, source: Glance, shows: datetime) -> None:
        """Raise CheckFailed for rows from after the slot: data of another time never gets its key."""
        newer = there.newer_than(shows, source)
        if newer:
            name, newest = newer[0]
            raise CheckFailed(
                f"what answers at {restored.place} has rows that are newer than {shows:%Y-%m-%d %H:%M} UTC",
                why=f"{name} has {newest:%Y-%m-%d %H:%M:%S} UTC; nothing was dumped",
                remedy="correct `rds.rebuild.host` and `rds.rebuild.port`, or leave them out; if they are right, these "
                "times were planned ahead, and the slot cannot be rebuilt with certainty",
            )

    def _notes(self, there: Glance, now: Glance) -> Iterator[str]:
        yield "rebuilt after its slot was over, from a server that RDS restored as of that time"
        if self._database.attachments is not None:
            yield "without attachments: the folder of that time is not there any more; another set has its files"
        if self._database.secrets is not None:
            yield "without secrets: those of that time are not there any more"
        if now.newest is not None and (there.newest is None or there.newest < now.newest - TOLERANCE):
            found = f"{there.newest:%Y-%m-%d %H:%M:%S} UTC" if there.newest else "no time at all"
            yield (
                f"its newest time on record is {found}, where the live database has {now.newest:%Y-%m-%d %H:%M:%S} UTC "
                "from before that moment: look whether that was entered later"
            )

    def _recorded(self, server: RestoredServer, started: datetime, total: float) -> RdsRebuilt | None:
        made, proof = self._made_from(server), None
        if made is None and not self._problems:
            return None
        if made is not None:
            proof = self._proof(made)
        return RdsRebuilt(
            slot=self._slot,
            region=server.region,
            server=server.identifier,
            started_at=started,
            total_seconds=round(total, 3),
            set=made,
            proof=proof,
            stages=dict(self._stages.seconds),
            problems=tuple(self._problems),
        )

    def proven_later(self) -> RdsRebuilt | None:
        """Prove the set of an earlier rebuild of the slot that has no proof; None where there is none.

        Its run has failed, for want of a scratch server for instance: to launch it again is what ends that.
        """
        started = self._now()
        made = self._newest_rebuilt()
        if made is None or made.manifest.rebuilt is None or made.faults or made.proof_at(started) is not None:
            return None
        self._log(f"an earlier rebuild has left {made.id} without a proof: it is proven now")
        proof = self._proof(made)
        return RdsRebuilt(
            slot=self._slot,
            region=self._api.access.region,
            server=made.manifest.rebuilt.server,
            started_at=started,
            total_seconds=round(max(0.0, (self._now() - started).total_seconds()), 3),
            set=made,
            proof=proof,
            stages=dict(self._stages.seconds),
            problems=tuple(self._problems),
        )

    def _made_from(self, server: RestoredServer) -> BackupSet | None:
        """Return the set that was dumped from this server, by this run or by one that did not live to say so."""
        return self._newest_rebuilt(server.identifier)

    def _newest_rebuilt(self, server: str | None = None) -> BackupSet | None:
        """Return the newest rebuilt set of the slot that did not fail, dumped from ``server`` where it is given."""
        catalog = catalog_in(local_store(self._settings), place_of(self._database, self._settings))
        found = [
            one
            for one in catalog.sets()
            if one.manifest.slot == self._slot
            and one.manifest.rebuilt is not None
            and server in (None, one.manifest.rebuilt.server)
            and not has_failed(one.verifications, LOCAL, self._now())
        ]
        return max(found, key=lambda one: one.manifest.generated_at, default=None)

    def _proof(self, made: BackupSet) -> Proof | None:
        store = local_store(self._settings)
        try:
            with self._stages("verification"):
                proof = verify_set(self._database, self._settings, store, made, log=self._log)
        except BackupError as error:
            self._fail(error)
            return None
        self._problems += proof.record.problems
        return proof
