"""Whether a set is what its manifest says, at four levels, and the record of the answer."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from backup_assets import __version__
from backup_assets.capture.attachments_check import check_archive
from backup_assets.capture.attachments_index import read_index
from backup_assets.capture.dump import (
    read_globals,
    read_whole_archive,
    require_complete_globals,
    roles_in_globals,
)
from backup_assets.capture.fingerprints import NamedQuery, dumped_tables, take_fingerprints
from backup_assets.errors import CheckFailed
from backup_assets.local import place_of, work_directory
from backup_assets.named_stores import catalog_in
from backup_assets.postgres.clients import Clients, newest_reader
from backup_assets.postgres.server import Server
from backup_assets.postgres.session import open_session
from backup_assets.restore.comparison import differences
from backup_assets.restore.database import (
    Selection,
    apply_properties,
    create_database,
    database_statements,
    drop_database,
    opened_archive,
    restore_archive,
)
from backup_assets.restore.fetch import FetchedSet, fetch_set, require_beside, require_stored
from backup_assets.restore.leftovers import SCRATCH_DATABASE, VERIFYING, remove_left_scratch
from backup_assets.restore.recording import clock_note, store_record, verifications_of
from backup_assets.restore.roles import names_fit, restore_roles, session_for_roles
from backup_assets.restore.scratch import Scratch, reading_clients, scratch_server
from backup_assets.restore.swap import side_name
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.manifest import Fingerprints, Manifest
from backup_assets.sets.record_order import order_after
from backup_assets.sets.records import LEVELS, Level, Problem, VerificationRecord
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.stores.contract import Store

#: Where statements about other databases are run from.
MAINTENANCE_DATABASE = "postgres"


@dataclass(frozen=True)
class Proof:
    """The outcome of a verification, with the record that was stored."""

    record: VerificationRecord
    rows: int
    tables: int
    figures: dict[str, int | float | str] = field(default_factory=dict)


class Stages:
    """Measures stages: how many seconds each took, also one that failed."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Measure the block as the stage ``name``."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(time.monotonic() - begun, 3)


