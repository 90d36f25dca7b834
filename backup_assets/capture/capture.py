"""One capture from start to commit: preflight, snapshot, dump, globals, attachments, and last the manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from backup_assets import __version__
from backup_assets.capture.attachments_taken import take_attachments
from backup_assets.capture.attachments_walk import require_directory
from backup_assets.capture.beside import beside
from backup_assets.capture.directory_dump import pack_directory, read_whole_directory
from backup_assets.capture.dump import (
    EXTENSIONS,
    DumpPlan,
    client_facts,
    dump_database,
    dump_globals,
    plan_dump,
    read_whole_archive,
    wait_for_locks_as_long,
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
from backup_assets.capture.request import Captured, CaptureRequest
from backup_assets.capture.secrets import SealedSecrets, seal_secrets
from backup_assets.capture.snapshot import exported_snapshot, read_schema_version, write_named_files
from backup_assets.capture.unfinished import Unfinished
from backup_assets.ciphers.configured import configured_cipher
from backup_assets.ciphers.contract import require_content
from backup_assets.files import sha256_of
from backup_assets.local import local_store, place_of, work_directory
from backup_assets.postgres.clients import Clients, choose_clients, find_clients, newest_reader
from backup_assets.postgres.server import Server
from backup_assets.postgres.session import Session, open_session
from backup_assets.progress import Progress
from backup_assets.sets.backup_id import BackupId
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.manifest import (
    AttachmentsFacts,
    ClientFacts,
    Fingerprints,
    Manifest,
    RebuiltFacts,
    SnapshotFacts,
)
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.source import source_server


@dataclass(frozen=True)
class _Tools:
    """The programs of one capture: what dumps (None inside a container), and what reads an archive back here."""

    clients: Clients | None
    reader: Clients
    facts: ClientFacts
    zstd: bool


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
        server: Server | None = None,
    ) -> None:
        """``server`` holds the database in the place of the configured one."""
        self._server = server
        self.database = database
        self.settings = settings
        self.request = request
        self.store = local_store(settings)
        self.place = place_of(database, settings)
        self._progress = progress
        self._log = log
        self._now = now
        self._timeout = database.dump.timeout_hours * 3600
        self._unfinished = Unfinished(self.store, self.place)

    def run(self) -> Captured:
        """Capture and commit one set, and return its manifest; nothing is listed unless all of it succeeded.

        Raises QuickCheckFailed when a blocking quick check fails, Refused when another capture of the same database
        runs or the role cannot see everything, EnvironmentFault or TransientFault for everything around it.
        """
        self.store.check()
        self.server = self._server or source_server(self.database)
        with self.store.capture_lock(f"{self.place.prefix}-{self.place.env}", run=self.request.run_id):
            for swept in self.store.sweep(self._now(), only=self.place):
                self._log(f"swept a leftover of an earlier run: {swept}")
            self.catalog = Catalog(self.store, self.place)
            with work_directory(self.settings, self.database.name) as workdir:
                return self._run(workdir)

    def _run(self, workdir: Path) -> Captured:
        queries = parse_integrity_file(self.database.integrity_sql) if self.database.integrity_sql else ()
        attachments = self.database.attachments if self.request.is_whole else None
        # First: what cannot be read is said before hours of dumping.
        if attachments is not None:
            require_directory(attachments.directory)
        sealed = self._seal_secrets(workdir)
        named_files: Path | None = None
        with open_session(self.server, self.database.database, timeout=self._timeout) as session:
            wait_for_locks_as_long(session)
            with self._unfinished.stage("preflight"):
                facts = examine_source(session, self.server.user, now=self._now())
                self._unfinished.warnings += (*facts.warnings, *(self.request.past.notes if self.request.past else ()))
                tools = self._choose_tools(facts)
                expected = self._require_disk(facts, workdir)
            self._log(
                f"PostgreSQL {facts.server.version} at {self.server.place}; "
                f"pg_dump {tools.facts.version} from {tools.facts.directory}"
            )
            with exported_snapshot(session, in_recovery=facts.in_recovery) as exported:
                snapshot = self._shown(exported)
                set_id = BackupId.make(self.request.slot, self._moment(), self.request.run_id)
                schema_version = read_schema_version(session, self.database.schema_version_query)
                if attachments is not None and attachments.files:
                    named_files = write_named_files(session, attachments.files, workdir / "named-files")
                fingerprints = self._dump(session, set_id, snapshot, facts, queries, tools, workdir, expected)
        self._globals(set_id, tools, facts)
        archived: AttachmentsFacts | None = None
        if attachments is not None:
            archived = take_attachments(
                self._unfinished,
                attachments,
                set_id,
                self.catalog,
                named_files,
                workdir,
                stands_alone=self._must_stand_alone,
                now=self._now(),
                progress=self._progress,
                log=self._log,
            )
        if sealed is not None:
            self._secrets(sealed, set_id)
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
            client=tools.facts,
            snapshot=snapshot,
            rebuilt=self._rebuilt(exported),
            artifacts=tuple(self._unfinished.artifacts),
            fingerprints=fingerprints,
            attachments=archived,
            secrets=sealed.facts if sealed is not None else None,
            requires=(archived.full_set,) if archived and archived.mode == "differential" else (),
            only_tables=self.database.important_tables if self.request.kind == "important_tables" else (),
            durations=self._unfinished.durations,
            warnings=tuple(self._unfinished.warnings),
            tool_version=__version__,
        )
        self._unfinished.commit(manifest)
        return Captured(manifest, tuple(self._unfinished.checks.outcomes))

    def _moment(self) -> datetime:
        """Return the time in the set's id, by which sets are ordered."""
        return self.request.past.moment if self.request.past else self._now()

    def _shown(self, exported: SnapshotFacts) -> SnapshotFacts:
        """Return the snapshot with the moment that its data shows: of a server that was restored, an earlier one."""
        past = self.request.past
        return exported.model_copy(update={"taken_at": past.moment}) if past else exported

    def _rebuilt(self, exported: SnapshotFacts) -> RebuiltFacts | None:
        past = self.request.past
        if past is None:
            return None
        return RebuiltFacts(source=past.source, server=past.server, dumped_at=exported.taken_at)

    def _choose_tools(self, facts: SourceFacts) -> _Tools:
        found = find_clients(self.settings.client_bin_dir)
        clients = choose_clients(found, facts.server.major) if self.server.container is None else None
        version, place, zstd = client_facts(self.server, clients)
        reader = clients or newest_reader(found, int(version.split(".")[0]))
        return _Tools(clients, reader, ClientFacts(version=version, directory=place), zstd)

    def _require_disk(self, facts: SourceFacts, workdir: Path) -> int | None:
        """Require room for the set, and return how large the dump was last time."""
        kind = self.request.kind
        previous = next((s for s in self.catalog.manifests_newest_first() if s.kind == kind), None)
        dump = previous.artifact("dump") if previous else None
        needed = expected_dump_bytes(facts.server.database_bytes, dump.size_bytes if dump else None)
        if self._parallel(facts):
            needed *= 2  # the directory, and the tar that is made of it
        archive = previous.artifact("archive") if previous else None
        if kind == "full" and archive:
            needed += int(archive.size_bytes * 1.25)
        require_free_disk(workdir, needed, f"the set of {self.database.name}")
        return dump.size_bytes if dump else None

    def _parallel(self, facts: SourceFacts) -> bool:
        dump = self.database.dump
        return dump.jobs is not None or facts.server.database_bytes > dump.parallel_above_gb * 1e9

    def _plan(self, facts: SourceFacts, tools: _Tools, excluded: tuple[Table, ...]) -> DumpPlan:
        plan, warnings = plan_dump(
            in_container=self.server.container is not None,
            zstd=tools.zstd,
            parallel=self._parallel(facts),
            jobs=self.database.dump.jobs,
            zstd_level=self.database.dump.zstd_level,
        )
        self._unfinished.warnings += warnings
        return replace(plan, excluded=excluded, large_objects=self.request.kind == "full")

    def _dump(
        self,
        session: Session,
        set_id: BackupId,
        snapshot: SnapshotFacts,
        facts: SourceFacts,
        queries: tuple[NamedQuery, ...],
        tools: _Tools,
        workdir: Path,
        expected: int | None,
    ) -> Fingerprints:
        whole = self.request.kind == "full"
        there = dumped_tables(session)
        tables = there if whole else tables_below(session, self.database.important_tables)
        excluded = tuple(table for table in there if table not in set(tables))
        plan = self._plan(facts, tools, excluded)
        hashed = self._hashed(session)
        path = search_path(session)

        def figures() -> Fingerprints:
            with self._unfinished.stage("fingerprints"):
                return take_fingerprints(
                    session,
                    tables=tables,
                    hashed=hashed,
                    everything=whole,
                    queries=queries if whole else (),
                    path=path,
                    hash_large_objects=hashed is None,
                )

        name = f"db/{set_id}.{EXTENSIONS[plan.format]}"
        with self._unfinished.partial(name) as partial:
            target = workdir / "dump.d" if plan.format == "pg_directory.tar" else partial
            with beside(figures, session.interrupt) as result, self._unfinished.stage("dump"):
                dump_database(
                    self.server,
                    tools.clients,
                    self.database.database,
                    plan,
                    target,
                    snapshot=snapshot.name,
                    progress=self._progress,
                    expected_bytes=expected,
                    timeout=self._timeout,
                )
            with self._unfinished.stage("readable"), self._unfinished.checks.blocking("readable"):
                sha256 = self._read_back(tools.reader, plan, target, partial, workdir)
                self._unfinished.checks.passed(
                    "readable", f"the whole archive of {set_id} was read", size_bytes=partial.stat().st_size
                )
            self._unfinished.adopt("db", "dump", name, plan.format, partial, sha256)
        return result.value()

    def _read_back(self, reader: Clients, plan: DumpPlan, target: Path, partial: Path, workdir: Path) -> str:
        """Read the whole dump and hash its stored form at the same time; return the SHA-256."""

        def read() -> None:
            if plan.format == "pg_directory.tar":
                read_whole_directory(reader, target, workdir, jobs=plan.jobs, timeout=self._timeout)
            else:
                read_whole_archive(reader, target, plan.format, workdir, timeout=self._timeout)

        with beside(read) as outcome:
            if plan.format == "pg_directory.tar":
                pack_directory(target, partial)
            sha256 = sha256_of(partial)
        outcome.value()
        return sha256

    def _hashed(self, session: Session) -> frozenset[Table] | None:
        wanted = self.request.content_hashes or self.database.dump.content_hashes
        if wanted == "always":
            return None
        if wanted == "important":
            return frozenset(tables_below(session, self.database.important_tables))
        return frozenset()

    def _globals(self, set_id: BackupId, tools: _Tools, facts: SourceFacts) -> None:
        name = f"globals/{set_id}.sql"
        with self._unfinished.partial(name) as partial:
            with self._unfinished.stage("globals"), self._unfinished.checks.blocking("roles_present"):
                dump_globals(
                    self.server,
                    tools.clients,
                    self.database.database,
                    partial,
                    passwords=facts.superuser,
                    timeout=self._timeout,
                )
                self._unfinished.checks.roles_present(partial.read_text(encoding="utf-8"), facts.server.roles)
            self._unfinished.adopt("globals", "globals", name, "sql", partial, sha256_of(partial))

    def _seal_secrets(self, workdir: Path) -> SealedSecrets | None:
        wanted = self.database.secrets
        if wanted is None or not self.request.is_whole:
            return None
        with self._unfinished.stage("secrets"):
            sealed = seal_secrets(self.database, wanted, self.settings, workdir, now=self._now())
        self._log(f"{len(sealed.facts.entries)} secrets encrypted to {', '.join(sealed.facts.recipients)}")
        return sealed

    def _secrets(self, sealed: SealedSecrets, set_id: BackupId) -> None:
        name = f"secrets/{set_id}.tar{sealed.suffix}"
        with self._unfinished.partial(name) as partial:
            sealed.path.rename(partial)  # the work directory is on the same disk
            with self._unfinished.stage("secrets"), self._unfinished.checks.blocking("encrypted"):
                configured_cipher(self.settings.encryption).verify_message(partial, size_plain=sealed.size_plain)
                require_content(sha256_of(partial), sealed.sha256, "the encrypted file of the secrets")
                self._unfinished.checks.passed(
                    "encrypted",
                    f"one whole message to {', '.join(sealed.facts.recipients)}",
                    size_bytes=sealed.size_bytes,
                )
            self._unfinished.adopt("secrets", "secrets", name, "tar", partial, sealed.sha256, sealed.cipher)

    @property
    def _must_stand_alone(self) -> bool:
        """Whether the set may need no other: a bucket that removes by class keeps a differential no longer for a hold.

        Who holds it later gives it another class, for which not every role is allowed (retention/bucket_holds.py).
        """
        return self.request.hold is not None and any(store.retention_tags for store in self.settings.stores)
