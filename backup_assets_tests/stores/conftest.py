from __future__ import annotations

from collections.abc import Iterator

import pytest

from backup_assets_tests.stores.object_server import ObjectServer, object_server
from backup_assets_tests.stores.ssh_server import SshServer, ssh_server


@pytest.fixture(scope="session")
def objects() -> Iterator[ObjectServer]:
    """A real S3 server, one for the whole session."""
    with object_server() as server:
        yield server


@pytest.fixture(scope="session")
def another_host() -> Iterator[SshServer]:
    """A real SSH server, one for the whole session."""
    with ssh_server() as server:
        yield server
