"""How does work go on that needs a restored server: begun, waited for, used once, and removed whatever happened?"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from backup_assets.aws.access import access_of
from backup_assets.aws.answers import Busy, Exists
from backup_assets.aws.rds.api import RdsApi, Source, api_of
from backup_assets.aws.rds.choice import Choice
from backup_assets.aws.rds.looks import Glance
from backup_assets.aws.rds.restored_regions import note_region
from backup_assets.aws.rds.server_names import POINT_IN_TIME, RESTORED_FROM, SHOWS, server_tags
from backup_assets.aws.rds.servers import (
    RestoredServer,
    class_of,
    make_member,
    remove,
    require_apart,
    restore,
    restored_servers,
)
from backup_assets.aws.rds.tagging import DEADLINE, DRILL, STARTED, drill_text, moment_of, moment_text
from backup_assets.aws.rds.work import Waiting
from backup_assets.errors import BackupError, CheckFailed, EnvironmentFault, Refused, TransientFault
from backup_assets.postgres.server import Server
from backup_assets.restore.verification import Stages
from backup_assets.sets.records import Problem
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_aws import RdsServerSettings, RdsSettings, RestoredFor
from backup_assets.source import source_server

Log = Callable[[str], None]
Outcome = TypeVar("Outcome")


class ServerWork(ABC, Generic[Outcome]):
    """Work on one slot that RDS restores a server for. What it has come to is in AWS alone, in the server's tags."""

    def __init__(
        self,
        database: DatabaseSettings,
        settings: Settings,
        slot: str,
        rds: RdsSettings,
        wanted: RdsServerSettings,
        *,
        region: str | None = None,
        log: Log,
        now: Callable[[], datetime],
    ) -> None:
        """``region`` is where the server is restored; left out, where the source is."""
        self._database = database
        self._settings = settings
        self._slot = slot
        self._rds = rds
        self._wanted = wanted
        self._role: RestoredFor = wanted.ROLE
        self._log = log
        self._now = now
        self._home = api_of(access_of(settings.aws), rds)
        self._api: RdsApi = self._home.within(region or self._home.access.region)
        self._stages = Stages()
        self._problems: list[Problem] = []
        #: What to do about an error that does not say it, and about a check that failed.
        self._again = f"mend that, and repeat the {self._role}"
        self._after_failed_check = self._again
        #: What takes longer has not gone well.
        self._promised_seconds = math.inf

    # -- what is different -------------------------------------------------------------------------------------------

    @abstractmethod
    def _choice(self, source: Source) -> Choice:
        """Return what is restored."""

    @abstractmethod
    def _use(self, server: RestoredServer) -> None:
        """Do what the server was restored for."""

    @abstractmethod
    def _recorded(self, server: RestoredServer, started: datetime, total: float) -> Outcome:
        """Record the outcome after ``total`` seconds, the server being removed, and return it."""

    def _is_done(self) -> bool:
        """Whether there is nothing more to do, also because a run did it that did not live to remove its server."""
        return False

    # -- on the way --------------------------------------------------------------------------------------------------

    def advance(self, *, begin: bool, last_attempt: bool) -> Outcome | Waiting | None:
        """Go on as far as it goes now; None when nothing is under way, and none is to be begun or it is done."""
        found = self._found()
        if found is None or found.is_going or found.is_concluded:
            if not begin or self._is_done():
                return None
            if found is not None:
                raise TransientFault(
                    f"the server of the last {self._role} for {self._slot}, {found.identifier}, is still there",
                    why=f"it is {found.status}, and its {self._role} is over",
                    remedy=f"launch the {self._role} again in some minutes, when RDS has removed it",
                )
            return self._begin()
        if found.needs_member and not self._is_over(found):
            return self._with_member(found)
        if not found.is_ready and not self._is_over(found):
            return self._waiting(found)
        return self._conclude(found, last_attempt=last_attempt)

    def _found(self) -> RestoredServer | None:
        found = restored_servers(self._api, self._database, self._settings.env)
        return next((one for one in found if (one.role, one.slot) == (self._role, self._slot)), None)

    def _is_over(self, server: RestoredServer) -> bool:
        return server.broken is not None or (server.deadline is not None and self._now() >= server.deadline)

    def _begin(self) -> Waiting:
        self._require_other_address()
        source = self._home.source(self._rds.identifier)
        choice = self._choice(source)
        require_apart(source, self._wanted, choice, self._home.access.region)
        instance_class = class_of(self._home, source, self._wanted)
        started = self._now()
        deadline = started + timedelta(hours=self._wanted.timeout_hours)
        more = {
            RESTORED_FROM: choice.snapshot.arn if choice.snapshot else POINT_IN_TIME,
            SHOWS: moment_text(choice.shows),
        }
        tags = server_tags(self._role, self._database, self._settings.env, self._slot, started, deadline, more)
        note_region(self._settings, choice.region)
        try:
            name = restore(
                self._api,
                self._database,
                self._settings.env,
                self._slot,
                self._wanted,
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
                    f"{error.what}, and it does not bear the tags of a {self._role}",
                    why=error.why,
                    remedy="look at it in the RDS console, and remove it by hand when nobody needs it",
                ) from error
            return self._waiting(found)
        self._log(f"RDS restores {choice.what} into {name} ({instance_class}) in {choice.region}")
        return Waiting(f"RDS restores {choice.what} into {name}", started, deadline)

    def _require_other_address(self) -> None:
        server = source_server(self._database)
        if (self._wanted.host or "", self._wanted.port or server.port) == (server.host, server.port):
            raise Refused(
                f"the {self._role} would look at {server.place}, which is the source itself",
                why="a comparison of the live database with itself proves nothing",
                remedy=f"correct `rds.{self._role}.host` and `rds.{self._role}.port`, or leave them out",
            )

    def _with_member(self, cluster: RestoredServer) -> Waiting:
        now = self._now()
        source = self._home.source(self._rds.identifier)
        deadline = cluster.deadline or now + timedelta(hours=self._wanted.timeout_hours)
        tags = server_tags(self._role, self._database, self._settings.env, self._slot, now, deadline, {})
        instance_class = class_of(self._home, source, self._wanted)
        name = make_member(self._api, cluster, instance_class, tags)
        self._log(f"the cluster {cluster.identifier} is there; RDS makes its instance {name} ({instance_class})")
        return Waiting(f"RDS makes the instance {name}", now, deadline)

    def _waiting(self, server: RestoredServer) -> Waiting:
        now = self._now()
        states = ", ".join([server.status, *(f"{one.identifier} {one.status}" for one in server.members)])
        deadline = server.deadline or now + timedelta(hours=self._wanted.timeout_hours)
        return Waiting(f"RDS makes {server.identifier} ({states})", server.started_at or now, deadline)

    # -- the end -----------------------------------------------------------------------------------------------------

    def _conclude(self, server: RestoredServer, *, last_attempt: bool) -> Outcome:
        started = server.started_at or self._now()
        complete, keep = False, False
        total = 0.0
        try:
            if not self._is_done():
                self._time_restore(server, started)
                self._require_usable(server)
                self._require_other_address()
                self._use(server)
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
                self._remove(server, passed=complete and total <= self._promised_seconds)
        return self._recorded(server, started, total)

    def _time_restore(self, server: RestoredServer, started: datetime) -> None:
        """Note how long RDS was at work; a run sees that it is ready up to some minutes later."""
        now = self._now()
        member = next((one for one in server.members if STARTED in one.tags), None)
        begun = moment_of(member.tags, STARTED) if member else None
        self._stages.seconds["restore"] = round(((begun or now) - started).total_seconds(), 3)
        if begun is not None:
            self._stages.seconds["instance"] = round((now - begun).total_seconds(), 3)

    def _require_usable(self, server: RestoredServer) -> None:
        if server.broken is not None:
            raise EnvironmentFault(
                f"RDS could not make {server.identifier}: its state is {server.broken}",
                why="the reason is among its events in the RDS console",
                remedy=f"mend what the events name (class, subnet group, KMS key), and repeat the {self._role}",
            )
        deadline = server.deadline
        if deadline is not None and self._now() >= deadline:
            raise EnvironmentFault(
                f"the {self._role} was not over after {self._wanted.timeout_hours:g} hours",
                why=f"{server.identifier} was {server.status} at its deadline, {deadline:%Y-%m-%d %H:%M} UTC",
                remedy=f"set a longer `rds.{self._role}.timeout_hours` if RDS is merely slow, and look whether the run "
                f"that read from it was ended; then repeat the {self._role}",
            )

    def _server_of(self, server: RestoredServer, source: Server) -> Server:
        host, port = self._wanted.host or server.host, self._wanted.port or server.port
        if not host or not port:
            raise EnvironmentFault(
                f"RDS gives no address for {server.identifier}",
                remedy=f"set `rds.{self._role}.host` and `rds.{self._role}.port`",
            )
        return replace(source, host=host, port=port)

    def _moment_of(self, server: RestoredServer) -> datetime:
        """Return the moment that the server shows."""
        shows = moment_of(server.tags, SHOWS)
        if shows is None:
            raise EnvironmentFault(
                f"{server.identifier} does not say which moment it shows: its tag {SHOWS} is gone",
                remedy=self._again,
            )
        return shows

    def _seconds_left(self, server: RestoredServer) -> float:
        """Return how long the server may still be read, a minute at least."""
        return max(60.0, ((server.deadline or self._now()) - self._now()).total_seconds())

    def _require_another(self, restored: Server, there: Glance, source: Glance) -> None:
        """Raise CheckFailed when what answers is the source, or a replica, and not what RDS has restored."""
        remedy = f"correct `rds.{self._role}.host` and `rds.{self._role}.port`, or leave them out"
        if there.server_started == source.server_started:
            why = f"both servers began at {source.server_started}"
            raise CheckFailed(f"what answers at {restored.place} is the source itself", why=why, remedy=remedy)
        if there.is_replica:
            why = "it is in recovery, which what RDS has restored never is"
            raise CheckFailed(f"what answers at {restored.place} is a replica", why=why, remedy=remedy)

    def _fail(self, error: BackupError) -> None:
        remedy = error.remedy or (self._after_failed_check if isinstance(error, CheckFailed) else self._again)
        self._problems.append(Problem(what=error.what, found=error.why, remedy=remedy))

    def _remove(self, server: RestoredServer, *, passed: bool) -> None:
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
                    what=f"the {self._role}'s server {server.identifier} in {server.region} is not removed, and costs "
                    "money",
                    found=f"{error.what}: {error.why}" if error.why else error.what,
                    remedy=error.remedy or "it is tried again every minute; look at it in the RDS console",
                )
            )
        else:
            self._log(f"RDS removes {server.identifier}")
