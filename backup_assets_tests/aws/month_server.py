"""AWS as moto pretends it, in a process whose clock a test moves: snapshots take their time, and faults come at a wish.

Started with the descriptor of a socket that listens as its only argument. A POST of JSON to `/pretend` changes how it
behaves, see :class:`Behaviour`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from io import BytesIO
from threading import Lock
from typing import Any
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIEnvironment

from moto.core.utils import utcnow
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.rds.models import DBCluster, DBClusterSnapshot, DBInstance, DBSnapshot, RDSBackend
from werkzeug.serving import make_server

#: Whose requests are never refused.
ADMINISTRATOR = "administrator"


@dataclass
class Behaviour:
    """How AWS behaves from now on.

    ``minutes`` and ``copy_minutes`` are what snapshots, copies and restored servers take. Those of the sources in
    ``failing`` end badly, and so do the servers of drills while ``restores_fail``. ``refused`` maps an operation, or
    `*`, to the code and text of the error that it meets in ``region``, or anywhere; so many ``times``, or always.
    """

    minutes: float = 0
    copy_minutes: float = 0
    failing: list[str] = field(default_factory=list)
    restores_fail: bool = False
    refused: dict[str, list[str]] = field(default_factory=dict)
    region: str = ""
    times: int = 1_000_000


NOW = Behaviour()
_LOCK = Lock()


@dataclass
class _Work:
    """What became of something that takes its time; ``status`` is what it then is."""

    begun: datetime
    ends: datetime
    ends_as: str

    @property
    def status(self) -> str:
        return self.ends_as if utcnow() >= self.ends else "creating"


def _slow_status(kind: type) -> None:
    """Let ``status`` of a class of moto's be decided by the clock where there is something to wait for."""

    def get(self: Any) -> str:
        work: _Work | None = self.__dict__.get("pretended_work")
        said = self.__dict__.get("pretended_status", "available")
        # moto's own clusters are being made until somebody asks.
        return work.status if work is not None else "available" if said == "creating" else said

    def put(self: Any, value: str) -> None:
        self.__dict__["pretended_status"] = value

    kind.status = property(get, put)  # type: ignore[attr-defined]


def _taken(made: Callable[..., None], source: str) -> Callable[..., None]:
    def init(self: Any, backend: RDSBackend, original: Any, *args: Any, **named: Any) -> None:
        made(self, backend, original, *args, **named)
        identifier = getattr(self, source)
        is_copy = backend.region_name not in str(getattr(original, source.replace("identifier", "arn")))
        minutes = NOW.copy_minutes if is_copy else NOW.minutes
        fails = not is_copy and identifier in NOW.failing
        begun = utcnow()
        self.pretended_work = _Work(begun, begun + timedelta(minutes=minutes), "failed" if fails else "available")
        backend.__dict__.setdefault("pretended_events", []).append((self, self.pretended_work, is_copy))

    return init


class _Told:
    """An event of RDS, as moto's answers want it."""

    def __init__(self, snapshot: Any, work: _Work, *, is_copy: bool) -> None:
        self.source_identifier = snapshot.resource_id
        self.source_type = "db-cluster-snapshot" if isinstance(snapshot, DBClusterSnapshot) else "db-snapshot"
        self.source_arn = snapshot.arn
        self.date = work.ends
        badly = work.ends_as == "failed"
        self.event_categories = ["failure" if badly else "creation"]
        what = "copy of the snapshot" if is_copy else "manual snapshot"
        self.message = f"The {what} failed" if badly else f"The {what} is created"


def _describe_events(self: RDSBackend, source_type: str | None = None, **_: Any) -> list[_Told]:
    known = self.__dict__.get("pretended_events", [])
    over = [_Told(one, work, is_copy=copy) for one, work, copy in known if utcnow() >= work.ends]
    since = utcnow() - timedelta(days=14)
    return [one for one in over if one.date >= since and source_type in {None, one.source_type}]


