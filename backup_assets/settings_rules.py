"""Which settings, each valid alone, contradict each other or the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Found = tuple[tuple[str | int, ...], str]


def contradictions(tree: Mapping[str, Any]) -> Iterator[Found]:
    """Yield place and text of each contradiction in ``tree``.

    ``tree`` has the shape of the settings with absolute paths as text, but may be incomplete or wrong elsewhere:
    whatever has another type than expected is left to the models to report.
    """
    backup_dir = _path(tree, "backup_dir")
    bin_dir = _path(tree, "client_bin_dir")
    if backup_dir is not None and backup_dir.exists() and not backup_dir.is_dir():
        yield ("backup_dir",), f"{backup_dir} is not a directory"
    if bin_dir is not None and not bin_dir.is_dir():
        yield ("client_bin_dir",), f"the directory {bin_dir} does not exist"
    prefixes: dict[str, str] = {}
    for database in tree.get("databases", ()):
        place = ("databases", str(database["name"]))
        for loc, text in _of_database(database, backup_dir):
            yield (*place, *loc), text
        prefix = database.get("prefix") or database["name"]
        # Folded: some file systems do not tell `ERP4` from `erp4`, and one would overwrite the other.
        other = prefixes.setdefault(str(prefix).casefold(), str(database["name"]))
        if other != database["name"]:
            yield (
                (*place, "prefix"),
                f"the folder {prefix} is that of the database {other}; give one of them another prefix",
            )


def _of_database(database: Mapping[str, Any], backup_dir: Path | None) -> Iterator[Found]:
    name = database.get("database")
    if isinstance(name, str) and ("=" in name or "://" in name):
        # libpq takes such a name for a connection string, which would silently lead to another server.
        yield ("database",), "found a connection string; give the name here and the rest below `server`"
    schedule = _part(database, "schedule")
    every = schedule.get("every", "day")
    if "at" in schedule and every != "day":
        yield ("schedule", "at"), f"only with `every: day`, not {every}: those backups are due from midnight on"
    for inner, text in _of_server(_part(database, "server")):
        yield ("server", *inner), text
    for inner, text in _of_server(_part(_part(database, "verification"), "scratch")):
        yield ("verification", "scratch", *inner), text
    integrity = _path(database, "integrity_sql")
    if integrity is not None and not integrity.is_file():
        yield ("integrity_sql",), f"the file {integrity} does not exist"
    directory = _path(_part(database, "attachments"), "directory")
    if directory is None:
        return
    if not directory.is_dir():
        yield ("attachments", "directory"), f"the directory {directory} does not exist"
    if backup_dir is not None and _nested(directory, backup_dir):
        yield (
            ("attachments", "directory"),
            f"{directory} and the local store {backup_dir} lie in one another; backups would archive themselves",
        )


def _of_server(server: Mapping[str, Any]) -> Iterator[Found]:
    if server.get("container") is not None and server.get("host") is not None:
        yield ("container",), "not together with `host`: the server is reached inside its container"
    host = server.get("host")
    if isinstance(host, str) and ("://" in host or "@" in host or "=" in host):
        # Not repeated: such a text usually holds a password.
        yield ("host",), "found a connection string; give the host here and user, port and password on their own"
    certificate = _path(server, "sslrootcert")
    if certificate is not None and str(certificate) != "system" and not certificate.is_file():
        yield ("sslrootcert",), f"the file {certificate} does not exist"


def _part(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = tree.get(name)
    return part if isinstance(part, Mapping) else {}


def _path(tree: Mapping[str, Any], name: str) -> Path | None:
    value = tree.get(name)
    return Path(value) if isinstance(value, str) else None


def _nested(one: Path, other: Path) -> bool:
    first, second = Path(os.path.realpath(one)), Path(os.path.realpath(other))
    return first.is_relative_to(second) or second.is_relative_to(first)
