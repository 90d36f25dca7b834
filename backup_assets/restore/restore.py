"""The guarded restore: everything proven before anything is touched, the present kept until told otherwise."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from backup_assets import __version__
from backup_assets.capture.dump import read_whole_archive
from backup_assets.errors import BackupError, CheckFailed, Refused
from backup_assets.local import place_of, work_directory
from backup_assets.named_stores import catalog_in
from backup_assets.postgres.names import quote_literal
from backup_assets.postgres.server import Server
from backup_assets.postgres.session import one_row, open_session
from backup_assets.restore.attachments import restore_attachments
from backup_assets.restore.beside import holds_files, new_directory_beside, remove_replaced
from backup_assets.restore.comparison import differences
from backup_assets.restore.database import Selection, database_exists, drop_database, restoring_clients
from backup_assets.restore.fetch import FetchedSet, fetch_set
from backup_assets.restore.half_swapped import REMEDY, half_swapped
from backup_assets.restore.leftovers import (
    RESTORING,
    remove_left_databases,
    remove_left_directories,
    sole_restore,
    sole_restore_of_files,
)
from backup_assets.restore.named_files import OpenedFiles
from backup_assets.restore.opening import opened
from backup_assets.restore.recording import store_record
from backup_assets.restore.replacing import Swapped, replace_both, replace_database
from backup_assets.restore.roles import restore_roles, session_for_roles
from backup_assets.restore.scratch import reading_clients, require_extensions
from backup_assets.restore.shown import Shown, identity_of, kept_because_unseen
from backup_assets.restore.swap import (
    LONGEST_NAME_BYTES,
    SwapInDoubt,
    end_sessions,
    maintenance_database,
    side_name,
)
from backup_assets.restore.verification import (
    fingerprints_of,
    reader_for,
    require_attachments,
    require_roles,
    restore_dump_as,
)
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.records import Problem, RestoreRecord
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.source import source_server
from backup_assets.stores.contract import Store

CONFIRMATION = "RESTORE_CONFIRM"


class NotConfirmed(Refused):
    """What would be replaced was only shown: the request bears no confirmation."""


@dataclass(frozen=True)
class RestoreRequest:
    """What is restored, where to, and whether the user has confirmed it.

    ``into``: the database's name on the target, left out for its own. ``server``: left out for the source's own.
    ``attachments_to``: left out for the configured directory. ``drop_old``: do not keep what was replaced.
    """

    into: str | None = None
    server: Server | None = None
    attachments_to: Path | None = None
    with_attachments: bool = True
    with_roles: bool = True
    selection: Selection = field(default_factory=Selection)
    drop_old: bool = False
    confirmed: bool = False
    jobs: int = 2


@dataclass(frozen=True)
class RestorePlan:
    """What a restore would do, as an operator reads it before confirming."""

    set_id: str
    target: str
    database: str
    replaces: tuple[str, ...]
    creates: tuple[str, ...]
    shown: Shown = field(default_factory=Shown)

    def __str__(self) -> str:
        lines = [f"restore of {self.set_id} into database {self.database} at {self.target}"]
        lines += [f"  would replace: {item}" for item in self.replaces] or ["  would replace nothing"]
        lines += [f"  would create: {item}" for item in self.creates]
        return "\n".join(lines)


@dataclass(frozen=True)
class Restored:
    """What was done: the record that was stored, and where the replaced things are now."""

    record: RestoreRecord
    kept: tuple[str, ...]
    rows: int
    tables: int


class Restore:
    """One restore of one set. :meth:`plan` changes nothing; :meth:`run` does it."""

    def __init__(
        self,
        database: DatabaseSettings,
        settings: Settings,
        store: Store,
        chosen: BackupSet,
        request: RestoreRequest,
        *,
        log: Callable[[str], None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        files: OpenedFiles | None = None,
    ) -> None:
        """With ``files``, the files of ``chosen`` are those that the operator named, not those of ``store``.

        The manifest of an encrypted set is decrypted here; raises as `opening.opened` does.
        """
        self._opened = files
        self._database = database
        self._settings = settings
        self._store = store
        self._place = place_of(database, settings)
        self._chosen = chosen if files else opened(store, self._place, chosen, settings.encryption)
        self._request = request
        self._log = log
        self._now = now
        self._server = request.server or source_server(database)
        self._name = _valid_name(request.into, chosen.manifest.source_database)
        self._stages: dict[str, float] = {}
        self._attachments = self._attachments_target()
        self._shown = Shown()

    def _attachments_target(self) -> Path | None:
        manifest = self._chosen.manifest
        if manifest.attachments is None or not self._request.with_attachments or not self._request.selection.everything:
            return None
        # Resolved, so that a directory on another disk is replaced there, and not the link that leads to it.
        if self._request.attachments_to is not None:
            return self._request.attachments_to.resolve()
        if self._name != manifest.source_database or self._server != source_server(self._database):
            return None  # a copy beside the real database does not replace the real files
        configured = self._database.attachments
        return configured.directory.resolve() if configured else None

    @property
    def _partial(self) -> bool:
        """Whether rows are left out, by the request or because the set has those of some tables only."""
        return self._chosen.manifest.kind != "full" or not self._request.selection.everything

    @property
    def compared(self) -> bool:
        """Whether there is a manifest to compare with; without one nothing is recorded either."""
        return self._opened is None or self._opened.compared

    @property
    def content_known(self) -> bool:
        """Whether every table of the set, and its large objects, have content hashes to compare with."""
        return self._chosen.manifest.fingerprints.has_content

    @property
    def content_known_in_part(self) -> bool:
        """Whether at least one table has a content hash to compare with."""
        return any(table.content_hash is not None for table in self._chosen.manifest.fingerprints.tables)

    def plan(self) -> RestorePlan:
        """Return what would be replaced and created; raises EnvironmentFault when the server cannot be asked."""
        replaces: list[str] = []
        creates: list[str] = []
        shown = Shown()
        with open_session(self._server, maintenance_database(self._name)) as session:
            if database_exists(session, self._name):
                oid, size, sessions = one_row(
                    session,
                    "SELECT oid, pg_catalog.pg_size_pretty(pg_catalog.pg_database_size(oid)), (SELECT count(*) FROM "
                    "pg_catalog.pg_stat_activity a WHERE a.datid = d.oid) FROM pg_catalog.pg_database d "
                    f"WHERE datname = {quote_literal(self._name)}",
                )
                fate = "removed" if self._request.drop_old else "kept under another name"
                replaces.append(f"database {self._name} ({size}, {sessions} open sessions; {fate})")
                shown = replace(shown, database_oid=oid)
            else:
                creates.append(f"database {self._name}")
        target = self._attachments
        if target is not None:
            if holds_files(target):
                fate = "removed" if self._request.drop_old else "kept under another name"
                replaces.append(f"attachments {target} ({fate})")
                shown = replace(shown, attachments=identity_of(target))
            else:
                creates.append(f"attachments {target}")
        source = self._chosen.id if self.compared or self._opened is None else str(self._opened.fetched.paths["dump"])
        return RestorePlan(source, self._server.place, self._name, tuple(replaces), tuple(creates), shown)

    def run(self) -> Restored:
        """Restore, compare, and only then replace; returns what was done.

        Raises Refused, nothing changed, without the confirmation; CheckFailed, nothing replaced, when the set is
        damaged or the restored copy differs from the manifest.
        """
        plan = self.plan()
        if self._partial and plan.replaces:
            raise Refused(
                f"only a part of the rows would be restored: that never replaces {plan.replaces[0]}",
                why="every table that is left out would be empty afterwards",
                remedy="name a new database with --into, and copy the rows that are needed from there",
            )
        if not self._request.confirmed:
            raise NotConfirmed(
                f"nothing was changed: a restore needs {CONFIRMATION}=1",
                why=str(plan),
                remedy=f"read the list above; to go on, run the same command with {CONFIRMATION}=1",
            )
        self._log(str(plan).replace("would ", "will "))
        with ExitStack() as sole:
            session = sole.enter_context(sole_restore(self._server, self._name))
            if self._attachments is not None:
                sole.enter_context(sole_restore_of_files(self._settings, self._attachments))
            self._shown = plan.shown
            half = half_swapped(self._settings, session, self._server.place)
            for note in half:
                self._log(f"{note.what}; {REMEDY}")
            remove_left_databases(session, self._name, self._log)
            if self._attachments is not None:
                remove_left_directories(self._attachments, self._now(), self._log, keep=[note.beside for note in half])
            return self._run()

    def _run(self) -> Restored:
        started_at = self._now()
        swapped = Swapped()
        try:
            with work_directory(self._settings, "restore") as workdir:
                swapped = self._replace(workdir, started_at)
            if self._request.drop_old:
                swapped = self._drop_old(swapped)
        except BackupError as error:
            self._record(started_at, (Problem(what=error.what, found=error.why),), swapped.database)
            raise
        record = self._record(started_at, (), swapped.database)
        wanted = self._request.selection
        tables = [t for t in self._chosen.manifest.fingerprints.tables if wanted.includes(t.table_schema, t.name)]
        return Restored(record, swapped.listed(), sum(table.rows for table in tables), len(tables))

    def _replace(self, workdir: Path, at: datetime) -> Swapped:
        fetched = self._prove(workdir)
        new = self._restore_beside(fetched, workdir, at)
        try:
            self._require_equal(new)
            directory = self._attachments_beside(fetched, at)
            return self._swap(new, directory, at)
        except SwapInDoubt:  # nor can the server be asked what to remove
            raise
        except BaseException:
            self._remove(new)
            raise

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self._stages[name] = round(time.monotonic() - begun, 3)
            self._log(f"{name}: {self._stages[name]:.1f} s")

    def _prove(self, workdir: Path) -> FetchedSet:
        """Fetch every file and read all of them to their end, before anything is touched."""
        timeout = self._database.verification.timeout_hours * 3600
        with self._stage("fetch"):
            if self._opened is not None:
                fetched = self._opened.fetched
            else:
                catalog = catalog_in(self._store, self._place)
                fetched = fetch_set(self._store, self._place, catalog, self._chosen, workdir, self._settings.encryption)
        with self._stage("read"):
            dump = fetched.artifact("dump")
            clients = reader_for(self._chosen.manifest, self._settings)
            read_whole_archive(clients, fetched.paths["dump"], dump.format, workdir, timeout=timeout)
            if self._request.with_roles and "globals" in fetched.paths:
                require_roles(fetched)
            if self._attachments is not None:
                require_attachments(fetched)
        return fetched

    def _restore_beside(self, fetched: FetchedSet, workdir: Path, at: datetime) -> str:
        manifest = self._chosen.manifest
        new = side_name(self._name, RESTORING, at)
        with open_session(self._server, maintenance_database(self._name)) as session:
            (number,) = one_row(session, "SELECT current_setting('server_version_num')")
            require_extensions(session, manifest.server.extensions, self._server.place)
            if self._request.with_roles and "globals" in fetched.paths:
                with (
                    self._stage("roles"),
                    session_for_roles(self._server, session, manifest.server.encoding, new) as fitting,
                ):
                    roles = restore_roles(fitting, fetched.paths["globals"])
                self._log(f"roles: {len(roles.created)} created, {len(roles.kept)} left as they are")
                for statement in roles.left_out:
                    self._log(f"roles: left out {statement}")
        archive_major = int(manifest.client.version.split(".")[0])
        found = reading_clients(self._settings, manifest)
        clients = restoring_clients(self._server, found, int(number or 0) // 10000, archive_major)
        try:
            with self._stage("database"):
                restore_dump_as(
                    fetched,
                    self._server,
                    clients,
                    new,
                    workdir,
                    jobs=self._request.jobs,
                    timeout=self._database.verification.timeout_hours * 3600,
                    selection=self._selection(),
                )
        except BaseException:
            self._remove(new)
            raise
        return new

    def _selection(self) -> Selection:
        wanted = self._request.selection
        if wanted.everything and self._chosen.manifest.kind == "full":
            return wanted
        self._require_known(wanted)
        return Selection(wanted.tables, wanted.schemas, without_foreign_keys=True)

    def _require_known(self, wanted: Selection) -> None:
        known = {(table.table_schema, table.name) for table in self._chosen.manifest.fingerprints.tables}
        missing = [f"{s}.{t}" for s, t in sorted(wanted.tables - known)]
        missing += sorted(wanted.schemas - {schema for schema, _ in known})
        if missing:
            raise Refused(
                f"the set {self._chosen.id} has no rows of {', '.join(missing)}",
                why="a partitioned table has its rows in its partitions: name those",
                remedy="`backup-assets show` lists the tables of a set",
            )

    def _require_equal(self, new: str) -> None:
        if not self.compared:
            return
        if problems := self._compare(new):
            raise CheckFailed(
                f"the restored copy of {self._chosen.id} differs from its manifest; nothing was replaced",
                why="; ".join(map(str, problems[:5])),
                remedy="use another set",
            )

    def _compare(self, new: str) -> tuple[Problem, ...]:
        manifest = self._chosen.manifest
        with self._stage("compare"):
            found = fingerprints_of(self._server, new, manifest, content=True)
        expected = manifest.fingerprints
        wanted = self._request.selection
        if not wanted.everything:
            chosen = tuple(t for t in expected.tables if wanted.includes(t.table_schema, t.name))
            there = tuple(t for t in found.tables if wanted.includes(t.table_schema, t.name))
            expected = expected.model_copy(update={"tables": chosen, "integrity": ()})
            found = found.model_copy(update={"tables": there, "integrity": ()})
        return differences(expected, found, content=True)

    def _attachments_beside(self, fetched: FetchedSet, at: datetime) -> Path | None:
        if self._attachments is None:
            return None
        target = new_directory_beside(self._attachments, at)
        try:
            with self._stage("attachments"):
                restore_attachments(
                    target,
                    index_path=fetched.paths["index"],
                    archive_path=fetched.paths["archive"],
                    full_archive_path=fetched.full_archive,
                )
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
        return target

    def _swap(self, new: str, directory: Path | None, at: datetime) -> Swapped:
        with self._stage("swap"):
            if directory is None or self._attachments is None:
                return replace_database(self._server, new, self._name, at)
            databases, directories = (new, self._name), (directory, self._attachments)
            return replace_both(self._settings, self._server, self._chosen.id, databases, directories, at, self._log)

    def _drop_old(self, swapped: Swapped) -> Swapped:
        """Remove what was replaced; return what is kept, because it is not what the plan has shown."""
        database, attachments = swapped.database, swapped.attachments
        with self._stage("drop_old"):
            if database is not None and self._is_shown(database):
                self._remove(database)
                database = None
            if attachments is not None and self._shown.is_attachments(attachments):
                remove_replaced(attachments)
                attachments = None
        kept = Swapped(database, attachments)
        for item in kept.listed():
            self._log(kept_because_unseen(item))
        return kept

    def _is_shown(self, database: str) -> bool:
        with open_session(self._server, maintenance_database(self._name)) as session:
            return self._shown.is_database(session, database)

    def _remove(self, name: str) -> None:
        with open_session(self._server, maintenance_database(self._name)) as session:
            end_sessions(session, name)
            drop_database(session, name)

    def _record(self, at: datetime, problems: tuple[Problem, ...], kept: str | None) -> RestoreRecord:
        record = RestoreRecord(
            set_id=self._chosen.id,
            tool_version=__version__,
            passed=not problems,
            started_at=at,
            problems=problems,
            target=self._server.place,
            database=self._name,
            stages=self._stages,
            kept_old_database=kept,
            partial=not self._request.selection.everything
            or (self._chosen.manifest.attachments is not None and self._attachments is None),
        )
        if not self.compared:
            return record
        try:
            store_record(
                self._store,
                self._settings,
                self._place,
                record,
                self._log,
                withheld=self._chosen.envelope is not None,
            )
        except BackupError as error:
            self._log(f"the restore could not be recorded beside the set: {error.what}")
        return record


def _valid_name(into: str | None, own: str) -> str:
    """Return the name of the database to restore into; raises Refused for one that would not mean what was asked."""
    if into is None:
        return own
    if not into.strip() or "\0" in into:
        raise Refused(
            "the name of the database to restore into is empty",
            why="an empty name is no request to replace the live database",
            remedy="name a database with --into, or leave --into out",
        )
    if len(into.encode()) > LONGEST_NAME_BYTES:
        raise Refused(
            f"the name {into} is too long for a database",
            why=f"it has {len(into.encode())} bytes; PostgreSQL cuts names off after {LONGEST_NAME_BYTES}",
            remedy="choose a shorter name",
        )
    if into in ("template0", "template1"):
        raise Refused(f"nothing is restored into {into}: new databases are made from it", remedy="choose another name")
    return into
