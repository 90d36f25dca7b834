"""Could we come back today? The newest set from the farthest store, restored elsewhere, compared, tried and timed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from backup_assets import __version__
from backup_assets.capture.preflight import require_free_disk
from backup_assets.errors import BackupError, CheckFailed, EnvironmentFault
from backup_assets.local import place_of, work_directory
from backup_assets.named_stores import catalog_in, store_named
from backup_assets.progress import human_bytes
from backup_assets.restore.attachments import restore_attachments
from backup_assets.restore.drill_application import application_variables, require_reachable, try_application
from backup_assets.restore.drill_choice import drill_store
from backup_assets.restore.drill_recording import store_drill, store_report, verification_of
from backup_assets.restore.drill_report import Drilled, duration
from backup_assets.restore.fetch import FetchedSet, fetch_set
from backup_assets.restore.recording import clock_note, drills_of, verifications_of
from backup_assets.restore.scratch import Scratch, configured_scratch, scratch_server
from backup_assets.restore.verification import Stages, compared, read_everything, restored_on_trial
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.manifest import Manifest
from backup_assets.sets.record_order import is_in_future
from backup_assets.sets.records import DrillRecord, Problem, VerificationRecord
from backup_assets.settings import DatabaseSettings, Settings

_OTHER_SET = (
    "do not rely on this set: take another backup, let it be copied, and repeat the drill; try an older set with --set"
)


def run_drill(
    database: DatabaseSettings,
    settings: Settings,
    *,
    store: str | None = None,
    selector: str = "latest",
    month: str | None = None,
    before: datetime | None = None,
    log: Callable[[str], None],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Drilled:
    """Rehearse the restore of a set and return what came of it, recorded and reported.

    ``store`` and ``selector`` override the farthest store and its newest set; with ``before`` (aware) it is the newest
    that shows that moment or an earlier one, and ``month`` says which month is made up for. Whatever goes wrong from
    the first look into the store on is a failed drill with its cause and action, not an exception. Raises Refused or
    SettingsError when the drill may not begin (its server is the source, the store or the set asked for is unknown),
    EnvironmentFault when the local store cannot take the report.
    """
    return _Drill(database, settings, store, selector, month, before, log, now).run()


class _Drill:
    def __init__(
        self,
        database: DatabaseSettings,
        settings: Settings,
        store: str | None,
        selector: str,
        month: str | None,
        before: datetime | None,
        log: Callable[[str], None],
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._settings = settings
        self._choice = drill_store(database, settings, store)
        self._store = store_named(settings, self._choice.name)
        self._place = place_of(database, settings)
        self._selector = selector
        self._month = month
        self._before = before
        self._log = log
        self._started_at = now()
        self._stages = Stages()
        self._confirmed: list[str] = []
        self._notes: list[str] = []
        self._problems: list[Problem] = []
        self._chosen: BackupSet | None = None
        #: The verifications of the set that were there when it was chosen.
        self._earlier: tuple[VerificationRecord, ...] = ()
        #: The times of its drills that were there then, and are later: a clock was wrong.
        self._after: tuple[datetime, ...] = ()
        self._manifest: Manifest | None = None
        self._server = ""
        self._major: int | None = None
        self._fetched_bytes = 0
        self._unpacked = (0, 0)
        #: Whether the set has shown that it is whole, or that it is not; None: it could not be found out.
        self._set_is_good: bool | None = None

    def run(self) -> Drilled:
        require_reachable(self._database.drill)
        configured_scratch(self._database, "drill.server")
        self._log(f"drill of {self._database.name} from {self._choice.name}: {self._choice.reason}")
        begun = time.monotonic()
        complete = False
        if self._selector != "latest":
            self._choose()  # a set that somebody named and that is not there is no drill at all
        try:
            if self._chosen is None:
                self._choose()
            with work_directory(self._settings, "drill") as workdir:
                try:
                    self._rehearse(workdir)
                finally:
                    _make_removable(workdir)
            complete = True
            self._require_past()
        except BackupError as error:
            self._fail(error)
        except OSError as error:
            self._fail(EnvironmentFault("a disk or a connection failed during the drill", why=str(error)))
        total = round(time.monotonic() - begun, 3)
        within = total <= self._database.rto_hours * 3600 if complete else None
        if within is False:
            self._problems.append(self._too_slow(total))
        return self._recorded(total, within)

    # -- the rehearsal -----------------------------------------------------------------------------------------------

    def _choose(self) -> None:
        with self._stages("find"):
            catalog = catalog_in(self._store, self._place)
            chosen = catalog.resolve(self._selector, before=self._before)
            if self._selector == "latest":
                self._note(*catalog.passed_over(chosen, self._before))
        self._chosen = chosen
        self._earlier = verifications_of(self._settings, self._place, chosen)
        drills = {drill.started_at for drill in drills_of(self._settings, self._place, chosen)}
        self._after = tuple(sorted(at for at in drills if at > self._started_at))
        self._log(f"the set is {chosen.id}")

    def _rehearse(self, workdir: Path) -> None:
        chosen = self._chosen
        if chosen is None:
            raise AssertionError("no set was chosen")
        with ExitStack() as stack:
            try:
                fetched = self._fetch(chosen, workdir)
                manifest = self._manifest = fetched.backup_set.manifest
                with self._stages("server"):
                    scratch = stack.enter_context(
                        scratch_server(self._database, self._settings, manifest, setting="drill.server")
                    )
                self._note_server(scratch)
                name = stack.enter_context(
                    restored_on_trial(fetched, scratch, self._database, workdir, self._stages, log=self._log)
                )
                self._compare(fetched, scratch, name)
                attachments = self._unpack(fetched, workdir)
            except CheckFailed:
                self._set_is_good = False
                raise
            self._set_is_good = not self._problems
            self._try_application(scratch, name, attachments, workdir)

    def _fetch(self, chosen: BackupSet, workdir: Path) -> FetchedSet:
        catalog = catalog_in(self._store, self._place)
        with self._stages("fetch"):
            archives = [other.manifest.artifact("archive") for other in catalog.closure(chosen)[:-1]]
            needed = [*chosen.manifest.artifacts, *(archive for archive in archives if archive)]
            self._fetched_bytes = sum(artifact.size_bytes for artifact in needed)
            fetched = fetch_set(self._store, self._place, catalog, chosen, workdir, self._settings.encryption)
        self._confirm(f"all {len(needed)} files have the size and SHA-256 of their manifest")
        with self._stages("read"):
            timeout = self._database.verification.timeout_hours * 3600
            read_everything(fetched, self._settings, workdir, timeout)
        self._confirm("dump, roles and archives are readable to their end")
        return fetched

    def _note_server(self, scratch: Scratch) -> None:
        self._major = scratch.major
        kind = "a throw-away cluster" if scratch.throw_away else f"the server at {scratch.server.place}"
        self._server = f"{kind} of PostgreSQL {scratch.major}"
        self._log(f"restoring on {self._server}")

    def _compare(self, fetched: FetchedSet, scratch: Scratch, name: str) -> None:
        expected = fetched.backup_set.manifest.fingerprints
        with self._stages("compare"):
            found = compared(fetched, scratch, name, content=True)
        self._problems += [problem.model_copy(update={"remedy": problem.remedy or _OTHER_SET}) for problem in found]
        if found:
            return
        hashed = sum(table.content_hash is not None for table in expected.tables)
        large = expected.large_objects
        self._confirm(
            f"{expected.total_rows:,} rows in {len(expected.tables)} tables are as many as when the backup was taken; "
            f"the contents of {hashed} tables are the same"
        )
        if large.count:
            known = large.content_hash is not None
            self._confirm(
                f"{large.count:,} large objects are as many as then; "
                + ("their contents are the same" if known else "their contents were not compared, no hash was taken")
            )
        if expected.integrity:
            self._confirm(
                f"{len(expected.integrity)} integrity queries give the same results: "
                + ", ".join(result.name for result in expected.integrity)
            )

    def _unpack(self, fetched: FetchedSet, workdir: Path) -> Path | None:
        facts = fetched.backup_set.manifest.attachments
        if facts is None:
            return None
        target = workdir / "attachments"
        with self._stages("attachments"):
            require_free_disk(workdir, facts.bytes, "the attachments of the drill")
            restored = restore_attachments(
                target,
                index_path=fetched.paths["index"],
                archive_path=fetched.paths["archive"],
                full_archive_path=fetched.full_archive,
            )
        self._unpacked = (restored.files, restored.bytes)
        self._confirm(
            f"{restored.files:,} attachments ({human_bytes(restored.bytes)}) were unpacked, each of them equal"
        )
        return target

    def _try_application(self, scratch: Scratch, name: str, attachments: Path | None, workdir: Path) -> None:
        drill = self._database.drill
        if not (drill.start_command or drill.command):
            self._note("the application was not tried, because neither start_command nor command is set")
            return
        variables = application_variables(scratch.server, name, attachments)
        timeout = self._database.verification.timeout_hours * 3600
        try_application(drill, variables, workdir, self._stages, timeout=timeout, passed=self._confirm)

    # -- the outcome -------------------------------------------------------------------------------------------------

    def _confirm(self, sentence: str) -> None:
        self._confirmed.append(sentence)
        self._log(sentence)

    def _note(self, *sentences: str) -> None:
        for sentence in sentences:
            self._notes.append(sentence)
            self._log(sentence)

    def _fail(self, error: BackupError) -> None:
        remedy = error.remedy
        if not remedy:
            remedy = _OTHER_SET if isinstance(error, CheckFailed) else "mend that, and repeat the drill"
        self._problems.append(Problem(what=error.what, found=error.why, remedy=remedy))

    def _require_past(self) -> None:
        """Fail the drill, not the set, where nobody can say how old the set is: its restore would lose unknown work."""
        chosen = self._chosen
        if chosen is not None and is_in_future(chosen.taken_at, self._started_at):
            self._problems.append(
                Problem(
                    what="the set says that it shows a moment that is still to come",
                    expected=f"a moment before {self._started_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
                    found=f"{chosen.taken_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
                    remedy="a clock was wrong when it was taken, or is now: check those of this machine and of the "
                    "server (timedatectl), take another backup and drill that one",
                )
            )

    def _too_slow(self, total: float) -> Problem:
        slowest = max(self._stages.seconds, key=lambda name: self._stages.seconds[name])
        return Problem(
            what="the restore took longer than promised",
            expected=f"at most {duration(self._database.rto_hours * 3600)} (RTO)",
            found=duration(total),
            remedy=f"the step `{slowest}` took longest ({duration(self._stages.seconds[slowest])}): give it a faster "
            "disk, network or more verification.jobs; or agree on another objectives.rto_hours (RTO_HOURS)",
        )

    def _recorded(self, total: float, within: bool | None) -> Drilled:
        chosen = self._chosen
        record = None
        if chosen is not None:
            record = self._record(chosen, total, within)
            good = self._set_is_good
            verification = None if good is None else verification_of(record, self._earlier, self._manifest, good=good)
            if verification is not None and verification.ordered_at is not None:
                self._note(clock_note(chosen.id, verification.ordered_at))
            if self._after:
                self._note(clock_note(chosen.id, self._after[-1], "drill"))
            self._note(*store_drill(self._settings, self._place, chosen, record, verification))
        drilled = Drilled(
            database=self._database.name,
            env=self._settings.env,
            store=self._choice.name,
            where=self._store.describe(),
            reason=self._choice.reason,
            zone=self._database.schedule.timezone,
            started_at=self._started_at,
            total_seconds=total,
            rto_hours=self._database.rto_hours,
            rpo_hours=self._database.rpo_hours,
            within_rto=within,
            month=self._month,
            set_id=chosen.id if chosen else None,
            taken_at=chosen.taken_at if chosen else None,
            age_hours=record.age_hours if record else None,
            server=self._server,
            fetched_bytes=self._fetched_bytes,
            stages=dict(self._stages.seconds),
            confirmed=tuple(self._confirmed),
            notes=tuple(self._notes),
            problems=tuple(self._problems),
            record=record,
        )
        return replace(drilled, report_path=store_report(self._settings, self._place, drilled))

    def _record(self, chosen: BackupSet, total: float, within: bool | None) -> DrillRecord:
        as_of = self._started_at if self._before is None else min(self._before, self._started_at)
        age: float | None = round(max(0.0, (as_of - chosen.taken_at).total_seconds() / 3600), 3)
        if is_in_future(chosen.taken_at, as_of):
            age = None
        return DrillRecord(
            set_id=chosen.id,
            tool_version=__version__,
            passed=not self._problems,
            started_at=self._started_at,
            problems=tuple(self._problems),
            store=self._store.name,
            stages=self._stages.seconds,
            total_seconds=total,
            rto_hours=self._database.rto_hours,
            within_rto=within,
            taken_at=chosen.taken_at,
            age_hours=age,
            fetched_bytes=self._fetched_bytes,
            database_bytes=self._manifest.server.database_bytes if self._manifest else 0,
            attachment_files=self._unpacked[0],
            attachment_bytes=self._unpacked[1],
            server_major=self._major,
            after=self._after or None,
        )


def _make_removable(directory: Path) -> None:
    """Let the owner remove everything below: attachments bring the modes of their directories with them."""
    for parent, names, _ in os.walk(directory):
        for name in names:
            path = Path(parent) / name
            if not path.is_symlink():
                path.chmod(0o700)
