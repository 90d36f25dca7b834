from __future__ import annotations

from collections.abc import Iterator

import pytest

from backup_assets.watch.heartbeat import ping
from backup_assets_tests.watch.listening import Webhook, a_webhook


@pytest.fixture
def a_hook() -> Iterator[Webhook]:
    with a_webhook() as hook:
        yield hook


def test_the_address_is_requested_once(a_hook: Webhook) -> None:
    assert ping(f"http://{a_hook.address}/uuid\n") == ""
    assert a_hook.requested == ["/uuid"]


def test_an_answer_that_is_no_success_is_told_without_the_address(a_hook: Webhook) -> None:
    a_hook.status = 404
    assert ping(f"http://{a_hook.address}/uuid") == "it answered 404"


def test_a_service_that_hangs_is_given_up(a_hook: Webhook) -> None:
    a_hook.hangs = True
    assert ping(f"http://{a_hook.address}/uuid", seconds=1) == "no answer within 1 s"


def test_no_connection_is_told_without_the_address() -> None:
    answer = ping("http://127.0.0.1:9/uuid")
    assert answer
    assert "uuid" not in answer
