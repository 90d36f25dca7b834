"""Databases in another encoding than UTF-8, with names that are bytes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backup_assets.postgres.cluster import Cluster
from backup_assets.postgres.server_binaries import find_server_binaries
from backup_assets.postgres.throw_away import throw_away_cluster
from backup_assets_tests.sources import Source, connect

EUC_JP = (
    'CREATE ROLE "経理"',
    "COMMENT ON ROLE \"経理\" IS '経理部'",
    'CREATE TABLE "請求" (id int, "件名" text)',
    "INSERT INTO \"請求\" VALUES (1, '請求書①'), (2, '～')",
    "CREATE TABLE plain (id int)",
    "INSERT INTO plain VALUES (1)",
    'ALTER TABLE "請求" OWNER TO "経理"',
    'ALTER DATABASE erp_euc OWNER TO "経理"',
    "COMMENT ON DATABASE erp_euc IS '本番データベース①～②'",
)


@contextmanager
def own_server() -> Iterator[Cluster]:
    """Yield a server for one test: what has no name in UTF-8 would disturb every other user of a common one."""
    found = [binaries for binaries in find_server_binaries() if binaries.major == 17]
    if not found:
        pytest.skip("no PostgreSQL 17 server is installed")
    with throw_away_cluster(None, found[0]) as cluster:
        yield cluster


@dataclass(frozen=True)
class JapaneseSource(Source):
    """A database in EUC_JP."""

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        return super().connect(client_encoding="UTF8", **options)

    def execute(self, *statements: str) -> None:
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement.encode())


def make_euc_jp(cluster: Cluster, backup_dir: Path, *statements: str) -> JapaneseSource:
    """Make the database ``erp_euc`` and run statements in it."""
    with connect(cluster, "postgres") as connection:
        connection.execute("CREATE DATABASE erp_euc TEMPLATE template0 ENCODING 'EUC_JP' LC_COLLATE 'C' LC_CTYPE 'C'")
    source = JapaneseSource(cluster, "erp_euc", backup_dir)
    source.execute(*statements)
    return source
