from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backup_assets.postgres.cluster import Cluster
from backup_assets.settings_capture import AttachmentsSettings
from backup_assets_tests.conftest import SourceOf
from backup_assets_tests.restore.restoring import TABLES, Erp, databases_of, drop_new
from backup_assets_tests.sources import connect


@pytest.fixture
def a_tidy_server(a_cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, from which everything that a test added is removed afterwards."""
    databases = databases_of(a_cluster)
    with connect(a_cluster, "postgres") as connection:
        roles = {str(name) for (name,) in connection.execute("SELECT rolname FROM pg_roles").fetchall()}
    yield a_cluster
    drop_new(a_cluster, databases, roles)


@pytest.fixture
def an_erp(a_tidy_server: Cluster, source_of: SourceOf, tmp_path: Path) -> Erp:
    source = source_of(a_tidy_server, *TABLES)
    attachments = tmp_path / "erp" / "attachments"
    attachments.mkdir(parents=True)
    for number in range(1, 4):
        (attachments / f"{number}.pdf").write_text(f"invoice {number}")
    settings = source.settings(attachments=AttachmentsSettings(directory=attachments))
    return Erp(source, settings, attachments)
