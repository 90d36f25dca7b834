from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from backup_assets.errors import EnvironmentFault, Refused
from backup_assets.watch.metrics_server import Latest, address_of, metrics_server
from backup_assets_tests.sources import no_log


@contextmanager
def serving(measured: Callable[[], bytes], seconds: float = 3600.0) -> Iterator[str]:
    """Yield the URL of a server on a free port."""
    with metrics_server(("127.0.0.1", 0), Latest(measured, seconds), no_log) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def fetched(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_figures_are_measured_once_within_the_time_however_often_they_are_asked_for():
    asked: list[int] = []

    def measured() -> bytes:
        asked.append(1)
        return b"x 1\n"

    with serving(measured) as url:
        assert [fetched(f"{url}/metrics") for _ in range(3)] == [(200, "x 1\n")] * 3
        assert fetched(f"{url}/")[0] == 404
    assert len(asked) == 1
    with serving(measured, seconds=0) as url:
        fetched(f"{url}/metrics")
        fetched(f"{url}/metrics")
    assert len(asked) == 3


def test_an_error_is_a_failed_scrape_and_never_the_old_figures():
    outcomes: list[bytes | Exception] = [b"x 1\n", EnvironmentFault("the disk is gone"), b"x 2\n"]

    def measured() -> bytes:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    with serving(measured, seconds=0) as url:
        found = [fetched(f"{url}/metrics") for _ in range(3)]
    assert found == [(200, "x 1\n"), (500, "the disk is gone\n"), (200, "x 2\n")]


def test_a_port_that_is_taken_is_a_clear_error():
    latest = Latest(lambda: b"", 60)
    with metrics_server(("127.0.0.1", 0), latest, no_log) as server:
        address = ("127.0.0.1", int(server.server_address[1]))
        with pytest.raises(EnvironmentFault, match="cannot be served on") as caught:
            metrics_server(address, latest, no_log)
    assert "--listen" in caught.value.remedy


def test_an_address_is_a_host_and_a_port():
    assert address_of("127.0.0.1:9723") == ("127.0.0.1", 9723)
    assert address_of("[::1]:9723") == ("::1", 9723)
    for wrong in ("9723", ":9723", "localhost", "localhost:x", "localhost:70000"):
        with pytest.raises(Refused, match="is no address"):
            address_of(wrong)
