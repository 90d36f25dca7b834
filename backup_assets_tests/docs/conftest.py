from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from backup_assets.capture.request import Captured
from backup_assets.postgres.cluster import Cluster
from backup_assets.postgres.throw_away import throw_away_cluster
from backup_assets_tests.ciphers.keys import end_agent
from backup_assets_tests.conftest import MAJORS, ClusterOf
from backup_assets_tests.docs.by_hand import STOCK as STOCK_BY_HAND
from backup_assets_tests.docs.by_hand import Target, TargetOf
from backup_assets_tests.docs.runbook import CLIENTS, STOCK, TABLES, Site
from backup_assets_tests.docs.warm_program import warm_program
from backup_assets_tests.restore.restoring import databases_of, drop_new
from backup_assets_tests.sources import connect, make_database


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
            target.has(*STOCK_BY_HAND)
            return target

        yield of


def end_agents(directory: Path) -> None:
    """End the agents of the keyrings in a directory."""
    for home in directory.glob("*/private-keys-v1.d"):
        end_agent(home.parent)


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


@pytest.fixture(scope="module")
def the_program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`backup-assets`, loaded once for many commands."""
    directory = Path(tempfile.mkdtemp(prefix="warm-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        yield stack.enter_context(warm_program(directory))


@pytest.fixture
def a_site(a_cluster: Cluster, the_program: Path) -> Iterator[Site]:
    """A small ERP called erp4 with attachments, and a disk for copies."""
    with site_on(a_cluster, the_program, a_cluster.binaries.directory) as site:
        yield site


@pytest.fixture
def an_old_site(cluster_of: ClusterOf, the_program: Path) -> Iterator[Site]:
    """The same on the oldest server that the tests know, with the clients of the next one."""
    with site_on(cluster_of(MAJORS[0]), the_program, cluster_of(MAJORS[1]).binaries.directory) as site:
        yield site


@contextmanager
def site_on(cluster: Cluster, program: Path, clients: Path) -> Iterator[Site]:
    """Make a site whose database is on that cluster, and remove all of it at the end."""
    directory = Path(tempfile.mkdtemp(prefix="site-"))  # short, for the sockets of gpg's agents
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        programs = directory / "bin"
        for path in (programs, directory / "attachments", directory / "usb", directory / "gnupg"):
            path.mkdir(mode=0o700)
        (programs / "backup-assets").symlink_to(program)
        for name in CLIENTS:
            (programs / name).symlink_to(clients / name)
        for number in (1, 2, 3):
            (directory / "attachments" / f"{number}.pdf").write_text(f"invoice {number}")
        environment = {
            "PATH": str(programs),
            "LC_ALL": "C.UTF-8",
            "HOME": str(directory),
            "TMPDIR": str(directory),
            "GNUPGHOME": str(directory / "gnupg"),
            "PGHOST": str(cluster.socket_directory),
            "PGPORT": str(cluster.port),
            "PGUSER": cluster.superuser,
            "PGPASSWORD": cluster.password,
            "ERP4_PASSWORD": cluster.password,
            "SETS": str(directory / "sets"),
        }
        server = {
            "host": str(cluster.socket_directory),
            "port": cluster.port,
            "user": cluster.superuser,
            "password": {"env": "ERP4_PASSWORD"},
        }
        files = [{"table": "invoices", "column": "pdf"}]
        erp4 = {"server": server, "attachments": {"directory": "attachments", "files": files}}
        tree = {
            "env": "production",
            "backup_dir": "sets",
            "databases": {"erp4": erp4},
            "stores": {"usb": {"kind": "folder", "directory": "usb", "off_site": True}},
        }
        site = Site(directory, cluster, programs, tree, environment)
        site.has(*STOCK)
        site.write()
        stack.callback(end_agents, directory)
        before = roles_of(cluster)
        make_database(cluster, "erp4", *TABLES)
        stack.callback(drop_new, cluster, databases_of(cluster) - {"erp4"}, before)
        yield site


def roles_of(cluster: Cluster) -> set[str]:
    with connect(cluster, "postgres") as connection:
        return {str(name) for (name,) in connection.execute("SELECT rolname FROM pg_roles").fetchall()}
