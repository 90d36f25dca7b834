from __future__ import annotations

import pytest

from backup_assets.aws.answers import Missing
from backup_assets.aws.events.queue import MOST_TIMES, Message, delete, queue_access, receive
from backup_assets.settings_aws import AwsSettings
from backup_assets_tests.aws.conftest import OSAKA, TOKYO, PretendedAws
from backup_assets_tests.aws.events.hearing import a_job, a_queue, send, waiting


def test_a_message_stays_until_it_is_deleted(aws: PretendedAws) -> None:
    url = a_queue(aws)
    for number in range(12):
        send(aws, url, a_job("FAILED", f"job-{number}"))

    messages = receive(aws.access(), url)

    assert len(messages) == 12
    assert {one.event.id for one in messages if one.event} == {f"job-{number}:FAILED" for number in range(12)}
    assert waiting(aws, url) == 12
    assert receive(aws.access(), url) == (), "they are hidden while a run tells them"
    delete(aws.access(), url, [one.receipt for one in messages])
    assert waiting(aws, url) == 0


def test_a_message_that_is_no_event_says_why(aws: PretendedAws) -> None:
    url = a_queue(aws)
    send(aws, url, "not json")
    send(aws, url, {"detail-type": "Something Else", "region": TOKYO, "time": "2026-11-22T02:00:00Z", "detail": {}})

    unread = sorted(one.unread for one in receive(aws.access(), url))

    assert any("it is no JSON: not json" in text for text in unread)
    assert any("Something Else" in text for text in unread)


def test_an_end_that_is_none_is_neither_event_nor_unread(aws: PretendedAws) -> None:
    url = a_queue(aws)
    send(aws, url, a_job("RUNNING"))
    (message,) = receive(aws.access(), url)
    assert (message.event, message.unread) == (None, "")


def test_a_queue_that_does_not_exist_is_missing(aws: PretendedAws) -> None:
    with pytest.raises(Missing, match="receive from the queue"):
        receive(aws.access(), f"{aws.endpoint_url}/123456789012/none")


def test_the_region_is_that_of_the_address() -> None:
    aws = AwsSettings(profile="watch")
    osaka = queue_access(aws, f"https://sqs.{OSAKA}.amazonaws.com/123456789012/events")
    assert (osaka.region, osaka.profile) == (OSAKA, "watch")
    assert queue_access(aws, "http://127.0.0.1:5000/123456789012/events").region == TOKYO


def test_what_cannot_be_read_is_not_kept_for_ever() -> None:
    assert not Message("r", MOST_TIMES - 1, unread="why").is_last_time
    assert Message("r", MOST_TIMES, unread="why").is_last_time
