from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from backup_assets.demo.erp import ErpFacts, ensure_erp
from backup_assets.demo.object_server import stop_demo_object_server
from backup_assets.demo.server import stop_demo_server

LAST_DAY = date(2026, 11, 20)


def _a_home() -> Iterator[Path]:
    # Not tmp_path: as root that lies below a closed directory, where a server of another user cannot go.
    home = Path(tempfile.gettempdir()) / f"ba-demo-{uuid.uuid4().hex[:8]}"
    yield home
    stop_demo_server(home)
    stop_demo_object_server(home)
    if home.exists():
        shutil.rmtree(home)


@pytest.fixture
def a_home() -> Iterator[Path]:
    yield from _a_home()


@pytest.fixture(scope="module")
def a_lasting_home() -> Iterator[Path]:
    yield from _a_home()


@pytest.fixture(scope="module")
def a_small_erp(a_lasting_home: Path) -> ErpFacts:
    return ensure_erp(a_lasting_home, "small", last_day=LAST_DAY)
