from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from backup_assets.sets.manifest import Manifest
from backup_assets.settings import Settings
from backup_assets.settings_capture import AttachmentsSettings
from backup_assets_tests.conftest import ClusterOf
from backup_assets_tests.restore.restoring import TABLES, Erp, databases_of, drop_new, unique
from backup_assets_tests.sources import Source, connect, make_database


@dataclass(frozen=True)
class TwoSets:
    """Two sets of a database that changed in between; the attachments of the second are a differential."""

    erp: Erp
    first: Manifest
    second: Manifest

    @property
    def settings(self) -> Settings:
        return self.erp.settings


@pytest.fixture(scope="module")
def captured_once(cluster_of: ClusterOf) -> Iterator[TwoSets]:
    cluster = cluster_of(17)
    databases = databases_of(cluster)
    with connect(cluster, "postgres") as connection:
        roles = {str(name) for (name,) in connection.execute("SELECT rolname FROM pg_roles").fetchall()}
    home = Path(tempfile.mkdtemp(prefix="ba-faults-"))
    try:
        attachments = home / "erp" / "attachments"
        attachments.mkdir(parents=True)
        (attachments / "1.pdf").write_text("invoice 1 " * 1000)
        source = Source(cluster, unique("erp"), home / "backups")
        make_database(cluster, source.name, *TABLES)
        erp = Erp(source, source.settings(attachments=AttachmentsSettings(directory=attachments)), attachments)
        first = erp.captured().manifest
        role = unique("clerk")
        source.execute(
            f"CREATE ROLE {role}",
            f"ALTER TABLE customers OWNER TO {role}",
            "UPDATE customers SET name = 'renamed' WHERE id = 1",
        )
        (attachments / "2.pdf").write_text("invoice 2 " * 1000)
        second = erp.captured().manifest
        yield TwoSets(erp, first, second)
    finally:
        drop_new(cluster, databases, roles)
        shutil.rmtree(home)


@pytest.fixture
def two_sets(captured_once: TwoSets, tmp_path: Path) -> TwoSets:
    """A copy of the store, to be damaged; the live database and its files are those of every test here."""
    erp = captured_once.erp
    backup_dir = tmp_path / "backups"
    shutil.copytree(erp.settings.backup_dir, backup_dir)
    settings = erp.settings.model_copy(update={"backup_dir": backup_dir})
    return TwoSets(Erp(erp.source, settings, erp.attachments), captured_once.first, captured_once.second)
