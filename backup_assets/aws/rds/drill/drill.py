"""Could RDS bring us back? What it keeps is restored into a server of its own, compared, timed and removed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from backup_assets.aws.rds.api import RdsApi, Source
from backup_assets.aws.rds.choice import Choice, choose, region_of_drill
from backup_assets.aws.rds.drill.comparing import Compared, compare
from backup_assets.aws.rds.drill.report import RdsDrilled, store_report
from backup_assets.aws.rds.looks import TOLERANCE, look_at
from backup_assets.aws.rds.server_names import POINT_IN_TIME, RESTORED_FROM, SHOWS
from backup_assets.aws.rds.server_work import Log, ServerWork
from backup_assets.aws.rds.servers import RestoredServer
from backup_assets.aws.rds.tagging import DRILL, drill_text, moment_of
from backup_assets.aws.rds.work import Waiting
from backup_assets.capture.fingerprints import parse_integrity_file
from backup_assets.errors import BackupError
from backup_assets.local import local_store, place_of
from backup_assets.named_stores import catalog_in
from backup_assets.restore.drill_report import duration
from backup_assets.sets.manifest import Manifest
from backup_assets.sets.records import Problem
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_aws import RdsDrillSettings, RdsSettings
from backup_assets.source import source_server

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


class _Drill(ServerWork[RdsDrilled]):
    def __init__(
        self,
        database: DatabaseSettings,
        settings: Settings,
        slot: str,
        before: datetime | None,
        log: Log,
        now: Callable[[], datetime],
    ) -> None:
        rds, drill = drill_of(database)
        region = region_of_drill(rds, settings.aws.region)
        super().__init__(database, settings, slot, rds, drill, region=region, log=log, now=now)
        self._before = before
        self._compared: Compared | None = None
        self._after_failed_check = _OTHER
        self._promised_seconds = database.rto_hours * 3600

    def _choice(self, source: Source) -> Choice:
        env = self._settings.env
        return choose(self._api, self._database, self._rds, env, source=source, before=self._before)

    def _use(self, server: RestoredServer) -> None:
        database, source = self._database, source_server(self._database)
        restored, shows = self._server_of(server, source), self._moment_of(server)
        queries = parse_integrity_file(database.integrity_sql) if database.integrity_sql else ()
        limit = shows - TOLERANCE
        with self._stages("read"):
            self._log(f"every row of {server.identifier} at {restored.place} is read")
            seconds = self._seconds_left(server)
            there = look_at(restored, database, queries, contents=True, up_to=limit, seconds=seconds)
        with self._stages("source"):
            seconds = self._seconds_left(server)
            now = look_at(source, database, queries, contents=False, up_to=limit, seconds=seconds)
        self._require_another(restored, there.glance, now.glance)
        self._compared = compare(there, now, shows, self._sets_around(shows))
        for sentence in (*self._compared.confirmed, *self._compared.notes):
            self._log(sentence)
        self._problems += self._compared.problems

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

    def _too_slow(self, total: float) -> Problem:
        return Problem(
            what="the restore took longer than promised",
            expected=f"at most {duration(self._database.rto_hours * 3600)} (RTO)",
            found=duration(total),
            remedy="take a larger `rds.drill.instance_class`, or agree on another objectives.rto_hours (RTO_HOURS)",
        )

    def _recorded(self, server: RestoredServer, started: datetime, total: float) -> RdsDrilled:
        within = total <= self._promised_seconds if self._compared else None
        if within is False:
            self._problems.append(self._too_slow(total))
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