def verify_set(
    database: DatabaseSettings,
    settings: Settings,
    store: Store,
    chosen: BackupSet,
    *,
    level: Level = "restored",
    content: bool = True,
    log: Callable[[str], None],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Proof:
    """Verify the copy of a set in ``store`` at a level, store the record beside its manifest, and return both.

    A set that is wrong gives a proof that did not pass, with its problems. An environment that does not allow the
    question (no server, no disk, a missing extension) raises EnvironmentFault and records nothing.
    """
    place = place_of(database, settings)
    catalog = catalog_in(store, place)
    stages = Stages()
    started_at = now()
    # Looked up before anything is read: what another records meanwhile is neither earlier nor later than this.
    ordered_at = order_after(verifications_of(settings, place, chosen), started_at)
    if ordered_at is not None:
        log(clock_note(chosen.id, ordered_at))
    problems: list[Problem] = []
    scratch_major: int | None = None
    manifest = chosen.manifest
    fetched: FetchedSet | None = None
    try:
        with work_directory(settings, "verify") as workdir:
            with stages("stored"):
                if _reaches(level, "readable"):
                    fetched = fetch_set(store, place, catalog, chosen, workdir, settings.encryption)
                    manifest = fetched.backup_set.manifest
                    require_beside(store, place, chosen, workdir)
                else:  # as it is stored: this takes no private key
                    require_stored(store, place, catalog, chosen, workdir)
            if fetched is not None:
                with stages("readable"):
                    read_everything(fetched, settings, workdir, database.verification.timeout_hours * 3600)
            if fetched is not None and _reaches(level, "restored"):
                with scratch_server(database, settings, manifest) as scratch:
                    scratch_major = scratch.major
                    log(f"restoring {chosen.id} on a scratch server of PostgreSQL {scratch.major}")
                    with (
                        restored_on_trial(fetched, scratch, database, workdir, stages, log=log) as name,
                        stages("fingerprints"),
                    ):
                        problems += compared(fetched, scratch, name, content=content)
    except CheckFailed as error:
        problems.append(Problem(what=error.what, found=error.why))
    record = VerificationRecord(
        set_id=chosen.id,
        tool_version=__version__,
        passed=not problems,
        started_at=started_at,
        ordered_at=ordered_at,
        problems=tuple(problems),
        level=level,
        content=content and _reaches(level, "restored") and _has_content(manifest),
        store=store.name,
        durations=stages.seconds,
        server_major=scratch_major,
    )
    store_record(store, settings, place, record, log, withheld=chosen.manifest.encryption is not None)
    return Proof(record, manifest.fingerprints.total_rows, len(manifest.fingerprints.tables))


def _has_content(manifest: Manifest) -> bool:
    """Tell whether contents can be compared; of an envelope that was not opened nobody knows.

    A failure that claims more than a pass of the same set ever can would never be taken back.
    """
    return manifest.encryption is None and manifest.fingerprints.has_content


def _reaches(level: Level, wanted: Level) -> bool:
    return LEVELS.index(level) >= LEVELS.index(wanted)


def read_everything(fetched: FetchedSet, settings: Settings, workdir: Path, timeout: float) -> None:
    """Read every fetched file to its end; raises CheckFailed for one that is damaged. ``timeout`` in seconds."""
    manifest = fetched.backup_set.manifest
    dump = fetched.artifact("dump")
    read_whole_archive(reader_for(manifest, settings), fetched.paths["dump"], dump.format, workdir, timeout=timeout)
    if "globals" in fetched.paths:
        require_roles(fetched)
    if "archive" in fetched.paths:
        require_attachments(fetched)


def require_roles(fetched: FetchedSet) -> None:
    """Raise CheckFailed unless the globals are whole and have every role that the database needs."""
    path = fetched.paths["globals"]
    require_complete_globals(path)
    present = roles_in_globals(read_globals(path))
    if missing := sorted(set(fetched.backup_set.manifest.server.roles) - present):
        raise CheckFailed("the globals lack roles that the database needs", why=", ".join(missing))


def require_attachments(fetched: FetchedSet) -> None:
    """Raise CheckFailed unless index and archives are those of this set and agree, every file's content included."""
    manifest = fetched.backup_set.manifest
    header, _ = read_index(fetched.paths["index"])
    facts = manifest.attachments
    if facts is None or (header.set_id, header.full_set) != (manifest.id, facts.full_set):
        raise CheckFailed(
            f"the attachment index of {manifest.id} is that of another set",
            why=f"it is of {header.set_id} against the full archive of {header.full_set}",
            remedy="use another set, or the same one from another store",
        )
    outcome = check_archive(fetched.paths["index"], fetched.paths["archive"], fetched.full_archive)
    if not outcome.ok:
        raise CheckFailed("the attachment archive does not match its index", why="; ".join(outcome.problems[:5]))


def reader_for(manifest: Manifest, settings: Settings) -> Clients:
    """Return client programs of this machine that can read the set's dump."""
    return newest_reader(reading_clients(settings, manifest), int(manifest.client.version.split(".")[0]))


@contextmanager
def restored_on_trial(
    fetched: FetchedSet,
    scratch: Scratch,
    database: DatabaseSettings,
    workdir: Path,
    stages: Stages,
    *,
    log: Callable[[str], None],
) -> Iterator[str]:
    """Yield the name of a database that roles and dump of a set were restored into; it is gone after the block."""
    manifest = fetched.backup_set.manifest
    begun = datetime.now(UTC)
    # A name of its own: verifications of one set on a lasting server must not meet.
    name = side_name(f"{SCRATCH_DATABASE}_{uuid.uuid4().hex[:8]}", VERIFYING, begun)
    with open_session(scratch.server, MAINTENANCE_DATABASE) as session:
        if not scratch.throw_away:
            remove_left_scratch(session, begun, log)
        if "globals" in fetched.paths:
            with (
                stages("roles"),
                session_for_roles(scratch.server, session, manifest.server.encoding, name) as fitting,
            ):
                restore_roles(fitting, fetched.paths["globals"])
        try:
            with stages("restore"):
                restore_dump_as(
                    fetched,
                    scratch.server,
                    scratch.clients,
                    name,
                    workdir,
                    jobs=database.verification.jobs,
                    timeout=database.verification.timeout_hours * 3600,
                    selection=Selection(without_foreign_keys=manifest.kind == "important_tables"),
                )
            yield name
        finally:
            if not scratch.throw_away:  # the other kind goes away as a whole
                drop_database(session, name)


def compared(fetched: FetchedSet, scratch: Scratch, name: str, *, content: bool) -> tuple[Problem, ...]:
    """Return every difference between a restored database and the manifest of its set."""
    manifest = fetched.backup_set.manifest
    found = fingerprints_of(scratch.server, name, manifest, content=content)
    return differences(manifest.fingerprints, found, content=content)


def restore_dump_as(
    fetched: FetchedSet,
    server: Server,
    clients: Clients,
    name: str,
    workdir: Path,
    *,
    jobs: int,
    timeout: float,
    selection: Selection | None = None,
    keep_tablespaces: bool = False,
) -> None:
    """Create the database ``name`` on a server and fill it from a fetched set's dump; see `restore_archive`."""
    manifest = fetched.backup_set.manifest
    owned = [(table.table_schema, table.name) for table in manifest.fingerprints.tables]
    with opened_archive(fetched.paths["dump"], fetched.artifact("dump"), workdir) as archive:
        with open_session(server, MAINTENANCE_DATABASE) as session:
            create, properties = database_statements(clients, archive, workdir, session)
            create_database(session, create, name, keep_tablespace=keep_tablespaces)
        restore_archive(
            server,
            clients,
            archive,
            name,
            workdir,
            jobs=jobs,
            timeout=timeout,
            selection=selection,
            owned=owned,
            keep_tablespaces=keep_tablespaces,
        )
    with ExitStack() as sessions:
        session = sessions.enter_context(open_session(server, MAINTENANCE_DATABASE))
        if not names_fit(session, manifest.server.encoding):
            session = sessions.enter_context(open_session(server, name))
        apply_properties(session, properties, name)


def fingerprints_of(server: Server, name: str, manifest: Manifest, *, content: bool) -> Fingerprints:
    """Return the figures of a restored database, for exactly what the manifest has figures of."""
    expected = manifest.fingerprints
    hashed = frozenset((table.table_schema, table.name) for table in expected.tables if table.content_hash is not None)
    whole = manifest.kind == "full"
    with open_session(server, name) as session:
        present = dumped_tables(session)
        wanted = {(table.table_schema, table.name) for table in expected.tables}
        return take_fingerprints(
            session,
            tables=present if whole else [table for table in present if table in wanted],
            hashed=hashed if content else frozenset(),
            everything=whole,
            queries=[NamedQuery(result.name, result.query) for result in expected.integrity],
            path=expected.search_path,
            hash_large_objects=content and expected.large_objects.content_hash is not None,
        )
