"""With which stock commands is exactly this set restored, without this program?"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backup_assets.restore.attachments import STOCK_RESTORE
from backup_assets.sets.manifest import Artifact, Manifest

#: Roles of the files that a restore takes.
RESTORED_ROLES = ("dump", "globals", "archive", "index")
#: The commands that decrypt, by how the encrypted file's name ends; each takes the output's name, then the file's.
_DECRYPTION = {".gpg": "gpg --decrypt", ".age": "age --decrypt --identity KEYFILE"}


@dataclass(frozen=True)
class Step:
    """What a step does, and its shell commands: they need pg_restore and psql, for some sets zstd, tar, awk."""

    purpose: str
    commands: tuple[str, ...]


def stock_commands(manifest: Manifest, paths: Mapping[str, Path | str], full: Path | str | None) -> tuple[Step, ...]:
    """Return the steps that restore a set from its files.

    ``paths`` has the files by role (`dump`, `globals`, `archive`, `index`), ``full`` the full archive that a
    differential one builds on; those whose names end like an encrypted file's are decrypted into the current
    directory first. Host, port and user come from libpq's variables (PGHOST, PGPORT, PGUSER).
    """
    steps = [_checksums(manifest, paths)]
    given = [paths[role] for role in (*RESTORED_ROLES, "manifest") if role in paths] + ([full] if full else [])
    decryption = tuple(command for path in given if (command := _decryption(path)))
    if decryption:
        steps.append(Step("decrypted by whoever holds a key of one of the recipients", decryption))
    paths = {role: _plain(path) for role, path in paths.items()}
    full = _plain(full) if full else None
    if "globals" in paths:
        steps.append(
            Step(
                "the roles (one that exists gives an error, then gets the password and attributes of the backup)",
                (f"psql --no-psqlrc --dbname=postgres --file={_quoted(paths['globals'])}",),
            )
        )
    dump = manifest.artifact("dump")
    if dump is not None and "dump" in paths:
        steps.append(_database(manifest, dump, paths["dump"]))
    if "archive" in paths and "index" in paths:
        names = [f"INDEX={_quoted(paths['index'])}", f"ARCHIVE={_quoted(paths['archive'])}"]
        if full is not None:
            names.append(f"FULL={_quoted(full)}")
        names.append('OUT=./attachments; mkdir -p "$OUT"')
        steps.append(Step("the attachments, into ./attachments", (*names, *STOCK_RESTORE.splitlines())))
    return tuple(steps)


def _plain(path: Path | str) -> Path | str:
    """Return where the decrypted content of ``path`` lies, or ``path`` for a file that is not encrypted."""
    name = str(path).rpartition("/")[2]
    suffix = next((suffix for suffix in _DECRYPTION if name.endswith(suffix)), "")
    return f"./{name.removesuffix(suffix)}" if suffix else path


def _decryption(path: Path | str) -> str:
    command = next((command for suffix, command in _DECRYPTION.items() if str(path).endswith(suffix)), "")
    return (
        command.replace(" --decrypt", f" --output {_quoted(_plain(path))} --decrypt") + f" {_quoted(path)}"
        if command
        else ""
    )


def _checksums(manifest: Manifest, paths: Mapping[str, Path | str]) -> Step:
    lines = [
        f"echo {shlex.quote(f'{artifact.sha256}  {paths[artifact.role]}')} | sha256sum --check"
        for artifact in manifest.artifacts
        if artifact.role in paths
    ]
    return Step("the files are what they were", tuple(lines))


def _database(manifest: Manifest, dump: Artifact, path: Path | str) -> Step:
    name = manifest.source_database
    before: list[str] = []
    source = _quoted(path)
    if dump.format == "pg_custom.zst":
        before.append(f"zstd -d {source} -o ./database.dump")
        source = "./database.dump"
    elif dump.format == "pg_directory.tar":
        before += ["mkdir ./database.dir", f"tar -x -f {source} -C ./database.dir"]
        source = "./database.dir"
    options = ""
    if manifest.kind == "important_tables":
        # The rows that foreign keys refer to are not in this dump.
        before.append(f"pg_restore --create --list {source} | grep -v ' FK CONSTRAINT ' > ./database.list")
        options = "--use-list=./database.list "
    restore = f"pg_restore --create --exit-on-error {options}--dbname=postgres {source}"
    return Step(f"the database {name}, which must not exist yet", (*before, restore))


def _quoted(path: Path | str) -> str:
    return shlex.quote(str(path))


def as_text(steps: tuple[Step, ...]) -> str:
    """Return the steps as a shell script with comments."""
    return "\n\n".join("\n".join((f"# {step.purpose}", *step.commands)) for step in steps) + "\n"
