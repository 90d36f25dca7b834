"""One capture from start to commit: preflight, snapshot, dump, globals, attachments, and last the manifest."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from backup_assets import __version__
from backup_assets.capture.attachments import archive_differential, archive_full
from backup_assets.capture.dump import (
    EXTENSIONS,
    DumpPlan,
    client_facts,
    dump_database,
    dump_globals,
    plan_dump,
    read_whole_archive,
    roles_in_globals,
)
from backup_assets.capture.fingerprints import (
    NamedQuery,
    Table,
    dumped_tables,
    parse_integrity_file,
    search_path,
    tables_below,
    take_fingerprints,
)
from backup_assets.capture.preflight import SourceFacts, examine_source, expected_dump_bytes, require_free_disk
from backup_assets.errors import BackupError, CheckFailed, EnvironmentFault
from backup_assets.files import make_private_directory, sha256_of
from backup_assets.postgres.clients import Clients, choose_clients, find_clients
from backup_assets.postgres.names import quote_name, split_table
from backup_assets.postgres.session import Session, one_row, one_value, open_session
from backup_assets.progress import Progress
from backup_assets.restore.attachments_check import check_archive
from backup_assets.restore.attachments_rows import check_rows_and_files
from backup_assets.sets.backup_id import BackupId
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.manifest import (
    Artifact,
    AttachmentsFacts,
    ClientFacts,
    Fingerprints,
    Hold,
    Manifest,
    SnapshotFacts,
)
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.source import source_server
from backup_assets.stores.contract import Place
from backup_assets.stores.folder import FolderStore

Kind = Literal["full", "important_tables"]


@dataclass(frozen=True)
class CaptureRequest:
    """What one run asks for. ``content_hashes`` overrides the setting when given."""

    slot: str
    run_id: str
    kind: Kind = "full"
    label: str | None = None
    hold: Hold | None = None
    content_hashes: Literal["always", "important", "never"] | None = None


@dataclass(frozen=True)
class CheckOutcome:
    """The result of one quick check; ``figures`` are shown with it."""

    name: str
    passed: bool
    summary: str
    figures: dict[str, int | float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Captured:
    """A committed set and what the quick checks found."""

    manifest: Manifest
    checks: tuple[CheckOutcome, ...]


class QuickCheckFailed(CheckFailed):
    """A quick check failed before the commit: there is no set. ``outcomes`` holds all results so far."""

    def __init__(self, outcomes: tuple[CheckOutcome, ...], error: BackupError) -> None:
        super().__init__(error.what, why=error.why, remedy=error.remedy)
        self.outcomes = outcomes


class _Stopwatch:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - begun, 3)


def local_store(settings: Settings) -> FolderStore:
    """Return the store below BACKUP_DIR, in which every set is captured."""
    return FolderStore(settings.backup_dir, name="local")


def place_of(database: DatabaseSettings, settings: Settings) -> Place:
    """Return where the sets of a database lie in every store."""
    return Place(database.store_prefix, settings.env)


class Capture:
    """One capture. Call :meth:`run` once."""

    def __init__(
        self,
        database: DatabaseSettings,
        settings: Settings,
        request: CaptureRequest,
        *,
        progress: Progress,
        log: Callable[[str], None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.database = database
        self.settings = settings
        self.request = request
        self.store = local_store(settings)
        self.place = place_of(database, settings)
        self.catalog = Catalog(self.store, self.place)
        self.server = source_server(database)
        self._progress = progress
        self._log = log
        self._now = now
        self._watch = _Stopwatch()
        self._artifacts: list[Artifact] = []
        self._checks: list[CheckOutcome] = []
        self._warnings: list[str] = []

    def run(self) -> Captured:
        """Capture and commit one set, and return its manifest; nothing is listed unless all of it succeeded.

        Raises QuickCheckFailed when a blocking quick check fails, Refused when another capture of the same database
        runs or the role cannot see everything, EnvironmentFault or TransientFault for everything around it.
        """
        self.store.check()
        work_parent = make_private_directory(self.settings.backup_dir.absolute() / ".work")
        _remove_old_work(work_parent, self._now())
        with self.store.capture_lock(f"{self.place.prefix}-{self.place.env}"):
            for swept in self.store.sweep(self._now()):
                self._log(f"swept a leftover of an earlier run: {swept}")
            workdir = Path(tempfile.mkdtemp(prefix=f"{self.database.name}-", dir=work_parent))
            try:
                return self._run(workdir)
            finally:
                shutil.rmtree(workdir, ignore_errors=True)

    def _run(self, workdir: Path) -> Captured:
        queries = parse_integrity_file(self.database.integrity_sql) if self.database.integrity_sql else ()
        timeout = self.database.dump.timeout_hours * 3600
        with open_session(self.server, self.database.database, timeout=timeout) as session:
            with self._watch.stage("preflight"):
                facts = examine_source(session, self.server.user, now=self._now())
                self._warnings += facts.warnings
                clients, verifier = self._choose_clients(facts)
                client = client_facts(self.server, clients)
                expected = self._require_disk(facts)
            self._log(f"PostgreSQL {facts.server.version} at {self.server.place}; pg_dump {client[0]} from {client[1]}")
            with _exported_snapshot(session, facts) as snapshot:
                set_id = BackupId.make(self.request.slot, self._now(), self.request.run_id)
                tables = self._tables(session)
                schema_version = self._schema_version(session)
                named_files = self._named_files(session, workdir)
                excluded = self._excluded(session, tables)
                plan = self._plan(facts, client[2], excluded)
                fingerprints = self._dump(
                    session, set_id, snapshot, plan, tables, queries, clients, workdir, expected, timeout
                )
        self._check_readable(verifier, set_id, workdir, timeout)
        attachments = None
        if self.request.kind == "full":
            self._globals(set_id, clients, facts, timeout)
            attachments = self._attachments(set_id, named_files, workdir)
        manifest = Manifest(
            id=str(set_id),
            kind=self.request.kind,
            database=self.database.name,
            source_database=self.database.database,
            env=self.settings.env,
            tier=self.database.tier,
            slot=self.request.slot,
            label=self.request.label,
            hold=self.request.hold,
            generated_at=self._now(),
            schema_version=schema_version,
            server=facts.server,
            client=ClientFacts(version=client[0], directory=client[1]),
            snapshot=snapshot,
            artifacts=tuple(self._artifacts),
            fingerprints=fingerprints,
            attachments=attachments,
            requires=(attachments.full_set,) if attachments and attachments.mode == "differential" else (),
            only_tables=self.database.important_tables if self.request.kind == "important_tables" else (),
            durations=self._watch.seconds,
            warnings=tuple(self._warnings),
            tool_version=__version__,
        )
        self._commit(manifest, workdir)
        return Captured(manifest, tuple(self._checks))

    def _choose_clients(self, facts: SourceFacts) -> tuple[Clients | None, Clients]:
        """Return the clients that dump (None inside a container) and those that read the archive back here."""
        found = find_clients(self.settings.client_bin_dir)
        if self.server.container is None:
            clients = choose_clients(found, facts.server.major)
            return clients, clients
        return None, newest_reader(found, facts.server.major)

    def _require_disk(self, facts: SourceFacts) -> int | None:
        previous = next((s.manifest for s in self.catalog.sets() if s.manifest.kind == self.request.kind), None)
        dump = previous.artifact("dump") if previous else None
        needed = expected_dump_bytes(facts.server.database_bytes, dump.size_bytes if dump else None)
        archive = previous.artifact("archive") if previous else None
        if self.request.kind == "full" and archive:
            needed += int(archive.size_bytes * 1.25)
        require_free_disk(self.settings.backup_dir, needed, f"the set of {self.database.name}")
        return dump.size_bytes if dump else None

    def _tables(self, session: Session) -> list[Table]:
        if self.request.kind == "important_tables":
            return tables_below(session, self.database.important_tables)
        return dumped_tables(session)

    def _excluded(self, session: Session, tables: list[Table]) -> tuple[Table, ...]:
        if self.request.kind == "full":
            return ()
        wanted = set(tables)
        return tuple(table for table in dumped_tables(session) if table not in wanted)

    def _plan(self, facts: SourceFacts, zstd: bool, excluded: tuple[Table, ...]) -> DumpPlan:
        dump = self.database.dump
        plan, warnings = plan_dump(
            in_container=self.server.container is not None,
            zstd=zstd,
            database_bytes=facts.server.database_bytes,
            jobs=dump.jobs,
            parallel_above_bytes=dump.parallel_above_gb * 1e9,
            zstd_level=dump.zstd_level,
        )
        self._warnings += warnings
        if self.request.kind == "full":
            return plan
        return DumpPlan(plan.format, plan.zstd_level, plan.jobs, excluded, large_objects=False)

    def _schema_version(self, session: Session) -> str | None:
        if self.database.schema_version_query is None:
            return None
        session.execute(f"SET search_path = {search_path(session)}")
        try:
            return one_value(session, self.database.schema_version_query)
        except EnvironmentFault as error:
            raise EnvironmentFault(
                "the schema-version query failed", why=error.why or error.what, remedy="correct SCHEMA_VERSION_QUERY"
            ) from error

    def _named_files(self, session: Session, workdir: Path) -> Path | None:
        """Write the file names that rows hold in the snapshot, each ended by a NUL, and return that file."""
        attachments = self.database.attachments
        if attachments is None or not attachments.files or self.request.kind != "full":
            return None
        path = workdir / "named-files"
        with path.open("wb") as handle:
            for source in attachments.files:
                schema, table = split_table(source.table)
                column = quote_name(source.column)
                query = (
                    f"SELECT {column}::text FROM {quote_name(schema)}.{quote_name(table)} "
                    f"WHERE {column} IS NOT NULL AND {column}::text <> ''"
                )
                for (name,) in session.rows(query):
                    handle.write(str(name).removeprefix(source.strip_prefix).encode() + b"\0")
        return path

    def _dump(
        self,
        session: Session,
        set_id: BackupId,
        snapshot: SnapshotFacts,
        plan: DumpPlan,
        tables: list[Table],
        queries: tuple[NamedQuery, ...],
        clients: Clients | None,
        workdir: Path,
        expected: int | None,
        timeout: float,
    ) -> Fingerprints:
        hashed = self._hashed(session)
        path = search_path(session)

        def figures() -> Fingerprints:
            with self._watch.stage("fingerprints"):
                return take_fingerprints(
                    session,
                    tables=tables,
                    hashed=hashed,
                    everything=self.request.kind == "full",
                    queries=queries if self.request.kind == "full" else (),
                    path=path,
                    hash_large_objects=hashed is None,
                )

        name = f"db/{set_id}.{EXTENSIONS[plan.format]}"
        partial = self.store.partial_for(self.place.key(name))
        try:
            with _beside(figures, session) as result, self._watch.stage("dump"):
                dump_database(
                    self.server,
                    clients,
                    self.database.database,
                    plan,
                    partial,
                    workdir,
                    snapshot=snapshot.name,
                    progress=self._progress,
                    expected_bytes=expected,
                    timeout=timeout,
                )
            self._adopt("db", "dump", name, plan.format, partial)
        finally:
            partial.unlink(missing_ok=True)
        return result.value()

    def _hashed(self, session: Session) -> frozenset[Table] | None:
        wanted = self.request.content_hashes or self.database.dump.content_hashes
        if wanted == "always":
            return None
        if wanted == "important":
            return frozenset(tables_below(session, self.database.important_tables))
        return frozenset()

    def _adopt(self, kind: str, role: str, name: str, form: str, partial: Path, sha256: str | None = None) -> None:
        with self._watch.stage("commit"):
            digest = sha256 or sha256_of(partial)
            size = partial.stat().st_size
            artifact = Artifact.model_validate(
                {"kind": kind, "role": role, "name": name, "format": form, "size_bytes": size, "sha256": digest}
            )
            self.store.adopt(self.place.key(name), partial, sha256=digest, size=size)
        self._artifacts.append(artifact)

    def _check_readable(self, clients: Clients, set_id: BackupId, workdir: Path, timeout: float) -> None:
        dump = next(artifact for artifact in self._artifacts if artifact.role == "dump")
        with self._watch.stage("readable"), self._blocking("readable"):
            read_whole_archive(
                clients, self.store.path_of(self.place.key(dump.name)), dump.format, workdir, timeout=timeout
            )
            self._pass("readable", f"the whole archive of {set_id} was read", archive_bytes=dump.size_bytes)

    @contextmanager
    def _blocking(self, check: str) -> Iterator[None]:
        try:
            yield
        except CheckFailed as error:
            self._checks.append(CheckOutcome(check, False, str(error)))
            raise QuickCheckFailed(tuple(self._checks), error) from error

    def _pass(self, check: str, summary: str, **figures: int | float | str) -> None:
        self._checks.append(CheckOutcome(check, True, summary, figures))

    def _globals(self, set_id: BackupId, clients: Clients | None, facts: SourceFacts, timeout: float) -> None:
        name = f"globals/{set_id}.sql"
        partial = self.store.partial_for(self.place.key(name))
        try:
            with self._watch.stage("globals"), self._blocking("roles_present"):
                dump_globals(
                    self.server, clients, self.database.database, partial, passwords=facts.superuser, timeout=timeout
                )
                present = roles_in_globals(partial.read_text(encoding="utf-8"))
                if missing := sorted(set(facts.server.roles) - present):
                    raise CheckFailed(
                        "the globals lack roles that the database needs",
                        why=f"missing: {', '.join(missing)}",
                        remedy="run the capture again; were roles dropped while it ran?",
                    )
                self._pass("roles_present", "every role that the database needs is there", role_count=len(present))
            self._adopt("globals", "globals", name, "sql", partial)
        finally:
            partial.unlink(missing_ok=True)

    def _attachments(self, set_id: BackupId, named_files: Path | None, workdir: Path) -> AttachmentsFacts | None:
        wanted = self.database.attachments
        if wanted is None:
            return None
        archive_name, index_name = f"assets/{set_id}.tar.zst", f"assets/{set_id}.index.tsv.zst"
        archive = self.store.partial_for(self.place.key(archive_name))
        index = self.store.partial_for(self.place.key(index_name))
        full = self._usable_full(timedelta(days=wanted.full_every_days))

        def report(done: int) -> None:
            self._progress("attachments", done, None)

        try:
            with self._watch.stage("attachments"):
                if full is None:
                    archived = archive_full(wanted.directory, archive, index, set_id=str(set_id), on_progress=report)
                else:
                    archived = archive_differential(
                        wanted.directory,
                        full[1],
                        archive,
                        index,
                        set_id=str(set_id),
                        full_set=full[0],
                        on_progress=report,
                    )
            with self._watch.stage("matches_index"), self._blocking("matches_index"):
                outcome = check_archive(index, archive)
                if not outcome.ok:
                    raise CheckFailed(
                        "the attachment archive does not match its index",
                        why="; ".join(outcome.problems[:5]),
                        remedy="run the capture again; if it stays, check the disk",
                    )
                self._pass("matches_index", "every archived entry equals its index", entries=outcome.entries)
            self._adopt("assets", "archive", archive_name, "tar.zst", archive, archived.archive_sha256)
            self._adopt("assets", "index", index_name, "index.tsv.zst", index, archived.index_sha256)
        finally:
            archive.unlink(missing_ok=True)
            index.unlink(missing_ok=True)
        if named_files is not None:
            self._check_rows_and_files(named_files, self.place.key(index_name), workdir)
        return archived.facts

    def _usable_full(self, age: timedelta) -> tuple[str, Path] | None:
        """Return id and index of the newest full archive that is young enough and still whole in the local store."""
        for found in self.catalog.sets():
            facts = found.manifest.attachments
            index = found.manifest.artifact("index")
            if facts is None or facts.mode != "full" or index is None or found.state != "complete":
                continue
            if found.manifest.snapshot.taken_at < self._now() - age:
                return None
            path = self.store.path_of(self.place.key(index.name))
            return (found.manifest.id, path) if sha256_of(path) == index.sha256 else None
        return None

    def _check_rows_and_files(self, named_files: Path, index_key: str, workdir: Path) -> None:
        with self._watch.stage("rows_and_files"):
            agreement = check_rows_and_files(_read_names(named_files), self.store.path_of(index_key), workdir)
        summary = "every file that a row names is in the archive"
        if agreement.missing_files:
            examples = ", ".join(agreement.missing_examples)
            summary = f"{agreement.missing_files} rows name a file that is not there, for example: {examples}"
        figures: dict[str, int | float | str] = {
            "missing_files": agreement.missing_files,
            "unnamed_files": agreement.unnamed_files,
        }
        self._checks.append(CheckOutcome("rows_and_files_agree", not agreement.missing_files, summary, figures))

    def _commit(self, manifest: Manifest, workdir: Path) -> None:
        content = manifest.to_json()
        path = workdir / "manifest.json"
        path.write_bytes(content)
        self.store.put(self.place.manifest_key(manifest.id), path, sha256=sha256_of(path), size=len(content))


def newest_reader(found: tuple[Clients, ...], major: int) -> Clients:
    """Return clients that can read an archive made by pg_dump of ``major``."""
    able = sorted((clients for clients in found if clients.major >= major), key=lambda clients: clients.major)
    if able:
        return able[0]
    return choose_clients(found, major)  # raises, saying what was found and what to install


def _read_names(path: Path) -> Iterator[str]:
    with path.open("rb") as handle:
        rest = b""
        while chunk := handle.read(1 << 20):
            *whole, rest = (rest + chunk).split(b"\0")
            for name in whole:
                yield name.decode()


def _remove_old_work(parent: Path, now: datetime) -> None:
    for directory in parent.iterdir():
        if directory.stat().st_mtime < (now - timedelta(days=1)).timestamp():
            shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _exported_snapshot(session: Session, facts: SourceFacts) -> Iterator[SnapshotFacts]:
    """Hold one read-only transaction open, whose snapshot pg_dump and the fingerprints share."""
    session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    position = "pg_last_wal_replay_lsn" if facts.in_recovery else "pg_current_wal_lsn"
    name, taken_at, lsn = one_row(
        session, f"SELECT pg_catalog.pg_export_snapshot(), clock_timestamp(), pg_catalog.{position}()"
    )
    yield SnapshotFacts(taken_at=datetime.fromisoformat(str(taken_at)), lsn=str(lsn), name=str(name))
    session.execute("COMMIT")


class _Result:
    def __init__(self) -> None:
        self._value: Fingerprints | None = None
        self._error: BaseException | None = None

    def run(self, work: Callable[[], Fingerprints]) -> None:
        try:
            self._value = work()
        except BaseException as error:  # noqa: BLE001 - carried over to the thread that waits, and raised there
            self._error = error

    def value(self) -> Fingerprints:
        if self._error is not None:
            raise self._error
        if self._value is None:
            raise AssertionError("the work has not ended")
        return self._value


@contextmanager
def _beside(work: Callable[[], Fingerprints], session: Session) -> Iterator[_Result]:
    """Run ``work`` in a second thread beside the block; when the block fails, interrupt it."""
    result = _Result()
    thread = threading.Thread(target=result.run, args=(work,), daemon=True)
    thread.start()
    try:
        yield result
    except BaseException:
        session.interrupt()
        raise
    finally:
        thread.join()
