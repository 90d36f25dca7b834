"""A person with stock programs, an empty directory and a new server, who follows the page on restoring by hand."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from backup_assets.capture.request import Captured
from backup_assets.local import place_of
from backup_assets.postgres.cluster import Cluster
from backup_assets.settings import Settings
from backup_assets_tests.docs.pages import DOCS, blocks_of
from backup_assets_tests.sources import Source

ENGLISH = DOCS / "restore-by-hand.md"
#: Everything that the page may use beside a POSIX shell; psql and pg_restore come from the directory of the clients.
STOCK = (
    "awk", "cat", "cp", "grep", "head", "mkdir", "mktemp", "mv", "rm", "sed", "sha256sum", "sort", "tail", "tar", "tty",
    "zstd",
)  # fmt: skip
#: The page's choice and proof of a set, and what follows from it until the dump, whose format decides.
CHOICE = ("list", "choose", "proofs", "seal", "sums", "names")
BEFORE = ("prepare", *CHOICE, "checksums", "versions", "roles")
ATTACHMENTS = ("attachments-paths", "attachments", "attachments-check")
#: What is the same for every store once the files are here, around the format of the dump.
RESTORE = ("roles", "dump", "database", *ATTACHMENTS, "compare")
#: By the way that a set comes here: the blocks for its manifests, those for its files, the programs of these.
FETCHING = {
    "folder": ((), (), ()),
    "aws": (("aws-meta",), ("aws-files",), ("aws",)),
    "curl": (("curl-meta",), ("curl-files",), ("curl",)),
    "rsync": (("rsync-meta",), ("rsync-files",), ("rsync", "ssh")),
}
#: By cipher: the blocks that decrypt, and their programs.
DECRYPTING = {
    "gpg": (("recipients", "key-gpg", "decrypt-gpg", "decrypt", "decrypted"), ("gpg", "gpg-agent", "gpgconf")),
    "age": (("recipients", "decrypt-age", "decrypt", "decrypted"), ("age",)),
}
#: Blocks in which a person writes what the tests give as variables.
VARIABLES = ("variables", "s3-variables", "ssh-variables")
RACY_SECONDS = 2.1

BLOCKS = {block.name: block.body for block in blocks_of(ENGLISH)}


def add_programs(directory: Path, *names: str) -> None:
    """Let stock programs be found in ``directory``; skips where the system lacks one, fails there in CI."""
    for name in names:
        found = shutil.which(name, path="/usr/bin:/bin")
        if found is None:
            pytest.fail(f"{name} is not installed") if "CI" in os.environ else pytest.skip(f"no {name} here")
        if not (directory / name).exists():
            (directory / name).symlink_to(found)


@dataclass(frozen=True)
class Target:
    """A new server, an empty directory and a shell with stock programs only."""

    cluster: Cluster
    work: Path
    programs: Path
    variables: dict[str, str] = field(default_factory=dict)

    def has(self, *names: str) -> None:
        """Install further stock programs; skips where the system lacks one, fails there in CI."""
        add_programs(self.programs, *names)

    def run(self, place: Path, *names: str, before: str = "") -> subprocess.CompletedProcess[str]:
        """Run blocks of the page one after the other in one shell that stops at the first error."""
        script = "\n".join([before, *(BLOCKS[name] for name in names)])
        environment = {
            "PATH": str(self.programs),
            "LC_ALL": "C.UTF-8",
            "HOME": str(self.work.parent),
            "PGHOST": str(self.cluster.socket_directory),
            "PGPORT": str(self.cluster.port),
            "PGUSER": self.cluster.superuser,
            "PGPASSWORD": self.cluster.password,
            "PLACE": str(place),
            "WORK": str(self.work),
            **self.variables,
        }
        return subprocess.run(
            ["/bin/sh", "-eu", "-c", script],
            env=environment, cwd=self.work.parent, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip

    def must(self, place: Path, *names: str, before: str = "") -> str:
        """Run blocks that must end well and return what they printed."""
        done = self.run(place, *names, before=before)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def database(self, name: str) -> Source:
        return Source(self.cluster, name, self.work)


TargetOf = Callable[[Captured, Cluster], Target]


def place(settings: Settings) -> Path:
    return settings.backup_dir / place_of(settings.databases[0], settings).root


def files_below(directory: Path) -> dict[str, bytes | str]:
    return {
        str(path.relative_to(directory)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in directory.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def wait_until_no_file_is_racy(directory: Path) -> None:
    """Wait until a full archive trusts the times of every file that is there now."""
    newest = max(path.lstat().st_ctime for path in (directory, *directory.rglob("*")))
    while time.time() < newest + RACY_SECONDS:
        time.sleep(0.05)
