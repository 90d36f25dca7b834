"""What has EventBridge put into the queue, and how does it leave the queue only after it was told?"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backup_assets.aws.access import Access
from backup_assets.aws.answers import explained
from backup_assets.aws.events.event import Event, of_event_bridge
from backup_assets.settings_aws import AwsSettings

#: A message that was received and not deleted comes again after this: long enough for a run that waits in a queue.
HIDDEN_SECONDS = 900
#: What cannot be read is told each time it comes, and deleted after the last: it would come for ever.
MOST_TIMES = 5
_AT_A_TIME = 10
_MOST = 100
_LONGEST_EXCERPT = 500
_REGION = re.compile(r"//(?:sqs\.)?([a-z]{2}(?:-[a-z]+)+-\d+)\.")


@dataclass(frozen=True)
class Message:
    """One message: its ``event``, or why it is none of a known kind (``unread``); neither: nothing came to an end.

    ``receipt`` deletes it, ``times`` is how often it was received.
    """

    receipt: str
    times: int = 1
    event: Event | None = None
    unread: str = ""

    @property
    def is_last_time(self) -> bool:
        """Whether it is deleted although it could not be read."""
        return self.times >= MOST_TIMES


def queue_access(aws: AwsSettings, url: str) -> Access:
    """Return how the queue is reached: in the region that its address names, else in that of the databases."""
    found = _REGION.search(url)
    return Access(found[1] if found else aws.region, aws.profile, aws.endpoint_url)


def receive(access: Access, url: str) -> tuple[Message, ...]:
    """Return what is in the queue, a hundred at most; all of it stays there, hidden for HIDDEN_SECONDS.

    Raises what `answers.explained` raises.
    """
    client = access.client("sqs")
    found: list[Message] = []
    with explained(f"receive from the queue {url}", access):
        while len(found) < _MOST:
            answer = client.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=_AT_A_TIME,
                VisibilityTimeout=HIDDEN_SECONDS,
                AttributeNames=["ApproximateReceiveCount"],
            )
            received = answer.get("Messages", [])
            if not received:
                break
            found += [_message(one) for one in received]
    return tuple(found)


def delete(access: Access, url: str, receipts: Sequence[str]) -> None:
    """Delete messages that were told; one that is gone already is no error. Raises what `explained` raises."""
    client = access.client("sqs")
    for receipt in receipts:
        with explained(f"delete a message of the queue {url}", access):
            client.delete_message(QueueUrl=url, ReceiptHandle=receipt)


def _message(raw: dict[str, Any]) -> Message:
    times = int(raw.get("Attributes", {}).get("ApproximateReceiveCount", 1))
    body = str(raw.get("Body", ""))
    try:
        event = of_event_bridge(json.loads(body))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"{type(error).__name__} {error}" if not isinstance(error, json.JSONDecodeError) else "it is no JSON"
        excerpt = " ".join(body.split())[:_LONGEST_EXCERPT]
        unread = f"message {raw.get('MessageId', '')}, received {times} times: {why}: {excerpt}"
        return Message(raw["ReceiptHandle"], times, unread=unread)
    return Message(raw["ReceiptHandle"], times, event)
