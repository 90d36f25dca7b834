"""An operator who follows the runbook: a small ERP with its backups, and a shell that types the page's blocks."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from backup_assets.local import local_store, place_of
from backup_assets.named_stores import catalog_in, store_named
from backup_assets.offsite.copies import copy_slot
from backup_assets.offsite.encrypted import encrypt_sets
from backup_assets.postgres.cluster import Cluster
from backup_assets.sets.backup_set import BackupSet
from backup_assets.settings import Settings
from backup_assets.settings_loading import load_settings
from backup_assets_tests.ciphers.keys import Keyrings, gpg
from backup_assets_tests.docs.by_hand import add_programs
from backup_assets_tests.docs.pages import DOCS, blocks_of
from backup_assets_tests.sources import Source, capture, no_log

ENGLISH = DOCS / "runbook.md"
JAPANESE = DOCS / "runbook.ja.md"
BLOCKS = {block.name: block.body for block in blocks_of(ENGLISH) if block.language == "sh"}
#: In these a person writes what the tests give as variables.
VARIABLES = {name for name in BLOCKS if name == "variables" or name.endswith("-variables")}
#: What cannot be run here, and why.
ELSEWHERE = {"elsewhere:services": "the services of systemd are not installed where tests run"}
TABLES = (
    "CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL)",
    "CREATE TABLE invoices (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int REFERENCES customers)",
    "ALTER TABLE invoices ADD total numeric(12, 2), ADD pdf text",
    "CREATE INDEX invoices_by_customer ON invoices (customer)",
    "CREATE TABLE payments (id int PRIMARY KEY, invoice int REFERENCES invoices)",
    "CREATE VIEW open_invoices AS SELECT id, total FROM invoices WHERE total > 10",
    "INSERT INTO customers SELECT n, '顧客' || n FROM generate_series(1, 20) n",
    "INSERT INTO invoices (customer, total) SELECT n % 20 + 1, n * 1.5 FROM generate_series(1, 100) n",
    "UPDATE invoices SET pdf = id || '.pdf' WHERE id <= 3",
    "INSERT INTO payments SELECT n, n FROM generate_series(1, 50) n",
)
#: Everything that the page types beside a POSIX shell, `backup-assets`, and PostgreSQL's programs.
STOCK = (
    "awk", "cat", "cp", "diff", "gpg", "gpg-agent", "gpgconf", "grep", "head", "ls", "mkdir", "mv", "od", "rm", "rsync",
    "sh", "ssh", "ssh-keygen", "tr", "zstd", "tar",
)  # fmt: skip
REFUSED = 2
CLIENTS = ("psql", "pg_dump", "dropdb")


@dataclass
class Site:
    """The directory of a `backup.yaml`, the live database `erp4`, and an operator's shell there."""

    directory: Path
    cluster: Cluster
    programs: Path
    tree: dict[str, Any]
    environment: dict[str, str]

    @property
    def live(self) -> Source:
        return Source(self.cluster, "erp4", self.sets)

    @property
    def copy(self) -> Source:
        return Source(self.cluster, "erp4_copy", self.sets)

    @property
    def sets(self) -> Path:
        return self.directory / "sets"

    @property
    def attachments(self) -> Path:
        return self.directory / "attachments"

    @property
    def erp4(self) -> dict[str, Any]:
        """What `backup.yaml` says of the database."""
        return self.tree["databases"]["erp4"]

    def write(self) -> None:
        """Save `backup.yaml`, as after an edit."""
        (self.directory / "backup.yaml").write_text(yaml.safe_dump(self.tree, allow_unicode=True))

    def settings(self) -> Settings:
        return load_settings(self.environment, self.directory)

    def taken(self, *stores: str) -> str:
        """Take a set, encrypt it where that is configured, copy it to stores, and return its id."""
        settings = self.settings()
        manifest = capture(settings).manifest
        database = settings.databases[0]
        if settings.encryption.recipients:
            local = catalog_in(local_store(settings), place_of(database, settings))
            done = encrypt_sets(database, settings, local.sets(), log=no_log)
            assert [one.error for one in done] == [None] * len(done)
        for store in stores:
            target = store_named(settings, store, writing=True)
            copied = copy_slot(database, settings, target, manifest.slot, log=no_log)
            assert {one.state for one in copied} <= {"copied", "present"}
        return manifest.id

    def newest(self, store: str = "local") -> BackupSet:
        settings = self.settings()
        named = local_store(settings) if store == "local" else store_named(settings, store)
        return catalog_in(named, place_of(settings.databases[0], settings)).resolve("latest")

    def types(self, name: str, **variables: str) -> str:
        """Type a block, with its variables, in a shell that stops at the first error; return what it says."""
        return self._typed(name, 0, variables)

    def refused(self, name: str, **variables: str) -> str:
        """Type a block that must be refused; return what it says."""
        return self._typed(name, REFUSED, variables)

    def _typed(self, name: str, status: int, variables: dict[str, str]) -> str:
        done = subprocess.run(
            ["/bin/sh", "-eu", "-c", BLOCKS[name]],
            env={**self.environment, **variables},
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == status, f"{name} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def has(self, *names: str) -> None:
        """Have further stock programs; skips where the system lacks one, fails there in CI."""
        add_programs(self.programs, *names)


def recipients(site: Site, keyrings: Keyrings, *fingerprints: str) -> None:
    """Let sets be encrypted to some keys, whose public halves are in the keyring of the site."""
    for fingerprint in fingerprints:
        gpg(Path(site.environment["GNUPGHOME"]), "--import", input_bytes=gpg(keyrings.host, "--export", fingerprint))
    site.tree["encryption"] = {"recipients": list(fingerprints), "gpg_homedir": site.environment["GNUPGHOME"]}
    site.write()


def private_key(site: Site, keyring: Path) -> str:
    """Return the file in which a custodian brings a private key."""
    path = site.directory / "key.asc"
    path.write_bytes(gpg(keyring, "--armor", "--export-secret-keys"))
    return str(path)
