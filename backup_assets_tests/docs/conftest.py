from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from backup_assets.capture.capture import Captured
from backup_assets.postgres.cluster import Cluster
from backup_assets.postgres.throw_away import throw_away_cluster
from backup_assets_tests.docs.by_hand import STOCK, Target, TargetOf


@pytest.fixture
def target_of(tmp_path: Path) -> Iterator[TargetOf]:
    """Return a new server of the source's version, with the clients that made the dump and stock programs."""
    # Short, for the keyrings that the page makes: the path of an agent's socket has at most 107 bytes.
    temporary = Path(tempfile.mkdtemp(prefix="by-hand-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, temporary)
        stack.callback(end_agents, temporary)

        def of(captured: Captured, like: Cluster) -> Target:
            fresh = stack.enter_context(throw_away_cluster(None, like.binaries))
            programs = tmp_path / "bin"
            programs.mkdir()
            for name in ("psql", "pg_restore"):
                (programs / name).symlink_to(Path(captured.manifest.client.directory) / name)
            target = Target(fresh, tmp_path / "work", programs, {"TMPDIR": str(temporary)})
            target.has(*STOCK)
            return target

        yield of


def end_agents(directory: Path) -> None:
    """End the agents of the keyrings in a directory."""
    for home in directory.glob("*/private-keys-v1.d"):
        subprocess.run(["gpgconf", "--homedir", str(home.parent), "--kill", "all"], check=True, timeout=60)


@pytest.fixture
def an_attachments_directory(tmp_path: Path) -> Path:
    directory = tmp_path / "live"
    (directory / "2026" / "請求書").mkdir(parents=True)
    (directory / "2026" / "請求書" / "INV 1.pdf").write_bytes(b"one")
    (directory / "2026" / "gone.pdf").write_bytes(b"deleted after the full archive")
    (directory / "2026" / "changed.pdf").write_bytes(b"old")
    (directory / "2026" / "back\\slash.pdf").write_bytes(b"odd")
    (directory / "newest.pdf").symlink_to("2026/請求書/INV 1.pdf")
    return directory
