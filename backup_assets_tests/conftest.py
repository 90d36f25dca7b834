from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from backup_assets.postgres.cluster import Cluster, remove_tree
from backup_assets.postgres.server_binaries import find_server_binaries
from backup_assets.postgres.throw_away import sweep_stale_clusters, throw_away_cluster
from backup_assets_tests.ciphers.keys import AgeKeys, Keyrings, make_age_keys, make_keyrings, require
from backup_assets_tests.sources import Source, drop_database, make_database

#: Debian's, the embedded default, and the wheel whose clients lack zstd.
MAJORS = (15, 17, 18)
#: As the settings of a server that is used in earnest, without durability.
LASTING = {"wal_level": "logical", "max_connections": "60"}

ClusterOf = Callable[[int], Cluster]
SourceOf = Callable[..., Source]


@pytest.fixture(scope="session")
def cluster_of() -> Iterator[ClusterOf]:
    """Return the running cluster of a major version, one for the whole session."""
    sweep_stale_clusters()
    started: dict[int, Cluster] = {}
    with ExitStack() as stack:

        def of(major: int) -> Cluster:
            if major not in started:
                found = [binaries for binaries in find_server_binaries() if binaries.major == major]
                if not found and "CI" in os.environ:
                    pytest.fail(f"no PostgreSQL {major} server is installed")
                if not found:
                    pytest.skip(f"no PostgreSQL {major} server is installed")
                # A locale that every one of the three servers has, and that no other part of the machine decides.
                started[major] = stack.enter_context(throw_away_cluster(None, found[0], settings=LASTING))
            return started[major]

        yield of


@pytest.fixture
def source_of(tmp_path: Path) -> Iterator[SourceOf]:
    """Return a new database on a cluster, named as asked or uniquely; it is dropped at the end."""
    made: list[Source] = []

    def of(cluster: Cluster, *statements: str, name: str | None = None) -> Source:
        source = Source(cluster, name or f"test_{uuid.uuid4().hex[:12]}", tmp_path / "backups")
        made.append(source)
        make_database(cluster, source.name, *statements)
        return source

    yield of
    for source in made:
        drop_database(source.cluster, source.name)


@pytest.fixture(params=MAJORS, ids=lambda major: f"pg{major}")
def every_cluster(request: pytest.FixtureRequest, cluster_of: ClusterOf) -> Cluster:
    return cluster_of(request.param)


@pytest.fixture
def a_cluster(cluster_of: ClusterOf) -> Cluster:
    return cluster_of(17)


@pytest.fixture
def an_empty_database(a_cluster: Cluster, source_of: SourceOf) -> Source:
    return source_of(a_cluster)


@pytest.fixture
def a_database(a_cluster: Cluster, source_of: SourceOf) -> Source:
    return source_of(
        a_cluster,
        "CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL)",
        "CREATE TABLE invoices (id int PRIMARY KEY, customer int REFERENCES customers, total numeric(12, 2))",
        "INSERT INTO customers SELECT n, 'customer ' || n FROM generate_series(1, 50) n",
        "INSERT INTO invoices SELECT n, n % 50 + 1, n * 1.5 FROM generate_series(1, 1000) n",
    )


@pytest.fixture(scope="session")
def keyrings() -> Iterator[Keyrings]:
    """Return the keyrings of a host that makes backups and of those who may read them."""
    require("gpg", "gpgconf")
    # Not below tmp_path: the path of an agent's socket has at most 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="keys-"))
    made = make_keyrings(directory)
    yield made
    made.end_agents()
    remove_tree(directory)  # an agent that was told to end removes its sockets meanwhile


@pytest.fixture(scope="session")
def age_keys(tmp_path_factory: pytest.TempPathFactory) -> AgeKeys:
    """Return the two halves of age keys."""
    require("age", "age-keygen")
    return make_age_keys(tmp_path_factory.mktemp("age"))
