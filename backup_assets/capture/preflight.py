"""Whether a capture can succeed, asked before anything is written: rights, versions, disk, clock."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backup_assets.errors import EnvironmentFault, Refused
from backup_assets.postgres.names import quote_name
from backup_assets.postgres.session import Session, one_row, one_value
from backup_assets.sets.manifest import ServerFacts

MAXIMUM_CLOCK_SKEW = timedelta(minutes=5)
#: A zstd dump of ordinary business data takes 0.15 to 0.4 of the database's size on disk (facts: 0.17); a dump
#: of compressed content without indexes may take all of it.
EXPECTED_DUMP_SHARE = 0.5
#: What a capture leaves free on the disk that it writes to.
MARGIN_BYTES = 64 << 20
OLDEST_SERVER = 15

#: Aurora has neither a control file nor WAL files of its own, and refuses these functions.
_HAS_CONTROL_FILE = "to_regproc('aurora_version') IS NULL"
_FACTS = f"""
SELECT current_setting('server_version'), current_setting('server_version_num'), current_setting('server_encoding'),
  pg_catalog.pg_database_size(current_database()), r.rolsuper, r.rolbypassrls, clock_timestamp(),
  pg_catalog.pg_is_in_recovery(), (SELECT pg_catalog.pg_get_userbyid(datdba) FROM pg_catalog.pg_database
   WHERE datname = current_database()),
  (SELECT rolname FROM pg_catalog.pg_roles WHERE oid = 10),
  CASE WHEN {_HAS_CONTROL_FILE} AND has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')
    THEN (SELECT system_identifier FROM pg_catalog.pg_control_system()) END,
  CASE WHEN {_HAS_CONTROL_FILE} AND NOT pg_catalog.pg_is_in_recovery()
    THEN ('x' || left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::int END
FROM pg_catalog.pg_roles r WHERE r.rolname = current_user
"""
#: Roles that own or may use something in this database, or the database itself; the bootstrap superuser is never
#: in pg_shdepend, so that the owner is added by name.
_ROLES = """
SELECT DISTINCT r.rolname FROM pg_catalog.pg_shdepend d JOIN pg_catalog.pg_roles r ON r.oid = d.refobjid
WHERE d.refclassid = 'pg_catalog.pg_authid'::regclass AND r.rolname !~ '^pg_'
  AND (d.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
    OR (d.classid = 'pg_catalog.pg_database'::regclass
        AND d.objid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())))
ORDER BY 1
"""
_ROW_SECURITY = """
SELECT string_agg(c.oid::regclass::text, ', ') FROM (SELECT oid FROM pg_catalog.pg_class WHERE relrowsecurity LIMIT 3) c
"""
#: pg_dump opens each large object with the rights of its role; neither BYPASSRLS nor pg_read_all_data helps there.
_CLOSED_LARGE_OBJECTS = """
SELECT count(*) FROM pg_catalog.pg_largeobject_metadata m
WHERE current_setting('lo_compat_privileges') = 'off' AND NOT pg_has_role(m.lomowner, 'USAGE')
  AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(m.lomacl) a WHERE a.privilege_type = 'SELECT'
    AND CASE a.grantee WHEN 0 THEN true ELSE pg_has_role(a.grantee, 'USAGE') END)
