from __future__ import annotations

from collections.abc import Iterator

import pytest

from backup_assets_tests.stores.object_server import ObjectServer, object_server


@pytest.fixture(scope="session")
def objects() -> Iterator[ObjectServer]:
    """A real S3 server, one for the whole session."""
    with object_server() as server:
        yield server
