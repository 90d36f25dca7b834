from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def a_message_may_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a look wait longer for its messages than in earnest: the first one loads a library of a hundred services."""
    monkeypatch.setattr("backup_assets.watch.rounds.SEND_SECONDS", 60.0)
