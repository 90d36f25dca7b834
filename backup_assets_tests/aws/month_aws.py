"""How does a test start an AWS whose clock it moves, and tell it how to behave?"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3

from backup_assets_tests.aws.conftest import OSAKA, TOKYO, PretendedAws
from backup_assets_tests.aws.month_server import ADMINISTRATOR, Behaviour
from backup_assets_tests.end_to_end.machine import REPOSITORY
from backup_assets_tests.end_to_end.moved_clock import MovedClock

_KEYS = {"aws_access_key_id": ADMINISTRATOR, "aws_secret_access_key": "testing"}
_STARTED_WITHIN = 300.0
_ENDED_WITHIN = 60.0


@dataclass(frozen=True)
class MovedAws(PretendedAws):
    """An AWS in a process of its own, whose clock is the test's."""

    def client(self, service: str, region: str = TOKYO) -> Any:
        """Return an administrator's client, which meets none of the faults."""
        return boto3.client(service, region_name=region, endpoint_url=self.endpoint_url, **_KEYS)

    def behaves(self, **behaviour: Any) -> None:
        """Let it behave so from now on, see `month_server.Behaviour`; without anything it is well and quick."""
        Behaviour(**behaviour)  # says what there is not
        body = json.dumps(behaviour).encode()
        with urlopen(Request(f"{self.endpoint_url}/pretend", body, method="POST"), timeout=60):  # noqa: S310
            pass


@contextmanager
def a_moved_aws(clock: MovedClock, directory: Path) -> Iterator[MovedAws]:
    """Yield it, empty but for a key in each region; its log is in ``directory``."""
    # It inherits a port that listens already: one that is only known to be free may be somebody else's by then.
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening, (directory / "aws.log").open("wb") as log:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = subprocess.Popen(
            [sys.executable, "-m", "backup_assets_tests.aws.month_server", str(listening.fileno())],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), **clock.environment},
            pass_fds=[listening.fileno()],
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + _STARTED_WITHIN
        while not _answers(address):
            assert server.poll() is None, (directory / "aws.log").read_text()
            assert time.monotonic() < deadline, "AWS has not begun to answer"
            time.sleep(0.1)
        empty = MovedAws(address, "", "")
        yield MovedAws(address, empty.make_key(TOKYO), empty.make_key(OSAKA))
    finally:
        server.terminate()
        server.wait(_ENDED_WITHIN)


def _answers(address: str) -> bool:
    try:
        with urlopen(f"{address}/moto-api/data.json", timeout=5):  # noqa: S310 - our own server
            return True
    except OSError:
        return False
