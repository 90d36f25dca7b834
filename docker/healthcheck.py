"""Does the container's service work? Other commands than `dev` and `serve` are healthy as long as they run.

The UI is asked for its version, the code location for its health, and the daemon's heartbeats are read from Dagster's
storage. Dagster itself is not loaded: that costs two seconds of a processor, every half minute.

Takes nothing, or for a test the path of a file like ``/proc/1/cmdline``. Exits with 0, or with 1 and a sentence.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sqlite3
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

#: What the container runs: the service in its place, or with an init process the command line as it was given.
MAIN_PROCESS = Path("/proc/1/cmdline")
#: What the services look like before and after they have become one of Dagster's programs.
SERVICES = {
    ("backup-assets", "dev"): "ui",
    ("dagster", "dev"): "ui",
    ("backup-assets", "serve", "webserver"): "ui",
    ("dagster-webserver",): "ui",
    ("backup-assets", "serve", "daemon"): "daemon",
    ("dagster-daemon", "run"): "daemon",
    ("backup-assets", "serve", "code"): "code",
    ("dagster", "api", "grpc"): "code",
}
PORTS = {"ui": 3000, "code": int(os.environ.get("BACKUP_CODE_PORT") or 4000), "daemon": 0}
#: Below Docker's own limit for a check, so that it is this program which says what is wrong.
TIMEOUT_SECONDS = 8.0
#: Each part of the daemon writes down every half minute that it lives, between two pieces of its work.
HEARTBEAT_SECONDS = 600
DAEMONS = ("BACKFILL", "MONITORING", "QUEUED_RUN_COORDINATOR", "SCHEDULER", "SENSOR")
#: The column `timestamp` is in the time zone of the session that wrote it; what is inside `body` is not.
_HEARTBEATS = "SELECT daemon_type, body FROM daemon_heartbeats"


@dataclass(frozen=True)
class Service:
    """What the container serves, and where it listens as seen from inside; the daemon does not listen."""

    kind: str
    host: str
    port: int


def service_of(command: list[str]) -> Service | None:
    """Return the service that this argument list starts; None for any other command."""
    names = tuple(Path(argument).name for argument in command)
    for index in range(len(names)):
        for words, kind in SERVICES.items():
            if names[index : index + len(words)] == words:
                return _service(kind, command[index + len(words) :])
    return None


def _service(kind: str, arguments: list[str]) -> Service:
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=PORTS[kind])
    options, _ = parser.parse_known_args(arguments)
    return Service(kind, options.host, options.port)  # Linux takes 0.0.0.0 and :: for itself here


def wrong_with_ui(service: Service) -> str:
    """Return what is wrong with a webserver, or nothing."""
    connection = http.client.HTTPConnection(service.host, service.port, timeout=TIMEOUT_SECONDS)
    url = f"http://{service.host}:{service.port}/server_info"
    try:
        connection.request("GET", "/server_info")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{url} does not answer: {error}"
    finally:
        connection.close()
    return "" if status == http.client.OK else f"{url} answers with status {status}"


def wrong_with_code(service: Service) -> str:
    """Return what is wrong with a code location, or nothing."""
    import grpc  # these two come with Dagster and cost a seventh of a second
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    address = f"{service.host}:{service.port}"
    try:
        with grpc.insecure_channel(address) as channel:
            question = health_pb2.HealthCheckRequest(service="DagsterApi")
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(question, timeout=TIMEOUT_SECONDS)
    except grpc.RpcError as error:
        return f"the code location at {address} does not answer: {error.code().name}"  # type: ignore[attr-defined]
    serving = answer.status == health_pb2.HealthCheckResponse.SERVING
    return "" if serving else f"the code location at {address} does not serve yet"


def wrong_with_daemon(environment: Mapping[str, str], now: datetime) -> str:
    """Return which parts of the daemon have not written a heartbeat for ten minutes, or why that is not known."""
    try:
        found = _heartbeats(environment)
    except OSError as error:
        return f"the daemon's heartbeats cannot be read: {error}"
    late = [name for name in DAEMONS if name not in found or (now - found[name]).total_seconds() > HEARTBEAT_SECONDS]
    return f"no heartbeat of {', '.join(late)} for {HEARTBEAT_SECONDS // 60} minutes" if late else ""


def _heartbeats(environment: Mapping[str, str]) -> dict[str, datetime]:
    """Return when each part wrote last; raises OSError when the storage cannot be read."""
    if url := environment.get("DAGSTER_PG_URL"):
        import psycopg

        try:
            with psycopg.connect(url.replace("+psycopg2", "", 1), connect_timeout=int(TIMEOUT_SECONDS)) as connection:
                rows = connection.execute(_HEARTBEATS).fetchall()
        except psycopg.Error as error:
            raise OSError(str(error).strip()) from error
        return _written(rows)
    path = Path(environment.get("DAGSTER_HOME", "/nowhere")) / "history" / "runs.db"
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=TIMEOUT_SECONDS)) as connection:
            rows = connection.execute(_HEARTBEATS).fetchall()
    except sqlite3.Error as error:
        raise OSError(f"{path}: {error}") from error
    return _written(rows)


def _written(rows: list[tuple[str, str]]) -> dict[str, datetime]:
    return {name: datetime.fromtimestamp(json.loads(body)["timestamp"], UTC) for name, body in rows}


def main(main_process: Path) -> int | str:
    """Return 0, or what is wrong."""
    service = service_of(main_process.read_bytes().decode(errors="replace").split("\0"))
    if service is None:
        return 0
    if service.kind == "daemon":
        return wrong_with_daemon(os.environ, datetime.now(UTC)) or 0
    return (wrong_with_ui(service) if service.kind == "ui" else wrong_with_code(service)) or 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else MAIN_PROCESS))
