"""Which environment variables exist, what each sets, and the settings of one database made from them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backup_assets.errors import SettingsError
from backup_assets.settings import Settings
from backup_assets.settings_tree import Loc, Problem, dotted, settings_from_tree, suggestion


def _text(value: str) -> object:
    return value


def _list(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _file_columns(value: str) -> list[dict[str, str]]:
    # Without a dot the table stays empty, which the models refuse.
    return [dict(zip(("table", "column"), part.rpartition(".")[::2], strict=True)) for part in _list(value)]


@dataclass(frozen=True)
class Variable:
    """One environment variable; ``field`` is the path it sets: `databases.*.` begins what belongs to the database."""

    name: str
    field: str
    description: str
    convert: Callable[[str], object] = _text
    secret: bool = False

    @property
    def of_database(self) -> bool:
        """Whether it sets something of the one database, and not of everything."""
        return self.field.startswith("databases.")


VARIABLES = (
    Variable("BACKUP_CONFIG", "", "YAML file to read instead of `backup.yaml` in the current directory."),
    Variable("APP_ENV", "env", "Environment, for example `production`."),
    Variable("BACKUP_DIR", "backup_dir", "The local store; `.backups` unless set."),
    Variable("PG_BIN_DIR", "client_bin_dir", "Directory of pg_dump, pg_restore and psql."),
    Variable("DB_NAME", "databases.*.database", "Name of the database on its server; required with the others."),
    Variable("DB_HOST", "databases.*.server.host", "Host, address, or directory of the Unix socket."),
    Variable("DB_PORT", "databases.*.server.port", "TCP port."),
    Variable("DB_USER", "databases.*.server.user", "A superuser, or a role with BYPASSRLS that may read everything."),
    Variable(
        "DB_PASSWORD", "databases.*.server.password", "Password; unset: a .pgpass file or peer applies.", secret=True
    ),
    Variable("DB_SSLMODE", "databases.*.server.sslmode", "As libpq's `sslmode`."),
    Variable("DB_SSLROOTCERT", "databases.*.server.sslrootcert", "File of trusted certificates, or `system`."),
    Variable("DB_CONTAINER", "databases.*.server.container.name", "Container of the server; not with DB_HOST."),
    Variable("DB_CONTAINER_ENGINE", "databases.*.server.container.engine", "`docker` or `podman`."),
    Variable(
        "PDF_PROVIDER",
        "",
        "`local`: ASSET_DIR is archived. Anything else: attachments are elsewhere, none are archived.",
    ),
    Variable("ASSET_DIR", "databases.*.attachments.directory", "The folder of PDFs and attachments."),
    Variable(
        "ASSET_FILE_COLUMN",
        "databases.*.attachments.files",
        "Columns that name files in ASSET_DIR: `table.column` or `schema.table.column`, with commas between.",
        _file_columns,
    ),
    Variable("BACKUP_PREFIX", "databases.*.prefix", "First part of every stored path, and the database's name here."),
    Variable("BACKUP_TIER", "databases.*.tier", "`important` or `ordinary`."),
    Variable("BACKUP_SCHEDULE", "databases.*.schedule.every", "`day`, `12h`, `8h`, `6h`, `4h`, `3h`, `2h` or `1h`."),
    Variable("BACKUP_TIME", "databases.*.schedule.at", "Local time of the daily backup, such as `02:00`."),
    Variable("BACKUP_TIMEZONE", "databases.*.schedule.timezone", "IANA time zone, such as `Asia/Tokyo`."),
    Variable(
        "IMPORTANT_TABLES",
        "databases.*.important_tables",
        "Tables also backed up on their own every week, with commas between.",
        _list,
    ),
    Variable(
        "SCHEMA_VERSION_QUERY", "databases.*.schema_version_query", "Query whose one value is the schema version."
    ),
    Variable(
        "INTEGRITY_SQL", "databases.*.integrity_sql", "File of named queries compared before and after a restore."
    ),
    Variable("CONTENT_HASHES", "databases.*.dump.content_hashes", "`always`, `important` or `never`."),
    Variable("DUMP_JOBS", "databases.*.dump.jobs", "Jobs of a directory-format dump; unset: by size."),
    Variable(
        "SCRATCH_HOST",
        "databases.*.verification.scratch.host",
        "Server for trial restores, where a throw-away local cluster will not do.",
    ),
    Variable("SCRATCH_PORT", "databases.*.verification.scratch.port", "Its TCP port."),
    Variable("SCRATCH_USER", "databases.*.verification.scratch.user", "A superuser there."),
    Variable("SCRATCH_PASSWORD", "databases.*.verification.scratch.password", "Its password.", secret=True),
    Variable("BACKUP_DEMO_HOME", "", "Home of the embedded demo; `var/demo` unless set."),
)
BY_NAME = {variable.name: variable for variable in VARIABLES}
#: Names of ours that choose what a single command works on; they set nothing here and are no misspellings.
COMMAND_VARIABLES = ("BACKUP_FILE", "BACKUP_GLOBALS_FILE", "BACKUP_ASSETS_FILE")
#: Top-level fields and their variables; these also complete a file that is silent about them.
COMMON_FIELDS = {v.field: v.name for v in VARIABLES if v.field and not v.of_database}
_NAMING = ("DB_NAME", "DB_HOST", "DB_CONTAINER")
_REMEDY = "correct the variables; docs/settings.md describes each"


@dataclass(frozen=True)
class CommonSettings:
    """What variables say about everything; None where they say nothing. Paths are absolute."""

    env: str | None
    backup_dir: Path | None
    client_bin_dir: Path | None


def values_set(environment: Mapping[str, str]) -> dict[str, str]:
    """Return our variables that have a value; an empty one counts as unset."""
    found = {name: environment.get(name, "") for name in BY_NAME}
    # A password may begin or end with a space; nothing else does on purpose.
    found = {name: value if BY_NAME[name].secret else value.strip() for name, value in found.items()}
    return {name: value for name, value in found.items() if value}


def field_of(name: str) -> str:
    """Return the field that the variable ``name`` sets, as in backup.yaml with `NAME` for the database."""
    return BY_NAME[name].field.replace("*", "NAME") or "attachments"


def names_a_database(given: Mapping[str, str]) -> bool:
    """Return whether variables say which database is backed up."""
    return any(name in given for name in _NAMING)


def database_variables(given: Mapping[str, str]) -> list[str]:
    """Return the variables among ``given`` that say something about the one database."""
    return [name for name in given if BY_NAME[name].of_database or name == "PDF_PROVIDER"]


def common_settings(environment: Mapping[str, str], directory: Path) -> CommonSettings:
    """Return what variables say about everything; relative paths count from ``directory``."""
    given = values_set(environment)
    paths = {
        name: directory / Path(given[name]).expanduser() if name in given else None
        for name in ("BACKUP_DIR", "PG_BIN_DIR")
    }
    return CommonSettings(given.get("APP_ENV"), paths["BACKUP_DIR"], paths["PG_BIN_DIR"])


def refuse_misspelled(environment: Mapping[str, str]) -> None:
    """Raise SettingsError when a variable that is set looks like a misspelling of one of ours."""
    found = [
        (name, meant)
        for name, value in sorted(environment.items())
        if value and (meant := _meant(name)) is not None
    ]  # fmt: skip
    if found:
        raise SettingsError(
            "\n".join(f"the environment variable {name} is unknown; did you mean {meant}?" for name, meant in found),
            why="it would have no effect",
            remedy="rename or unset it",
        )


def _meant(name: str) -> str | None:
    """Return the variable that ``name`` misspells, judged by what follows `BACKUP_` or `DB_`."""
    prefix = next((prefix for prefix in ("BACKUP_", "DB_") if name.upper().startswith(prefix)), None)
    if prefix is None or name in BY_NAME or name in COMMAND_VARIABLES:
        return None
    rest = name.upper().removeprefix(prefix)
    known = [other.removeprefix(prefix) for other in BY_NAME if other.startswith(prefix)]
    for other in known:
        # DB_USERNAME and BACKUP_DIRECTORY are meant; DB_HOST_REPLICA is somebody else's.
        shorter, longer = sorted((rest, other), key=len)
        if len(shorter) >= 3 and longer.startswith(shorter) and "_" not in longer:
            return prefix + other
    known = [other for other in known if not rest.startswith(f"{other}_")]
    close = difflib.get_close_matches(rest, known, n=1, cutoff=0.75)
    return prefix + close[0] if close else None


def settings_from_variables(environment: Mapping[str, str], directory: Path) -> Settings:
    """Return the settings of the one database that variables describe; relative paths count from ``directory``.

    Raises SettingsError naming every variable that is missing or wrong.
    """
    given = values_set(environment)
    combinations = _combinations(given)
    refused = {name for name, _ in combinations}
    problems = [f"{name}: {text}" for name, text in combinations]
    name = _derived_name(given)
    if name is None and "DB_NAME" in given:
        problems.append("BACKUP_PREFIX: missing; no name with latin letters can be made from DB_NAME")
    name = name or "database"
    tree: dict[str, Any] = {}
    for variable in VARIABLES:
        # What does not go together is left out here: its consequences are no mistakes of their own.
        if variable.field and variable.name in given and variable.name not in refused:
            value = {"env": variable.name} if variable.secret else variable.convert(given[variable.name])
            _put(tree, variable.field.replace("*", name).split("."), value)
    outcome = settings_from_tree(tree, directory, environment)
    for problem in outcome.problems:
        where = _where(problem, name)
        if where not in refused:
            problems.append(f"{where}: {problem.text}")
    if problems:
        heading = [f"{len(problems)} mistakes in the environment:"] if len(problems) > 1 else []
        raise SettingsError("\n".join([*heading, *problems]), remedy=_REMEDY)
    if outcome.settings is None:
        raise AssertionError("no settings and no problem")
    return outcome.settings


def _combinations(given: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return which variables do not go together, or need one that is not set."""
    found: list[tuple[str, str]] = []
    if "DB_NAME" not in given:
        found.append(("DB_NAME", "missing; it names the database to back up"))
    if "DB_CONTAINER" in given and "DB_HOST" in given:
        found.append(("DB_CONTAINER", "not together with DB_HOST: the server is reached inside its container"))
    if "DB_CONTAINER_ENGINE" in given and "DB_CONTAINER" not in given:
        found.append(("DB_CONTAINER_ENGINE", "only together with DB_CONTAINER"))
    found += [
        (name, "only together with SCRATCH_HOST")
        for name in ("SCRATCH_PORT", "SCRATCH_USER", "SCRATCH_PASSWORD")
        if name in given and "SCRATCH_HOST" not in given
    ]
    provider = given.get("PDF_PROVIDER")
    if provider == "local" and "ASSET_DIR" not in given:
        found.append(("ASSET_DIR", "missing; PDF_PROVIDER=local says that attachments lie in a folder"))
    if provider not in (None, "local"):
        if suggestion(provider, ["local"]):
            # Taken for another provider, it would leave the attachments out of every backup.
            found.append(("PDF_PROVIDER", f"found {provider!r}{suggestion(provider, ['local'])}"))
        elif "ASSET_DIR" in given:
            found.append(("ASSET_DIR", f"only with PDF_PROVIDER=local, not {provider!r}; unset one of the two"))
    if "ASSET_FILE_COLUMN" in given:
        if "ASSET_DIR" not in given:
            found.append(("ASSET_FILE_COLUMN", "only together with ASSET_DIR"))
        elif any(not part["table"] or not part["column"] for part in _file_columns(given["ASSET_FILE_COLUMN"])):
            found.append(("ASSET_FILE_COLUMN", "expected table.column or schema.table.column, with commas between"))
    return found


def _derived_name(given: Mapping[str, str]) -> str | None:
    source = given.get("BACKUP_PREFIX") or given.get("DB_NAME", "")
    name = re.sub(r"[^a-z0-9]+", "_", source.lower()).strip("_")
    if name[:1].isdigit():
        name = f"db_{name}"
    return name[:63] or None


def _put(tree: dict[str, Any], path: list[str], value: object) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree[path[-1]] = value


def _where(problem: Problem, name: str) -> str:
    """Return the variable that sets the field of the problem, or the field where there is none."""
    loc: Loc = tuple("*" if index == 1 and part == name else part for index, part in enumerate(problem.loc))
    for length in range(len(loc), 0, -1):
        for variable in VARIABLES:
            if variable.field == dotted(loc[:length]):
                return variable.name
    return dotted(problem.loc)
