"""One capture from start to commit: preflight, snapshot, dump, globals, attachments, and last the manifest."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backup_assets import __version__
from backup_assets.capture.attachments import archive_differential, archive_full, warnings_about
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
from backup_assets.capture.full_archive import newest_full_archive
from backup_assets.capture.preflight import SourceFacts, examine_source, expected_dump_bytes, require_free_disk
from backup_assets.capture.quick_checks import CheckOutcome, QuickCheckFailed, QuickChecks
from backup_assets.capture.request import Captured, CaptureRequest
from backup_assets.capture.secrets import SealedSecrets, seal_secrets
from backup_assets.capture.snapshot import exported_snapshot, read_named_files, read_schema_version, write_named_files
from backup_assets.ciphers.configured import configured_cipher
from backup_assets.ciphers.contract import require_content
from backup_assets.errors import EnvironmentFault
from backup_assets.files import sha256_of
from backup_assets.local import local_store, place_of, work_directory
from backup_assets.postgres.clients import Clients, choose_clients, find_clients
from backup_assets.postgres.server import Server
from backup_assets.postgres.session import Session, open_session
from backup_assets.progress import Progress
from backup_assets.sets.backup_id import BackupId
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.manifest import (
    Artifact,
    AttachmentsFacts,
    ClientFacts,
    Fingerprints,
    Manifest,
    RebuiltFacts,
    SnapshotFacts,
)
from backup_assets.settings import AttachmentsSettings, DatabaseSettings, Settings
from backup_assets.source import source_server

__all__ = ["Capture", "CaptureRequest", "Captured", "CheckOutcome", "QuickCheckFailed", "local_store", "place_of"]


@dataclass(frozen=True)
class _Tools:
    """The programs of one capture: what dumps (None inside a container), and what reads an archive back here."""

    clients: Clients | None
    reader: Clients
    facts: ClientFacts
    zstd: bool


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
        self._watch = _Stopwatch()
        self._checks = QuickChecks()
        self._artifacts: list[Artifact] = []
        self._warnings: list[str] = []

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
            with self._watch.stage("preflight"):
                facts = examine_source(session, self.server.user, now=self._now())
                self._warnings += (*facts.warnings, *(self.request.past.notes if self.request.past else ()))
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
        archived = self._attachments(attachments, set_id, named_files, workdir) if attachments is not None else None
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
            artifacts=tuple(self._artifacts),
            fingerprints=fingerprints,
            attachments=archived,
            secrets=sealed.facts if sealed is not None else None,
            requires=(archived.full_set,) if archived and archived.mode == "differential" else (),
            only_tables=self.database.important_tables if self.request.kind == "important_tables" else (),
            durations=self._watch.seconds,
            warnings=tuple(self._warnings),
            tool_version=__version__,
        )
        self._require_there(manifest)
        content = manifest.to_json()
        key = self.place.manifest_key(manifest.id)
        self.store.put(key, content, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
        return Captured(manifest, tuple(self._checks.outcomes))

    def _require_there(self, manifest: Manifest) -> None:
        """Raise EnvironmentFault unless every file is there in its size: hours may have passed since it was stored."""
        found = {artifact.name: self.store.stat(self.place.key(artifact.name)) for artifact in manifest.artifacts}
        lost = [a.name for a in manifest.artifacts if (one := found[a.name]) is None or one.size != a.size_bytes]
        if lost:
            raise EnvironmentFault(
                f"the set {manifest.id} is not committed: what was stored of it is not there any more",
                why=f"{', '.join(lost)} is gone from {self.store.describe()}, or has another size",
                remedy="find out what removes files there, a `backup-assets sweep --apply` meanwhile perhaps, then "
                "take the backup again",
            )

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
        self._warnings += warnings
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
            with self._watch.stage("fingerprints"):
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
        partial = self.store.partial_for(self.place.key(name))
        target = workdir / "dump.d" if plan.format == "pg_directory.tar" else partial
        try:
            with beside(figures, session.interrupt) as result, self._watch.stage("dump"):
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
            with self._watch.stage("readable"), self._checks.blocking("readable"):
                sha256 = self._read_back(tools.reader, plan, target, partial, workdir)
                self._checks.passed(
                    "readable", f"the whole archive of {set_id} was read", size_bytes=partial.stat().st_size
                )
            self._adopt("db", "dump", name, plan.format, partial, sha256)
        finally:
            partial.unlink(missing_ok=True)
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

    def _adopt(
        self, kind: str, role: str, name: str, form: str, partial: Path, sha256: str, encryption: str | None = None
    ) -> None:
        with self._watch.stage("commit"):
            size = partial.stat().st_size
            described = {"kind": kind, "role": role, "name": name, "format": form, "encryption": encryption}
            artifact = Artifact.model_validate({**described, "size_bytes": size, "sha256": sha256})
            self.store.adopt(self.place.key(name), partial, sha256=sha256, size=size)
        self._artifacts.append(artifact)

    def _globals(self, set_id: BackupId, tools: _Tools, facts: SourceFacts) -> None:
        name = f"globals/{set_id}.sql"
        partial = self.store.partial_for(self.place.key(name))
        try:
            with self._watch.stage("globals"), self._checks.blocking("roles_present"):
                dump_globals(
                    self.server,
                    tools.clients,
                    self.database.database,
                    partial,
                    passwords=facts.superuser,
                    timeout=self._timeout,
                )
                self._checks.roles_present(partial.read_text(encoding="utf-8"), facts.server.roles)
            self._adopt("globals", "globals", name, "sql", partial, sha256_of(partial))
        finally:
            partial.unlink(missing_ok=True)

    def _seal_secrets(self, workdir: Path) -> SealedSecrets | None:
        wanted = self.database.secrets
        if wanted is None or not self.request.is_whole:
            return None
        with self._watch.stage("secrets"):
            sealed = seal_secrets(self.database, wanted, self.settings, workdir, now=self._now())
        self._log(f"{len(sealed.facts.entries)} secrets encrypted to {', '.join(sealed.facts.recipients)}")
        return sealed

    def _secrets(self, sealed: SealedSecrets, set_id: BackupId) -> None:
        name = f"secrets/{set_id}.tar{sealed.suffix}"
        partial = self.store.partial_for(self.place.key(name))
        try:
            sealed.path.rename(partial)  # the work directory is on the same disk
            with self._watch.stage("secrets"), self._checks.blocking("encrypted"):
                configured_cipher(self.settings.encryption).verify_message(partial, size_plain=sealed.size_plain)
                require_content(sha256_of(partial), sealed.sha256, "the encrypted file of the secrets")
                self._checks.passed(
                    "encrypted",
                    f"one whole message to {', '.join(sealed.facts.recipients)}",
                    size_bytes=sealed.size_bytes,
                )
            self._adopt("secrets", "secrets", name, "tar", partial, sealed.sha256, sealed.cipher)
        finally:
            partial.unlink(missing_ok=True)

    def _attachments(
        self, wanted: AttachmentsSettings, set_id: BackupId, named_files: Path | None, workdir: Path
    ) -> AttachmentsFacts:
        archive_name, index_name = f"assets/{set_id}.tar.zst", f"assets/{set_id}.index.tsv.zst"
        archive = self.store.partial_for(self.place.key(archive_name))
        index = self.store.partial_for(self.place.key(index_name))
        full = None if self._must_stand_alone else self._usable_full(timedelta(days=wanted.full_every_days))

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
            self._require_not_suddenly_empty(wanted, archived.facts)
            with self._watch.stage("matches_index"), self._checks.blocking("matches_index"):
                self._checks.matches_index(index, archive)
            if named_files is not None:
                with self._watch.stage("rows_and_files"):
                    self._checks.rows_and_files_agree(read_named_files(named_files), index, workdir)
            self._adopt("assets", "archive", archive_name, "tar.zst", archive, archived.archive_sha256)
            self._adopt("assets", "index", index_name, "index.tsv.zst", index, archived.index_sha256)
        finally:
            archive.unlink(missing_ok=True)
            index.unlink(missing_ok=True)
        self._warnings += warnings_about(archived.facts)
        return archived.facts

    def _require_not_suddenly_empty(self, wanted: AttachmentsSettings, facts: AttachmentsFacts) -> None:
        """Refuse what an unmounted share looks like: an empty directory where there were files before."""
        previous = next((m.attachments for m in self.catalog.manifests_newest_first() if m.attachments), None)
        if facts.files == 0 and previous is not None and previous.files > 0:
            raise EnvironmentFault(
                f"the attachments directory {wanted.directory} is empty, the last set had {previous.files} files",
                why="this is what a share that is not mounted looks like",
                remedy="mount it; if the files are gone on purpose, leave one file in the directory that says so",
            )

    @property
    def _must_stand_alone(self) -> bool:
        """Whether the set may need no other: a bucket that removes by class keeps a differential no longer for a hold.

        Who holds it later gives it another class, for which not every role is allowed (retention/bucket_holds.py).
        """
        return self.request.hold is not None and any(store.retention_tags for store in self.settings.stores)

    def _usable_full(self, age: timedelta) -> tuple[str, Path] | None:
        """Return id and index of the newest full archive, if it is young enough and whole in the local store."""
        found = newest_full_archive(self.store, self.catalog, age, self._now())
        if found is None or found.index is None:
            if found is not None:
                warning = f"all attachments were archived anew: {found.damage}, and {found.set_id} can be no base"
                self._log(warning)
                self._warnings.append(warning)
            return None
        return found.set_id, found.index


def newest_reader(found: tuple[Clients, ...], major: int) -> Clients:
    """Return clients of this machine that can read an archive made by pg_dump of ``major``, the closest first."""
    able = sorted((clients for clients in found if clients.major >= major), key=lambda clients: clients.major)
    if able:
        return able[0]
    return choose_clients(found, major)  # raises, saying what was found and what to install
