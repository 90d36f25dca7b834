from __future__ import annotations

import logging
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest

from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_server import ServerSettings
from backup_assets.settings_watch import WatchSettings
from backup_assets.watch.channels import Channel, channels_of, send
from backup_assets.watch.messages import Letter
from backup_assets_tests.watch.listening import Mailbox, Webhook, a_mailbox, a_webhook

LETTER = Letter("[erp4 prod] 復元 <b>failed</b>", "Because: a & b\nSafe: nothing", "error")


@pytest.fixture
def a_hook() -> Iterator[Webhook]:
    with a_webhook() as hook:
        yield hook


@pytest.fixture
def a_box() -> Iterator[Mailbox]:
    with a_mailbox() as box:
        yield box


def settings_with(tmp_path: Path, *channels: str) -> Settings:
    server = ServerSettings.model_validate({"password": "hunter2-of-the-database"})
    database = DatabaseSettings(name="erp4", database="erp4", server=server)
    return Settings(
        env="prod",
        backup_dir=tmp_path,
        databases=(database,),
        watch=WatchSettings.model_validate({"channels": channels}),
    )


def sent(settings: Settings, letter: Letter = LETTER, *, seconds: float = 60.0) -> dict[str, str]:
    outcome = send({channel: [letter] for channel in channels_of(settings)}, settings, seconds=seconds)
    return {channel.name: failures[0] for channel, failures in outcome.items()}


def test_a_webhook_gets_the_message_as_it_is(tmp_path: Path, a_hook: Webhook) -> None:
    assert sent(settings_with(tmp_path, f"json://{a_hook.address}/path")) == {"1-json": ""}

    (posted,) = a_hook.posted
    assert (posted["title"], posted["message"]) == (LETTER.subject, LETTER.body)
    assert posted["type"] == "failure"


def test_a_mail_server_gets_the_message(tmp_path: Path, a_box: Mailbox) -> None:
    url = f"mailto://127.0.0.1:{a_box.port}?from=backup@example.com&to=a@example.com,b@example.com"

    assert sent(settings_with(tmp_path, url)) == {"1-mailto": ""}

    assert {str(mail["To"]) for mail in a_box.mails} == {"a@example.com", "b@example.com"}
    assert all(mail["Subject"] == LETTER.subject for mail in a_box.mails)
    body = a_box.mails[0].get_body(("plain", "html"))
    assert body is not None
    assert "a &amp; b" in body.get_content() or "a & b" in body.get_content()


def test_a_comma_inside_an_address_does_not_end_it(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, "mailto://h?to=a@x,b@x, slack://T/U/V", "json://h")

    assert [(one.name, one.url) for one in channels_of(settings)] == [
        ("1-mailto", "mailto://h?to=a@x,b@x"),
        ("2-slack", "slack://T/U/V"),
        ("3-json", "json://h"),
    ]


def test_a_channel_that_fails_does_not_stop_the_others(tmp_path: Path, a_hook: Webhook, a_box: Mailbox) -> None:
    a_hook.status = 503
    mail = f"mailto://127.0.0.1:{a_box.port}?from=backup@example.com&to=a@example.com"

    outcome = sent(settings_with(tmp_path, f"json://{a_hook.address}", mail))

    assert "503" in outcome["1-json"]
    assert outcome["2-mailto"] == ""
    assert len(a_box.mails) == 1


def test_a_channel_that_hangs_is_given_up_and_the_others_go(tmp_path: Path, a_hook: Webhook, a_box: Mailbox) -> None:
    a_hook.hangs = True
    mail = f"mailto://127.0.0.1:{a_box.port}?from=backup@example.com&to=a@example.com"

    outcome = sent(settings_with(tmp_path, f"json://{a_hook.address}?rto=200", mail), seconds=10)

    assert outcome == {"1-json": "no answer within 10 s", "2-mailto": ""}


def test_no_part_of_an_address_is_told_or_logged(
    tmp_path: Path, a_hook: Webhook, capfd: pytest.CaptureFixture[str]
) -> None:
    a_hook.status = 403
    urls = [
        f"json://bob:pass-word@{a_hook.address}/token-of-mine?key=also-secret",
        "json://host-that-is-a-token.invalid/",
        "slack://nonsense-token",
        "unknownscheme://a-token",
    ]

    # Pytest's own handler would be put before the loggers that keep their words to themselves.
    log = logging.StreamHandler(written := StringIO())
    logging.getLogger().addHandler(log)
    try:
        outcome = sent(settings_with(tmp_path, *urls))
    finally:
        logging.getLogger().removeHandler(log)

    assert all(outcome.values())
    everything = f"{outcome} {written.getvalue()} {capfd.readouterr()} {channels_of(settings_with(tmp_path, *urls))}"
    for secret in ("pass-word", "token-of-mine", "also-secret", "host-that-is-a-token", "nonsense-token", "a-token"):
        assert secret not in everything


def test_after_a_failure_the_other_letters_of_a_channel_wait(tmp_path: Path, a_hook: Webhook) -> None:
    a_hook.status = 500
    settings = settings_with(tmp_path, f"json://{a_hook.address}")
    (channel,) = channels_of(settings)

    outcome = send({channel: [LETTER, LETTER]}, settings, seconds=60)

    assert [bool(failure) for failure in outcome[channel]] == [True, True]


def test_a_channel_shows_its_name_and_not_its_address() -> None:
    assert repr(Channel("1-slack", "slack://token")) == "Channel(1-slack)"


def test_a_channel_is_remembered_by_its_address_and_that_cannot_be_read_there() -> None:
    first, moved, other = (
        Channel(name, f"slack://{url}") for name, url in (("1-slack", "a"), ("2-slack", "a"), ("1-slack", "b"))
    )

    assert first.key == moved.key != other.key
    assert len(first.key) == len("slack-123456")
