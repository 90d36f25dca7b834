"""How does a message reach somebody, in bounded time, and what is said of a channel that fails?"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from time import monotonic
from urllib.parse import unquote

from backup_assets.settings import Settings
from backup_assets.watch.messages import Letter, scrubbed, secrets_of

#: A message has so many seconds to arrive.
SEND_SECONDS = 10.0
#: Where one address ends and the next begins: a comma can be part of an address.
_BETWEEN = re.compile(r"[,\s]+(?=[A-Za-z][A-Za-z0-9+.-]*://)")
_LOGGER = "apprise"
_KEY_DIGITS = 6


@dataclass(frozen=True)
class Channel:
    """Somewhere to tell: ``name`` is its place in the settings with its kind, such as ``2-slack``; no secret."""

    name: str
    url: str

    @property
    def key(self) -> str:
        """What it is remembered by, wherever it stands in the settings: its kind and a hash of its address."""
        # So short that it tells a few addresses apart, and a password in one cannot be found by trying.
        digest = hashlib.sha256(self.url.encode()).hexdigest()[:_KEY_DIGITS]
        return f"{self.name.partition('-')[2]}-{digest}"

    def __repr__(self) -> str:
        return f"Channel({self.name})"


def channels_of(settings: Settings) -> tuple[Channel, ...]:
    """Return every configured channel, in the order of the settings."""
    urls = [
        url
        for secret in settings.watch.channels
        for url in _BETWEEN.split(secret.get_secret_value().strip().strip(","))
        if url
    ]
    return tuple(
        Channel(f"{place}-{url.partition('://')[0].lower()}", url.strip()) for place, url in enumerate(urls, start=1)
    )


def send(
    letters: Mapping[Channel, Sequence[Letter]], settings: Settings, *, seconds: float = SEND_SECONDS
) -> dict[Channel, list[str]]:
    """Send letters on all channels at once; return, for each letter, nothing or why it did not arrive.

    Every channel has ``seconds`` in all; what is not sent by then is told so, and may still arrive. After the first
    letter that fails, the others of that channel are not tried.
    """
    # Apprise writes parts of addresses to its log, which nobody else shall see.
    logging.getLogger(_LOGGER).propagate = False
    secrets = tuple(secrets_of(settings))
    begun = {channel: _start(channel, some, secrets) for channel, some in letters.items() if some}
    end = monotonic() + seconds
    outcome: dict[Channel, list[str]] = {}
    for channel, answers in begun.items():
        outcome[channel] = [_answer(answer, max(0.0, end - monotonic()), seconds) for answer in answers]
    return outcome


def _answer(answer: Future[str], left: float, seconds: float) -> str:
    try:
        return answer.result(left)
    except TimeoutError:
        return f"no answer within {seconds:.0f} s"


def _start(channel: Channel, letters: Sequence[Letter], secrets: Sequence[str]) -> list[Future[str]]:
    answers: list[Future[str]] = [Future() for _ in letters]

    def send_them() -> None:
        failed = ""
        for letter, answer in zip(letters, answers, strict=True):
            try:
                failed = failed or _send(channel, letter, secrets)
            except Exception as error:  # noqa: BLE001 - a fault in one of a hundred services must not silence the others
                failed = f"it failed with {type(error).__name__}"
            answer.set_result(failed)

    # Not a pool: its threads are waited for when the process ends, and one before a dead host may never return.
    threading.Thread(target=send_them, name=f"alert {channel.name}", daemon=True).start()
    return answers


def _send(channel: Channel, letter: Letter, secrets: Sequence[str]) -> str:
    """Return nothing when the service took the letter, else what it said."""
    # A library of a hundred services: loaded by those who send something.
    import apprise

    asset = apprise.AppriseAsset(app_id="backup-assets", app_desc="backup-assets")
    with _Words() as words:
        service = apprise.Apprise.instantiate(channel.url, asset=asset)
        if service is None:
            return words.said(channel, secrets) or f"its address is not one of {channel.name.partition('-')[2]}://"
        # A message cut short arrives; one that is too long is refused for ever.
        service.overflow_mode = apprise.OverflowMode.TRUNCATE
        kind = {None: apprise.NotifyType.SUCCESS, "warn": apprise.NotifyType.WARNING}
        # Not through Apprise's own pool: its threads are waited for when the process ends.
        arrived = service.notify(
            title=letter.subject,
            body=letter.body,
            notify_type=kind.get(letter.severity, apprise.NotifyType.FAILURE),
            body_format=apprise.NotifyFormat.TEXT,
        )
        return "" if arrived else words.said(channel, secrets) or "the service did not take the message"


class _Words(logging.Handler):
    """What Apprise says in this thread while a message is sent."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self._texts: list[str] = []

    def __enter__(self) -> _Words:
        logging.getLogger(_LOGGER).addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger(_LOGGER).removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread and record.levelno >= logging.WARNING:
            self._texts.append(record.getMessage())

    def said(self, channel: Channel, secrets: Sequence[str]) -> str:
        """Return it as one line, without any part of the channel's address: in many services those are tokens."""
        text = " ".join(" ".join(self._texts).split())[:300]
        scheme, _, rest = channel.url.partition("://")
        parts = {part for half in (rest, unquote(rest)) for part in re.split(r"[/:@?&=,#]+", half)}
        return scrubbed(
            text, (*secrets, *(part for part in parts if len(part) >= 4 and part.lower() != scheme.lower()))
        )
