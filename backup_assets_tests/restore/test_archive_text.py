from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup_assets.errors import CheckFailed, TransientFault
from backup_assets.postgres.cluster import Cluster
from backup_assets.postgres.server import Server
from backup_assets.postgres.session import one_value, open_session
from backup_assets.restore.archive_text import declared_encoding, text_of
from backup_assets.restore.database import Selection
from backup_assets.restore.stock_commands import as_text, stock_commands
from backup_assets_tests.cli.test_sets import client_environment
from backup_assets_tests.other_encodings import EUC_JP, JapaneseSource, make_euc_jp, own_server
from backup_assets_tests.restore.restoring import databases_of, path_of, restore, rows_of
from backup_assets_tests.sources import connect, drop_database, proven

OWNERS = """
SELECT (SELECT rolname::text FROM pg_roles WHERE oid = d.datdba), shobj_description(d.oid, 'pg_database'),
  (SELECT tableowner::text FROM pg_tables WHERE tablename = '請求'),
  (SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = '経理')
FROM pg_database d WHERE datname = current_database()
"""
OWNED = ("経理", "本番データベース①～②", "経理", "経理部")


@pytest.fixture
def a_server() -> Iterator[Cluster]:
    with own_server() as cluster:
        yield cluster


@pytest.fixture
def a_japanese_database(a_server: Cluster, tmp_path: Path) -> JapaneseSource:
    return make_euc_jp(a_server, tmp_path / "backups", *EUC_JP)


def owners(cluster: Cluster, name: str) -> tuple[str, ...]:
    with connect(cluster, name, client_encoding="UTF8") as connection:
        (row,) = connection.execute(OWNERS).fetchall()
    return row


def test_names_and_comments_of_a_japanese_database_come_back_as_they_were(
    a_japanese_database: JapaneseSource,
) -> None:
    source = a_japanese_database
    settings = source.settings()
    captured = source.captured(settings)

    assert proven(settings, captured).record.problems == ()
    restore(settings, into="copy")

    assert owners(source.cluster, "erp_euc") == OWNED
    assert owners(source.cluster, "copy") == OWNED


def test_a_table_with_a_japanese_name_is_restored_alone_when_it_is_chosen(a_japanese_database: JapaneseSource) -> None:
    settings = a_japanese_database.settings()
    a_japanese_database.captured(settings)

    restore(settings, into="copy", selection=Selection(tables=frozenset({("public", "請求")})))

    assert rows_of(a_japanese_database.cluster, "copy") == {"public.plain": 0, "public.請求": 2}


def test_stock_programs_bring_back_what_was_lost_with_its_roles(
    a_japanese_database: JapaneseSource, tmp_path: Path
) -> None:
    settings = a_japanese_database.settings()
    manifest = a_japanese_database.captured(settings).manifest
    paths = {role: path_of(settings, manifest, role) for role in ("dump", "globals")}
    script = as_text(stock_commands(manifest, manifest, paths, None))
    a_japanese_database.execute(
        "ALTER DATABASE erp_euc OWNER TO postgres", 'DROP OWNED BY "経理" CASCADE', 'DROP ROLE "経理"'
    )
    drop_database(a_japanese_database.cluster, "erp_euc")

    done = subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=tmp_path,
        env=client_environment(a_japanese_database),
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert owners(a_japanese_database.cluster, "erp_euc") == OWNED
    assert databases_of(a_japanese_database.cluster) == {"erp_euc", "postgres", "template0", "template1"}


def test_the_encoding_is_the_one_that_the_script_says() -> None:
    assert declared_encoding(b"SET lock_timeout = 0;\nSET client_encoding = 'EUC_JP';\n") == "EUC_JP"


@pytest.mark.parametrize(("content", "encoding"), [(b"\xb7\xd0\xff", "EUC_JP"), (b"\xb7\xd0", "UTF8")])
def test_bytes_of_another_encoding_are_never_run_as_something_else(
    content: bytes, encoding: str, a_cluster: Cluster
) -> None:
    with (
        open_session(Server.from_settings(a_cluster.server_settings()), "postgres") as session,
        pytest.raises(CheckFailed, match=f"cannot be read in its encoding, {encoding}"),
    ):
        text_of(content, encoding, session)


def test_a_server_that_is_lost_while_it_converts_does_not_accuse_the_dump(a_cluster: Cluster) -> None:
    words = "請求".encode("euc_jp")
    with open_session(Server.from_settings(a_cluster.server_settings()), "postgres") as session:
        assert text_of(words, "EUC_JP", session) == "請求"
        own = one_value(session, "SELECT pg_backend_pid()")
        with connect(a_cluster, "postgres") as other:
            other.execute("SELECT pg_terminate_backend(%s::int, 60000)", (own,))
        with pytest.raises(TransientFault):
            text_of(words, "EUC_JP", session)
