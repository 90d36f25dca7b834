from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup_assets_tests.offsite.keys import AgeKeys, Keyrings, make_age_keys, make_keyrings, require


@pytest.fixture(scope="session")
def keyrings() -> Iterator[Keyrings]:
    require("gpg", "gpgconf")
    # Not below tmp_path: the path of an agent's socket has at most 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="keys-"))
    made = make_keyrings(directory)
    yield made
    made.end_agents()
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def age_keys(tmp_path_factory: pytest.TempPathFactory) -> AgeKeys:
    require("age", "age-keygen")
    return make_age_keys(tmp_path_factory.mktemp("age"))
