"""Could RDS bring us back? What it keeps is restored into a server of its own, compared, timed and removed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from backup_assets.aws.access import access_of
from backup_assets.aws.answers import Busy, Exists
from backup_assets.aws.rds.api import RdsApi, api_of
from backup_assets.aws.rds.drill.choice import Choice, choose, region_of_drill
from backup_assets.aws.rds.drill.comparing import Compared, compare
from backup_assets.aws.rds.drill.looks import TOLERANCE, look_at
from backup_assets.aws.rds.drill.names import POINT_IN_TIME, RESTORED_FROM, SHOWS, drill_tags
from backup_assets.aws.rds.drill.report import RdsDrilled, store_report
from backup_assets.aws.rds.drill.servers import (
    DrillServer,
    class_of,
    drill_servers,
    make_member,
    remove,
    require_apart,
    restore,
)
from backup_assets.aws.rds.tagging import DEADLINE, DRILL, STARTED, drill_text, moment_of, moment_text
from backup_assets.aws.rds.work import Waiting
from backup_assets.capture.fingerprints import parse_integrity_file
from backup_assets.errors import BackupError, CheckFailed, EnvironmentFault, Refused, TransientFault
from backup_assets.local import local_store, place_of
from backup_assets.named_stores import catalog_in
from backup_assets.postgres.server import Server
from backup_assets.restore.drill_report import duration
from backup_assets.restore.verification import Stages
from backup_assets.sets.manifest import Manifest
from backup_assets.sets.records import Problem
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_aws import RdsDrillSettings, RdsSettings
from backup_assets.source import source_server

Log = Callable[[str], None]
_AGAIN = "mend that, and repeat the drill"
_OTHER = "do not rely on this snapshot: take another, let it be copied, and repeat the drill"


def advance_drill(
    database: DatabaseSettings,
    settings: Settings,
    slot: str,
    *,
    before: datetime | None = None,
    begin: bool = True,
    last_attempt: bool = True,
    log: Log,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> RdsDrilled | Waiting | None:
    """Go on with the drill of a slot as far as it goes now: to its outcome, or to what is waited for.

    ``begin``: one is begun when none is under way; without it that is None. ``before`` (aware) is the moment that may
    be shown at the latest. An outcome is recorded and reported, and the server of the drill is removed, whatever was
    found; only a transient fault before the ``last_attempt`` leaves it for the next one. Raises Refused or
    SettingsError when the drill may not begin, CheckFailed when there is nothing to restore, and the errors of
    `answers.explained` when RDS does not do what it is asked before there is a server.
    """
    return _Drill(database, settings, slot, before, log, now).advance(begin=begin, last_attempt=last_attempt)


def drill_of(database: DatabaseSettings) -> tuple[RdsSettings, RdsDrillSettings]:
    """Return the settings of the drill of a database; it must have one."""
    if database.rds is None or database.rds.drill is None:
        raise AssertionError(f"no drill of RDS is configured for {database.name}")
    return database.rds, database.rds.drill


class _Drill:
    def __init__(
        self,
        database: DatabaseSettings,
        settings: Settings,
        slot: str,
        before: datetime | None,
        log: Log,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._settings = settings
        self._slot = slot
        self._before = before
        self._log = log
        self._now = now
        self._rds, self._drill = drill_of(database)
        access = access_of(settings.aws)
        self._home = api_of(access, self._rds)
        self._api = self._home.within(region_of_drill(self._rds, access.region))
        self._stages = Stages()
        self._problems: list[Problem] = []
        self._compared: Compared | None = None

    def advance(self, *, begin: bool, last_attempt: bool) -> RdsDrilled | Waiting | None:
        found = self._found()
        if found is None or found.is_going or found.is_concluded:
            if not begin:
                return None
            if found is not None:
                raise TransientFault(
                    f"the server of the last drill for {self._slot}, {found.identifier}, is still there",
                    why=f"it is {found.status}, and its drill is over",
                    remedy="launch the drill again in some minutes, when RDS has removed it",
                )
            return self._begin()
        if found.needs_member and not self._is_over(found):
            return self._with_member(found)
        if not found.is_ready and not self._is_over(found):
            return self._waiting(found)
        return self._conclude(found, last_attempt=last_attempt)

    def _found(self) -> DrillServer | None:
        all_of_it = drill_servers(self._api, self._database, self._settings.env)
        return next((one for one in all_of_it if one.slot == self._slot), None)

    def _is_over(self, server: DrillServer) -> bool:
        return server.broken is not None or (server.deadline is not None and self._now() >= server.deadline)

    # -- on the way --------------------------------------------------------------------------------------------------

    def _begin(self) -> Waiting:
        self._require_other_address()
        source = self._home.source(self._rds.identifier)
        choice = choose(self._api, self._database, self._rds, self._settings.env, source=source, before=self._before)
        require_apart(source, self._drill, choice, self._home.access.region)
        instance_class = class_of(self._home, source, self._drill)
        started = self._now()
        deadline = started + timedelta(hours=self._drill.timeout_hours)
        more = {
            RESTORED_FROM: choice.snapshot.arn if choice.snapshot else POINT_IN_TIME,
            SHOWS: moment_text(choice.shows),
        }
        tags = drill_tags(self._database, self._settings.env, self._slot, started, deadline, more)
        try:
            name = restore(
                self._api,
                self._database,
                self._settings.env,
                self._slot,
                source=source,
                instance_class=instance_class,
                choice=choice,
                tags=tags,
            )
        except Exists as error:
            # Another run was quicker, or an answer was lost on its way; else somebody else's bears this name.
            found = self._found()
            if found is None:
                raise Refused(
                    f"{error.what}, and it does not bear the tags of a drill",
                    why=error.why,
                    remedy="look at it in the RDS console, and remove it by hand when nobody needs it",
                ) from error
            return self._waiting(found)
        self._log(f"RDS restores {choice.what} into {name} ({instance_class}) in {choice.region}")
        return Waiting(_restoring(choice, name), started, deadline)

    def _require_other_address(self) -> None:
        server = source_server(self._database)
        if (self._drill.host or "", self._drill.port or server.port) == (server.host, server.port):
            raise Refused(
                f"the drill would look at {server.place}, which is the source itself",
                why="a comparison of the live database with itself proves nothing",
                remedy="correct `rds.drill.host` and `rds.drill.port`, or leave them out",
            )

    def _with_member(self, cluster: DrillServer) -> Waiting:
        now = self._now()
        source = self._home.source(self._rds.identifier)
        deadline = cluster.deadline or now + timedelta(hours=self._drill.timeout_hours)
        tags = drill_tags(self._database, self._settings.env, self._slot, now, deadline, {})
        instance_class = class_of(self._home, source, self._drill)
        name = make_member(self._api, cluster, instance_class, tags)
        self._log(f"the cluster {cluster.identifier} is there; RDS makes its instance {name} ({instance_class})")
        return Waiting(f"RDS makes the instance {name}", now, deadline)

    def _waiting(self, server: DrillServer) -> Waiting:
        now = self._now()
        states = ", ".join([server.status, *(f"{one.identifier} {one.status}" for one in server.members)])
        deadline = server.deadline or now + timedelta(hours=self._drill.timeout_hours)
        return Waiting(f"RDS makes {server.identifier} ({states})", server.started_at or now, deadline)

    # -- the end -----------------------------------------------------------------------------------------------------

    def _conclude(self, server: DrillServer, *, last_attempt: bool) -> RdsDrilled:
        started = server.started_at or self._now()
        complete, keep = False, False
        total = 0.0
        try:
            self._time_restore(server, started)
            self._require_usable(server)
            self._rehearse(server)
            complete = not self._problems
        except BackupError as error:
            if error.retriable and not last_attempt:
                keep = True
                raise
            self._fail(error)
        finally:
            # Whatever happened in between, an interrupt too: what costs money goes.
            if not keep:
                total = max(0.0, (self._now() - started).total_seconds())
                passed = complete and total <= self._database.rto_hours * 3600
                self._remove(server, passed=passed)
        within = total <= self._database.rto_hours * 3600 if self._compared else None
        if within is False:
            self._problems.append(self._too_slow(total))
        return self._recorded(server, started, total, within)

    def _time_restore(self, server: DrillServer, started: datetime) -> None:
        """Note how long RDS was at work; a run sees that it is ready up to some minutes later."""
        now = self._now()
        member = next((one for one in server.members if STARTED in one.tags), None)
        begun = moment_of(member.tags, STARTED) if member else None
        self._stages.seconds["restore"] = round(((begun or now) - started).total_seconds(), 3)
        if begun is not None:
            self._stages.seconds["instance"] = round((now - begun).total_seconds(), 3)

    def _require_usable(self, server: DrillServer) -> None:
        if server.broken is not None:
            raise EnvironmentFault(
                f"RDS could not make {server.identifier}: its state is {server.broken}",
                why="the reason is among its events in the RDS console",
                remedy="mend what the events name (class, subnet group, KMS key), and repeat the drill",
            )
        deadline = server.deadline
        if deadline is not None and self._now() >= deadline:
            raise EnvironmentFault(
                f"the drill was not over after {self._drill.timeout_hours:g} hours",
                why=f"{server.identifier} was {server.status} at its deadline, {deadline:%Y-%m-%d %H:%M} UTC",
                remedy="set a longer `rds.drill.timeout_hours` if RDS is merely slow, and look whether the run that "
                "compares was ended; then repeat the drill",
            )

    def _rehearse(self, server: DrillServer) -> None:
        database, source = self._database, source_server(self._database)
        self._require_other_address()
        restored = self._server_of(server, source)
        shows = moment_of(server.tags, SHOWS)
        if shows is None:
            raise EnvironmentFault(
                f"{server.identifier} does not say which moment it shows: its tag {SHOWS} is gone",
                remedy=_AGAIN,
            )
        queries = parse_integrity_file(database.integrity_sql) if database.integrity_sql else ()
        deadline = server.deadline or self._now()
        limit = shows - TOLERANCE
        with self._stages("read"):
            self._log(f"every row of {server.identifier} at {restored.place} is read")
            seconds = max(60.0, (deadline - self._now()).total_seconds())
            there = look_at(restored, database, queries, contents=True, up_to=limit, seconds=seconds)
        with self._stages("source"):
            seconds = max(60.0, (deadline - self._now()).total_seconds())
            now = look_at(source, database, queries, contents=False, up_to=limit, seconds=seconds)
        if there.server_started == now.server_started:
            raise CheckFailed(
                f"what answers at {restored.place} is the source itself",
                why=f"both servers began at {now.server_started}",
                remedy="correct `rds.drill.host` and `rds.drill.port`, or leave them out",
            )
        self._compared = compare(there, now, shows, self._sets_around(shows))
        for sentence in (*self._compared.confirmed, *self._compared.notes):
            self._log(sentence)
        self._problems += self._compared.problems

    def _server_of(self, server: DrillServer, source: Server) -> Server:
        host, port = self._drill.host or server.host, self._drill.port or server.port
        if not host or not port:
            raise EnvironmentFault(
                f"RDS gives no address for {server.identifier}", remedy="set `rds.drill.host` and `rds.drill.port`"
            )
        return replace(source, host=host, port=port)

    def _sets_around(self, shows: datetime) -> tuple[Manifest, ...]:
        """Return the manifests of the sets nearest before and after a moment, as far as they have figures."""
        catalog = catalog_in(local_store(self._settings), place_of(self._database, self._settings))
        known = [
            one.manifest
            for one in catalog.sets()
            if one.manifest.kind == "full"
            and one.manifest.fingerprints.tables
            and one.manifest.source_database == self._database.database
        ]
        earlier = [one for one in known if one.snapshot.taken_at <= shows]
        later = [one for one in known if one.snapshot.taken_at > shows]
        found = [max(earlier, key=lambda one: one.snapshot.taken_at)] if earlier else []
        return (*found, min(later, key=lambda one: one.snapshot.taken_at)) if later else tuple(found)

    def _fail(self, error: BackupError) -> None:
        remedy = error.remedy or (_OTHER if isinstance(error, CheckFailed) else _AGAIN)
        self._problems.append(Problem(what=error.what, found=error.why, remedy=remedy))

    def _too_slow(self, total: float) -> Problem:
        return Problem(
            what="the restore took longer than promised",
            expected=f"at most {duration(self._database.rto_hours * 3600)} (RTO)",
            found=duration(total),
            remedy="take a larger `rds.drill.instance_class`, or agree on another objectives.rto_hours (RTO_HOURS)",
        )

    def _remove(self, server: DrillServer, *, passed: bool) -> None:
        """Remove the server; what cannot be removed is a problem, and the next look of the sensor tries again."""
        outcome = {DRILL: drill_text(passed=passed, at=self._now()), DEADLINE: moment_text(self._now())}
        try:
            self._api.tag(server.arn, outcome)
        except BackupError as error:
            # It is removed now all the same; only if that fails too, it stays until its deadline.
            self._log(f"the outcome cannot be noted on {server.identifier}: {error.what}")
        try:
            remove(self._api, server, self._database, self._settings.env)
        except Busy as error:
            self._log(f"RDS does not remove {server.identifier} yet, which is tried again every minute: {error.why}")
        except BackupError as error:
            self._log(str(error))
            self._problems.append(
                Problem(
                    what=f"the drill's server {server.identifier} in {server.region} is not removed, and costs money",
                    found=f"{error.what}: {error.why}" if error.why else error.what,
                    remedy=error.remedy or "it is tried again every minute; look at it in the RDS console",
                )
            )
        else:
            self._log(f"RDS removes {server.identifier}")

    def _recorded(self, server: DrillServer, started: datetime, total: float, within: bool | None) -> RdsDrilled:
        snapshot = server.tags.get(RESTORED_FROM, POINT_IN_TIME)
        if snapshot != POINT_IN_TIME:
            # What is wrong with the clock or with the removal says nothing about the snapshot.
            judged = self._compared.problems == () if self._compared else None
            self._tag_snapshot(self._api, snapshot, judged)
        shows = moment_of(server.tags, SHOWS)
        found = self._compared
        drilled = RdsDrilled(
            database=self._database.name,
            env=self._settings.env,
            slot=self._slot,
            zone=self._database.schedule.timezone,
            what=f"the snapshot {snapshot}" if snapshot != POINT_IN_TIME else "a point in time",
            region=server.region,
            server=f"the {server.kind} {server.identifier}",
            shows=shows,
            started_at=started,
            total_seconds=round(total, 3),
            rto_hours=self._database.rto_hours,
            within_rto=within,
            age_hours=round(max(0.0, (started - shows).total_seconds() / 3600), 3) if shows else None,
            stages=dict(self._stages.seconds),
            confirmed=found.confirmed if found else (),
            notes=found.notes if found else (),
            problems=tuple(self._problems),
            tables=found.tables if found else (),
            equal_content=found.equal_content if found else 0,
            row_difference=found.row_difference if found else 0,
        )
        place = place_of(self._database, self._settings)
        return replace(drilled, report_path=store_report(self._settings, place, drilled))

    def _tag_snapshot(self, api: RdsApi, arn: str, good: bool | None) -> None:
        """Write on the snapshot what the drill says of it; nothing when it could not be found out."""
        if good is None:
            return
        try:
            api.tag(arn, {DRILL: drill_text(passed=good, at=self._now())})
        except BackupError as error:
            self._fail(error)


def _restoring(choice: Choice, name: str) -> str:
    return f"RDS restores {choice.what} into {name}"
