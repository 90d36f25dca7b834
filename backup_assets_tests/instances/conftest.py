from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import pytest

from backup_assets.instance import KIND_VARIABLE, dagster_instance
from backup_assets.postgres.cluster import Cluster
from backup_assets_tests.instances.history import History, a_history_on

InstanceOf = Callable[..., dg.DagsterInstance]


@pytest.fixture
def a_history(a_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[History]:
    """An empty history that the environment names, in a directory without settings."""
    monkeypatch.chdir(tmp_path)
    with a_history_on(a_cluster, tmp_path) as history:
        for name, value in history.environment.items():
            monkeypatch.setenv(name, value)
        yield history


@pytest.fixture
def instance_of(a_history: History, monkeypatch: pytest.MonkeyPatch) -> Iterator[InstanceOf]:
    """Return the instance of a kind, loaded from the file that is written into its home."""
    with ExitStack() as stack:

        def of(kind: str, **variables: str) -> dg.DagsterInstance:
            for name, value in {KIND_VARIABLE: kind, **variables}.items():
                monkeypatch.setenv(name, value)
            return stack.enter_context(dagster_instance())

        yield of
