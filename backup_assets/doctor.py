"""Is everything there that a backup needs, and what is to be done where it is not?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from backup_assets.capture.fingerprints import parse_integrity_file
from backup_assets.capture.preflight import SourceFacts, examine_source, expected_dump_bytes, require_free_disk
from backup_assets.doctor_encryption import examine_encryption
from backup_assets.doctor_rds import examine_rds
from backup_assets.doctor_stores import examine_stores
from backup_assets.errors import BackupError, EnvironmentFault
from backup_assets.findings import Finding, State, failed, tried
from backup_assets.instance import CONFIG_NAME, dagster_home
from backup_assets.local import local_store, place_of
from backup_assets.postgres.clients import choose_clients, find_clients
from backup_assets.postgres.server import Server
from backup_assets.postgres.session import Session, one_value, open_session
from backup_assets.postgres.throw_away import throw_away_cluster
from backup_assets.progress import human_bytes
from backup_assets.restore.half_swapped import REMEDY, half_swapped
from backup_assets.restore.scratch import require_extensions, throw_away_binaries
from backup_assets.sets.catalog import Catalog
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.source import source_server


def examine(database: DatabaseSettings, settings: Settings) -> Iterator[Finding]:
    """Yield a finding for everything that capture and proof of one database need; changes nothing but a probe file."""
    yield _settings(database, settings)
    facts: SourceFacts | None = None
    try:
        server = source_server(database)
        with open_session(server, database.database, timeout=300) as session:
            version = one_value(session, "SELECT current_setting('server_version')")
            yield Finding("server", "ok", f"PostgreSQL {version} at {server.place}, database {database.database}")
            try:
                facts = examine_source(session, server.user, now=datetime.now(UTC))
            except BackupError as error:
                yield failed("role and clock", error)
            else:
                yield from _role(session, server, facts)
            for note in half_swapped(settings, session, server.place):
                yield Finding("restore", "fail", note.what, REMEDY)
    except BackupError as error:
        yield failed("server", error)
    yield from _clients(database, settings, facts)
    yield tried("store", lambda: _store(settings))
    if facts is not None:
        bytes_there = facts.server.database_bytes
        yield tried("free disk", lambda: _disk(database, settings, bytes_there))
    yield tried("sets", lambda: _sets(database, settings))
    if database.attachments is not None:
        directory = database.attachments.directory
        yield tried("attachments", lambda: _attachments(directory))
    if database.secrets is not None and database.secrets.files:
        files = database.secrets.files
        yield tried("secrets", lambda: _secrets(files))
    if database.integrity_sql is not None:
        path = database.integrity_sql
        yield tried("integrity SQL", lambda: Finding("integrity SQL", "ok", _queries(path)))
    yield tried("scratch server", lambda: _scratch(database, settings, facts))
    yield tried("dagster", _dagster)
    yield from examine_encryption(settings)
    yield from examine_stores(database, settings)
    yield from examine_rds(database, settings)


def _dagster() -> Finding:
    home = dagster_home()
    if (home / CONFIG_NAME).is_file():
        return Finding("dagster", "ok", f"history in {home}")
    return Finding(
        "dagster",
        "warn",
        f"{home} has no {CONFIG_NAME}: runs are not monitored, and one that a power loss ended counts as running",
        f"copy the {CONFIG_NAME} of backup_assets there",
    )


def _settings(database: DatabaseSettings, settings: Settings) -> Finding:
    where = "the embedded demo" if settings.is_demo else "from the file or the environment"
    return Finding("settings", "ok", f"{database.name} ({where}), env {settings.env}, sets in {settings.backup_dir}")


def _role(session: Session, server: Server, facts: SourceFacts) -> Iterator[Finding]:
    rights = "superuser" if facts.superuser else "may read every row"
    yield Finding("role", "warn" if facts.warnings else "ok", "; ".join((f"{server.user}: {rights}", *facts.warnings)))
    clock = datetime.fromisoformat(str(one_value(session, "SELECT clock_timestamp()")))
    skew = abs((clock - datetime.now(UTC)).total_seconds())
    # Ids and slots have whole seconds: a difference of a minute already files a set wrongly around midnight.
    state: State = "ok" if skew < 60 else "warn"
    remedy = "" if state == "ok" else "set both clocks by NTP (chronyc tracking, timedatectl)"
    yield Finding("clock", state, f"{skew:.1f} s between this machine and the server", remedy)


def _clients(database: DatabaseSettings, settings: Settings, facts: SourceFacts | None) -> Iterator[Finding]:
    try:
        found = find_clients(settings.client_bin_dir)
        listed = "; ".join(str(clients) for clients in found) or "none"
        if facts is None:
            yield Finding("clients", "ok" if found else "fail", f"found: {listed}", "" if found else "install some")
            return
        if database.server.container is not None:
            yield Finding("clients", "ok", f"the container's own dump; read back here by one of: {listed}")
            return
        used = choose_clients(found, facts.server.major)
        others = "; ".join(str(clients) for clients in found if clients != used) or "none"
        yield Finding("clients", "ok", f"used: {used}; others: {others}")
        if not used.zstd:
            yield Finding(
                "zstd", "warn", f"pg_dump {used.version} has no zstd: this program compresses its output",
                "nothing has to be done; a pg_dump from 16 on with zstd restores without `zstd -d`",
            )  # fmt: skip
    except BackupError as error:
        yield failed("clients", error)


def _store(settings: Settings) -> Finding:
    store = local_store(settings)
    store.check()
    mode = settings.backup_dir.stat().st_mode & 0o077
    if mode:
        return Finding(
            "store", "warn", f"{store.describe()} can be written, and others may look into it",
            f"chmod 700 {settings.backup_dir}",
        )  # fmt: skip
    return Finding("store", "ok", f"{store.describe()} can be written and read back")


def _disk(database: DatabaseSettings, settings: Settings, database_bytes: int) -> Finding:
    latest = Catalog(local_store(settings), place_of(database, settings)).latest()
    dump = latest.manifest.artifact("dump") if latest else None
    needed = expected_dump_bytes(database_bytes, dump.size_bytes if dump else None)
    archive = latest.manifest.artifact("archive") if latest else None
    needed += int(archive.size_bytes * 1.25) if archive else 0
    require_free_disk(settings.backup_dir, needed, "the next set")
    free = local_store(settings).free_bytes() or 0
    found = f"{human_bytes(free)} free, the next set takes about {human_bytes(needed)}"
    # The trial restore unpacks the database as a whole, indexes included, on this machine.
    if database.verification.scratch is None and free < needed + 2 * database_bytes:
        return Finding("free disk", "warn", found + ", its trial restore more", "free space, or add a larger disk")
    return Finding("free disk", "ok", found)


def _sets(database: DatabaseSettings, settings: Settings) -> Finding:
    catalog = Catalog(local_store(settings), place_of(database, settings))
    if catalog.problems:
        return Finding(
            "sets", "fail", catalog.problems[0].text, "look with `backup-assets list`; fetch it from another store"
        )
    incomplete = [one for one in catalog.sets() if one.faults]
    if incomplete:
        return Finding("sets", "fail", f"{incomplete[0].id} is incomplete: {incomplete[0].faults[0]}", "see `list`")
    latest = catalog.latest()
    if latest is None:
        return Finding("sets", "warn", "none yet", "take one: `backup-assets backup`")
    proof = latest.proof_at(datetime.now(UTC))
    if proof is None:
        return Finding("sets", "warn", f"the newest, {latest.id}, is not proven", "`backup-assets verify latest`")
    return Finding("sets", "ok", f"{len(catalog.sets())}; the newest, {latest.id}, is {proof.level}")


def _attachments(directory: Path) -> Finding:
    if not directory.is_dir():
        raise EnvironmentFault(
            f"the attachments directory {directory} does not exist", remedy="correct ASSET_DIR, or mount its disk"
        )
    files = 0
    for where, folders, names in os.walk(directory, onerror=_unreadable):
        for name in (*folders, *names):
            path = Path(where, name)
            if not path.is_symlink() and not os.access(path, os.R_OK):
                raise EnvironmentFault(f"{path} cannot be read", remedy="give this user the right to read it")
        files += len(names)
    return Finding("attachments", "ok", f"{files} files in {directory} can be read")


def _secrets(files: Sequence[Path]) -> Finding:
    for path in files:
        if not path.is_file():
            raise EnvironmentFault(f"the secrets' file {path} does not exist", remedy="correct SECRET_FILES")
        if not os.access(path, os.R_OK):
            raise EnvironmentFault(f"{path} cannot be read", remedy="give this user the right to read it")
    return Finding("secrets", "ok", f"{len(files)} files can be read")


def _unreadable(error: OSError) -> None:
    raise EnvironmentFault(
        f"{error.filename} cannot be read", why=str(error), remedy="give this user the right to read it"
    ) from error


def _queries(path: Path) -> str:
    return f"{len(parse_integrity_file(path))} queries in {path}"


def _scratch(database: DatabaseSettings, settings: Settings, facts: SourceFacts | None) -> Finding:
    configured = database.verification.scratch
    if configured is not None:
        server = Server.from_settings(configured)
        with open_session(server, "postgres", timeout=300) as session:
            version = one_value(session, "SELECT current_setting('server_version')")
            if facts is not None:
                require_extensions(session, facts.server.extensions, server.place)
        return Finding("scratch server", "ok", f"PostgreSQL {version} at {server.place}, with every extension")
    binaries = throw_away_binaries(settings, facts.server.major if facts else 0)
    with throw_away_cluster(None, binaries) as cluster:  # a second, and the only answer that can be relied on
        server = Server.from_settings(cluster.server_settings())
        with open_session(server, "postgres") as session:
            if facts is not None:
                require_extensions(session, facts.server.extensions, server.place)
    return Finding(
        "scratch server", "ok", f"a throw-away PostgreSQL {binaries.version} from {binaries.directory} starts"
    )
