from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backup_assets.postgres.cluster import Cluster
from backup_assets.postgres.server_binaries import choose_server_binaries, find_server_binaries
from backup_assets.process import run
from backup_assets_tests.sources import Source, capture, connect, proven


@pytest.fixture
def a_standby(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    """A database on a hot standby, in step with its primary."""
    home = tmp_path_factory.mktemp("standby")
    home.chmod(0o755)
    binaries = choose_server_binaries(find_server_binaries(), 17)
    settings = {"max_wal_senders": "4", "wal_level": "replica"}
    primary = Cluster.create(home / "primary", binaries, throw_away=True, settings=settings)
    standby = Cluster.create(home / "standby", binaries, throw_away=True, settings=settings, password=primary.password)
    try:
        primary.start()
        with connect(primary, "postgres") as connection:
            connection.execute("CREATE TABLE lasting AS SELECT generate_series(1, 1000) AS id")
            connection.execute("CREATE UNLOGGED TABLE passing AS SELECT generate_series(1, 10) AS id")
        copied = home / "copied"
        base = [
            binaries.program("pg_basebackup"), "--host", str(primary.socket_directory), "--port", str(primary.port),
            "--username", primary.superuser, "--pgdata", str(copied), "--checkpoint=fast", "--write-recovery-conf",
        ]  # fmt: skip
        run(base, timeout=120, env={"PGPASSWORD": primary.password})
        _take_over(copied, standby.data_directory)
        standby.start()
        yield Source(standby, "postgres", home / "backups")
    finally:
        standby.destroy()
        primary.destroy()


def _take_over(copied: Path, data: Path) -> None:
    """Let a cluster's directory hold a base backup, with its own settings and its own server's user."""
    owner = data.stat()
    kept = {name: (data / name).read_bytes() for name in ("postgresql.conf", "pg_hba.conf")}
    argv = ["cp", "-a", "--", f"{copied}/.", str(data)]
    run(["find", str(data), "-mindepth", "1", "-delete"], timeout=60)
    run(argv, timeout=60)
    for name, content in kept.items():
        (data / name).write_bytes(content)
    run(["chown", "-R", f"{owner.st_uid}:{owner.st_gid}", str(data)], timeout=60)


@pytest.mark.slow
def test_a_standby_is_backed_up_without_the_rows_that_it_does_not_have(a_standby: Source) -> None:
    captured = capture(a_standby.settings())

    rows = {table.name: table.rows for table in captured.manifest.fingerprints.tables}
    assert rows == {"lasting": 1000, "passing": 0}
    assert any("standby" in warning for warning in captured.manifest.warnings)
    proof = proven(a_standby.settings(), captured)
    assert proof.record.passed, proof.record.problems
