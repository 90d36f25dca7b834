"""Does the application that runs on the restored database answer as it should?"""

from __future__ import annotations

import http.client
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import IO
from urllib.parse import SplitResult, urlsplit

from backup_assets.errors import CheckFailed
from backup_assets.settings_restore import HttpCheck

ATTEMPT_SECONDS = 10.0
PAUSE_SECONDS = 0.2
LARGEST_ANSWER_BYTES = 1 << 20
_REMEDY = "look at the application's output, and at drill.http_checks (DRILL_HTTP_URL)"


class _Elsewhere(Exception):
    """The answer sends the request to another host."""


class _SameHost(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if _origin(urlsplit(newurl)) != _origin(urlsplit(req.full_url)):
            raise _Elsewhere(f"it redirects to {urlsplit(newurl).hostname}, which is another host or port")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def require_nobody_answers(check: HttpCheck) -> None:
    """Raise CheckFailed when something listens where the drill's application is going to, on whichever host.

    It would answer in its place, and what it says would mean nothing. This machine too has other names and addresses
    than `localhost`, and the live system is often reached by one of them.
    """
    host, port = _origin(_http_address(check))
    try:
        socket.create_connection((host, port), timeout=ATTEMPT_SECONDS).close()
    except OSError:
        return
    raise CheckFailed(
        f"something answers on port {port} of {host} already, before the drill's application was started",
        why="its answers would be taken for those of the restored system; it may be the live one",
        remedy="let drill.start_command listen on a port of its own, and name that one, not that of a proxy before it, "
        "in drill.http_checks (DRILL_HTTP_URL)",
    )


def require_answer(check: HttpCheck, still_running: Callable[[], None]) -> str:
    """Ask until the answer is as expected, or ``check.timeout_seconds`` are over; return what was answered, in words.

    ``still_running`` is called before each attempt and raises when waiting is pointless. Raises CheckFailed with the
    last answer. Proxies of the environment are not used: the application is here, or named by its own address.
    """
    _http_address(check)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _SameHost())
    until = time.monotonic() + check.timeout_seconds
    wrong = ""
    while True:
        still_running()
        begun = time.monotonic()
        allowed = min(ATTEMPT_SECONDS, max(until - begun, 0.1))
        found = _wrong_with(opener, check, allowed)
        if not found:
            still_running()  # an application that answers and dies is not well
            return f"{check.url} answered {check.status}" + (f" with `{check.contains}`" if check.contains else "")
        # An attempt that was only cut off by the end of the time says less than the one before it.
        cut_off = allowed < ATTEMPT_SECONDS and time.monotonic() - begun >= allowed
        wrong = wrong if wrong and cut_off else found
        if time.monotonic() + PAUSE_SECONDS >= until:
            raise CheckFailed(
                f"{check.url} did not answer as expected within {check.timeout_seconds:g} s", why=wrong, remedy=_REMEDY
            )
        time.sleep(PAUSE_SECONDS)


def _wrong_with(opener: urllib.request.OpenerDirector, check: HttpCheck, timeout: float) -> str:
    """Return what is wrong with one answer, or nothing."""
    until = time.monotonic() + timeout
    body = b""
    try:
        try:
            response = opener.open(check.url, timeout=timeout)
        except urllib.error.HTTPError as answer:  # any other status than success; it is a response too
            response = answer
        with response:
            status = response.status
            while check.contains and len(body) < LARGEST_ANSWER_BYTES and time.monotonic() < until:
                piece = response.read1(1 << 16) if hasattr(response, "read1") else response.read(1 << 16)
                if not piece:
                    break
                body += piece
    except _Elsewhere as error:
        return str(error)
    except urllib.error.URLError as error:
        return str(error.reason)
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if status != check.status:
        return f"it answered {status} instead of {check.status}"
    if check.contains and check.contains not in body.decode("utf-8", "replace"):
        return f"its answer of {len(body)} bytes does not contain `{check.contains}`"
    return ""


def _http_address(check: HttpCheck) -> SplitResult:
    address = urlsplit(check.url)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise CheckFailed(
            f"{check.url} is no address of an application", remedy="write http://HOST:PORT/PATH in drill.http_checks"
        )
    return address


def _origin(address: SplitResult) -> tuple[str, int]:
    return address.hostname or "", address.port or (443 if address.scheme == "https" else 80)