def _restored(restore: Callable[..., Any]) -> Callable[..., Any]:
    def slowly(self: RDSBackend, *source: Any, **named: Any) -> Any:
        made = restore(self, *source, **named)
        overrides: dict[str, Any] = named["overrides"] if "overrides" in named else source[-1]
        # As RDS: what is restored is not protected from deletion unless that is asked for.
        made.deletion_protection = bool(overrides.get("deletion_protection"))
        begun = utcnow()
        ends_as = "incompatible-restore" if NOW.restores_fail else "available"
        made.pretended_work = _Work(begun, begun + timedelta(minutes=NOW.minutes), ends_as)
        return made

    return slowly


def pretend() -> None:
    """Make moto's RDS take its time."""
    for kind in (DBSnapshot, DBClusterSnapshot, DBInstance, DBCluster):
        _slow_status(kind)
    DBSnapshot.__init__ = _taken(DBSnapshot.__init__, "db_instance_identifier")  # type: ignore[method-assign]
    DBClusterSnapshot.__init__ = _taken(DBClusterSnapshot.__init__, "db_cluster_identifier")  # type: ignore[method-assign]
    RDSBackend.describe_events = _describe_events  # type: ignore[assignment, method-assign]
    for name in (
        "restore_db_instance_from_db_snapshot",
        "restore_db_cluster_from_snapshot",
        "restore_db_instance_to_point_in_time",
    ):
        setattr(RDSBackend, name, _restored(getattr(RDSBackend, name)))


class Pretender:
    """The server: it refuses what it is told to refuse, and leaves the rest to moto."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/pretend":
            return self._change(environ, start_response)
        refused = self._refusal(environ)
        if refused is not None:
            return _refuse(start_response, environ, *refused)
        # One at a time: moto's own state is a plain dictionary.
        with _LOCK:
            return list(self._moto(environ, start_response))

    @staticmethod
    def _change(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        wanted = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        for name, value in asdict(Behaviour(**wanted)).items():
            setattr(NOW, name, value)
        start_response("204 No Content", [("Content-Length", "0")])
        return []

    @staticmethod
    def _refusal(environ: WSGIEnvironment) -> tuple[str, str] | None:
        authorization = environ.get("HTTP_AUTHORIZATION", "")
        if not NOW.refused or not authorization or ADMINISTRATOR in authorization:
            return None
        if NOW.region and f"/{NOW.region}/" not in authorization:
            return None
        code, text = NOW.refused.get(_operation(environ)) or NOW.refused.get("*") or ("", "")
        if not code or NOW.times <= 0:
            return None
        NOW.times -= 1
        return code, text


def _operation(environ: WSGIEnvironment) -> str:
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        return str(target).rpartition(".")[2]
    if environ["REQUEST_METHOD"] != "POST":
        return ""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = BytesIO(body)  # to be read again by moto
    return parse_qs(body.decode(errors="replace")).get("Action", [""])[0]


def _refuse(start_response: StartResponse, environ: WSGIEnvironment, code: str, text: str) -> Iterable[bytes]:
    """Answer with an error in the words of the protocol that was spoken."""
    if environ.get("HTTP_X_AMZ_TARGET"):
        body, kind = json.dumps({"__type": code, "message": text}), "application/x-amz-json-1.1"
    elif "/ec2/" in environ["HTTP_AUTHORIZATION"]:
        body, kind = (
            f"<Response><Errors><Error><Code>{code}</Code><Message>{text}</Message></Error></Errors></Response>",
            "text/xml",
        )
    else:
        body, kind = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{text}</Message></Error></ErrorResponse>",
            "text/xml",
        )
    status = "403 Forbidden" if "Token" in code else "400 Bad Request"
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body.encode()]


def main() -> None:
    """Serve until the end."""
    pretend()
    make_server(
        "127.0.0.1", 0, Pretender(), threaded=True, request_handler=MotoRequestHandler, fd=int(sys.argv[1])
    ).serve_forever()


if __name__ == "__main__":
    main()
