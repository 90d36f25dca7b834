"""With which stock commands is exactly this set restored, without this program?"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backup_assets.restore.attachments import STOCK_RESTORE
from backup_assets.sets.envelope import MANIFEST_ROLE
from backup_assets.sets.manifest import Artifact, Manifest

#: Roles of the files that a restore takes.
RESTORED_ROLES = ("dump", "globals", "archive", "index")
#: How an encrypted file's name ends, and the command that decrypts it, up to the names of the output and of the file.
_DECRYPTION = {
    ".gpg": "gpg --batch --yes --output {output} --decrypt {file}",
    ".age": 'age --decrypt --identity "$AGE_IDENTITY_FILE" --output {output} {file}',
}
#: Where decrypted files go, below the current directory.
_PLAIN = "./plain"
#: An empty database to work from where that of the set is not in UTF-8: a server keeps the names of roles as the bytes
#: that they have where they are made, and another encoding does not find them.
_FOR_ROLES = "backup_assets_roles"


@dataclass(frozen=True)
class Step:
    """What a step does, and its shell commands: they need pg_restore and psql, for some sets zstd, tar, awk."""

    purpose: str
    commands: tuple[str, ...]


@dataclass(frozen=True)
class FullArchive:
    """The archive of another set that a differential one builds on, as it is stored."""

    path: Path | str
    sha256: str | None = None


def stock_commands(
    stored: Manifest, own: Manifest, paths: Mapping[str, Path | str], full: FullArchive | None
) -> tuple[Step, ...]:
    """Return the steps that restore a set from its files.

    ``stored`` tells the files as they lie in the store, ``own`` is the set's own manifest where that can be read, else
    its envelope. ``paths`` has the files by role (`dump`, `globals`, `archive`, `index`; `manifest` beside an
    envelope); those whose names end like an encrypted file's are decrypted into ./plain first. Host, port and user come
    from libpq's variables (PGHOST, PGPORT, PGUSER), age's private key from AGE_IDENTITY_FILE.
    """
    steps = [_checksums(stored, paths, full), *_decryption(own, paths, full)]
    paths = {role: _plain(path) for role, path in paths.items()}
    if "globals" in paths:
        steps.append(
            Step(
                "the roles (one that exists gives an error, then gets the password and attributes of the backup)",
                _roles(own.server.encoding, _quoted(paths["globals"])),
            )
        )
    dump = stored.artifact("dump")
    if dump is not None and "dump" in paths:
        helped = "globals" in paths and _needs_own(own.server.encoding)
        steps.append(_database(stored, dump, paths["dump"], _FOR_ROLES if helped else "postgres"))
    if "archive" in paths and "index" in paths:
        names = [f"INDEX={_quoted(paths['index'])}", f"ARCHIVE={_quoted(paths['archive'])}"]
        if full is not None:
            names.append(f"FULL={_quoted(_plain(full.path))}")
        names.append('OUT=./attachments; mkdir -p "$OUT"')
        steps.append(Step("the attachments, into ./attachments", (*names, *STOCK_RESTORE.splitlines())))
    return tuple(steps)


def _needs_own(encoding: str) -> bool:
    return encoding not in ("", "SQL_ASCII", "UTF8")


def _roles(encoding: str, script: str) -> tuple[str, ...]:
    """Return the commands that make the roles where a database of ``encoding`` finds their names."""
    if not _needs_own(encoding):
        return (f"psql --no-psqlrc --dbname=postgres --file={script}",)
    return (
        f"createdb --template=template0 --encoding={encoding} --lc-collate=C --lc-ctype=C {_FOR_ROLES}",
        f"psql --no-psqlrc --dbname={_FOR_ROLES} --file={script}",
    )


def _checksums(stored: Manifest, paths: Mapping[str, Path | str], full: FullArchive | None) -> Step:
    sums = [(artifact.sha256, paths[artifact.role]) for artifact in stored.artifacts if artifact.role in paths]
    if full is not None and full.sha256 is not None:
        sums.append((full.sha256, full.path))
    return Step("the files are what they were", tuple(_checksum(sha256, path) for sha256, path in sums))


def _checksum(sha256: str, path: Path | str) -> str:
    return f"echo {shlex.quote(f'{sha256}  {path}')} | sha256sum --check"


def _decryption(own: Manifest, paths: Mapping[str, Path | str], full: FullArchive | None) -> list[Step]:
    """Return how the encrypted files are decrypted and compared; a set without any has no such step.

    A cipher's program writes before it knows whether the rest is there: a file gets its name when that has ended well.
    """
    given = [paths[role] for role in (*RESTORED_ROLES, MANIFEST_ROLE) if role in paths]
    sealed = [path for path in (*given, *((full.path,) if full else ())) if _suffix(path)]
    if not sealed:
        return []
    commands = [f"mkdir -p {_PLAIN}"]
    for path in sealed:
        plain = str(_plain(path))
        half = _quoted(f"{plain}.half")
        decrypt = _DECRYPTION[_suffix(path)].format(output=half, file=_quoted(path))
        commands.append(f"{decrypt} && mv {half} {_quoted(plain)}")
    if MANIFEST_ROLE in paths:
        compare = _compared_with(_quoted(_plain(paths[MANIFEST_ROLE])))
    else:
        hashes = {a.role: a.sha256 for a in own.artifacts}
        compare = [_checksum(hashes[role], _plain(path)) for role, path in paths.items() if _suffix(path)]
    return [
        Step("decrypted by whoever holds a key of one of the recipients", tuple(commands)),
        Step("the decrypted files are those of the capture", tuple(compare)),
    ]


def _compared_with(manifest: str) -> list[str]:
    """Return the commands that check a manifest's seal, and every file beside it that a restore takes."""
    names = """/^   "name":/ {n = $4} /^   "sha256":/ && n !~ /^secrets/ {sub(".*/", "", n); print $4 "  " n}"""
    return [
        f"""tail -n 2 {manifest} | sed -n 's/^ "content_sha256": "\\(.*\\)"$/\\1  -/p' > {_PLAIN}/seal""",
        f"head -c -90 {manifest} | sha256sum --check --strict {_PLAIN}/seal",
        f"""awk -F'"' '{names}' {manifest} > {_PLAIN}/checksums""",
        f"(cd {_PLAIN} && sha256sum --check --strict checksums)",
    ]


def _suffix(path: Path | str) -> str:
    return next((suffix for suffix in _DECRYPTION if str(path).endswith(suffix)), "")


def _plain(path: Path | str) -> Path | str:
    """Return where the decrypted content of ``path`` lies, or ``path`` for a file that is not encrypted."""
    name = str(path).rpartition("/")[2]
    return f"{_PLAIN}/{name.removesuffix(_suffix(path))}" if _suffix(path) else path


def _database(manifest: Manifest, dump: Artifact, path: Path | str, work_from: str) -> Step:
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
    restore = f"pg_restore --create --exit-on-error {options}--dbname={work_from} {source}"
    after = () if work_from == "postgres" else (f"dropdb {work_from}",)
    return Step(f"the database {name}, which must not exist yet", (*before, restore, *after))


def _quoted(path: Path | str) -> str:
    return shlex.quote(str(path))


def as_text(steps: tuple[Step, ...]) -> str:
    """Return the steps as a shell script with comments."""
    return "\n\n".join("\n".join((f"# {step.purpose}", *step.commands)) for step in steps) + "\n"