"""
#: To hash large objects, their lengths must be asked for, and those stand in a table of their own.
_UNHASHED_LARGE_OBJECTS = """
SELECT count(*) FROM pg_catalog.pg_largeobject_metadata
WHERE NOT has_table_privilege('pg_catalog.pg_largeobject', 'SELECT')
"""


@dataclass(frozen=True)
class SourceFacts:
    """What the server said of itself before the capture."""

    server: ServerFacts
    superuser: bool
    in_recovery: bool
    warnings: tuple[str, ...]


def examine_source(session: Session, role: str, *, now: datetime) -> SourceFacts:
    """Return what the capture needs to know; raises Refused when the role cannot see everything or time is wrong.

    ``now`` is this machine's time, compared with the server's.
    """
    row = one_row(session, _FACTS)
    version, number, encoding, size, superuser, bypass, clock, recovery, owner, bootstrap, system, timeline = row
    if int(number or 0) // 10000 < OLDEST_SERVER:
        raise Refused(
            f"the server's version {version} is not supported",
            why=f"PostgreSQL {OLDEST_SERVER} is the oldest that this program is tested with",
            remedy="upgrade the server",
        )
    if superuser != "t" and bypass != "t" and (tables := one_value(session, _ROW_SECURITY)):
        raise Refused(
            f"the role {role} cannot read every row",
            why=f"row-level security is on for {tables}, and the role has neither BYPASSRLS nor superuser",
            remedy=f'run as a superuser: ALTER ROLE "{role}" BYPASSRLS',
        )
    if superuser != "t" and (closed := one_value(session, _CLOSED_LARGE_OBJECTS)) != "0":
        raise Refused(
            f"the role {role} cannot read {closed} large objects",
            why="it neither owns them nor was granted SELECT on them, and pg_dump would fail",
            remedy="back up as a superuser, or GRANT SELECT ON LARGE OBJECT ... to the role",
        )
    _require_same_time(datetime.fromisoformat(str(clock)), now)
    roles = sorted({str(owner), *(str(row[0]) for row in session.rows(_ROLES))})
    extensions = {str(n): str(v) for n, v in session.rows("SELECT extname, extversion FROM pg_catalog.pg_extension")}
    facts = ServerFacts(
        version=str(version).split()[0],
        version_num=int(number or 0),
        encoding=str(encoding),
        database_bytes=int(size or 0),
        system_identifier=system,
        timeline=int(timeline) if timeline else None,
        bootstrap_superuser=str(bootstrap),
        roles=tuple(role for role in roles if not role.startswith("pg_")),
        extensions=extensions,
    )
    warnings: list[str] = []
    if superuser != "t":
        warnings.append("the role is no superuser: globals are taken without password hashes")
    if (unhashed := one_value(session, _UNHASHED_LARGE_OBJECTS)) != "0":
        warnings.append(
            f"the contents of {unhashed} large objects cannot be compared after a restore, only their number: run "
            f"as a superuser: GRANT pg_read_all_data TO {quote_name(role)}"
        )
    if recovery == "t":
        warnings.append("the source is a standby: unlogged tables have no rows there, and none in this set")
    return SourceFacts(facts, superuser == "t", recovery == "t", tuple(warnings))


def _require_same_time(server: datetime, now: datetime) -> None:
    skew = abs(server - now)
    if skew > MAXIMUM_CLOCK_SKEW:
        raise Refused(
            f"this machine's clock and the server's differ by {skew.total_seconds():.0f} s",
            why=f"here it is {now.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z, there {server.astimezone(UTC):%H:%M:%S}Z; "
            "a set would be filed under a wrong time",
            remedy="set both clocks by NTP (chronyc tracking, timedatectl)",
        )


def require_free_disk(
    directory: Path,
    needed_bytes: int,
    purpose: str,
    remedy: str = "free space, remove old sets, or set BACKUP_DIR to a larger disk",
) -> None:
    """Raise EnvironmentFault unless ``needed_bytes`` and a margin are free on the disk of ``directory``."""
    free = shutil.disk_usage(directory).free
    if free < needed_bytes + MARGIN_BYTES:
        raise EnvironmentFault(
            f"not enough free disk for {purpose}",
            why=f"{free / 1e9:.2f} GB are free in {directory}, about {(needed_bytes + MARGIN_BYTES) / 1e9:.2f} GB "
            "are needed",
            remedy=remedy,
        )


def expected_dump_bytes(database_bytes: int, previous_dump_bytes: int | None) -> int:
    """Return how large the dump may become: a quarter more than the last one, else a share of the database."""
    if previous_dump_bytes is not None:
        return int(previous_dump_bytes * 1.25)
    return int(database_bytes * EXPECTED_DUMP_SHARE)
