"""A container engine that answers as Docker's API does, and whose containers are processes of this machine.

What a container has of its image and its volumes (programs, working directory, settings) is a directory of its own for
each; what it is started with (command, environment, signal) is what the client asked for.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PROGRAMS = Path(sys.executable).parent
VERSION = {"Version": "27.0", "ApiVersion": "1.44", "MinAPIVersion": "1.24"}


@dataclass
class Container:
    """What was asked for, where its files are, and its process once it was started."""

    asked: dict[str, Any]
    directory: Path
    id: str = field(default_factory=lambda: uuid.uuid4().hex * 2)
    process: subprocess.Popen[bytes] | None = None

    @property
    def labels(self) -> dict[str, str]:
        return self.asked["Labels"]

    @property
    def environment(self) -> dict[str, str]:
        return dict(one.split("=", 1) for one in self.asked.get("Env", []))

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def start(self) -> None:
        own = {"PATH": f"{PROGRAMS}:/usr/bin:/bin", "HOME": str(self.directory), "TMPDIR": str(self.directory)}
        with (self.directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*self.asked["Entrypoint"], *self.asked["Cmd"]],
                cwd=self.directory,
                env={**own, **self.environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def end(self, number: int) -> None:
        """Send a signal to the container's first process; SIGKILL ends everything that is in its session."""
        if self.process is None or self.process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(self.process.pid, number)
            else:
                self.process.send_signal(number)

    def kill(self) -> None:
        self.end(signal.SIGKILL)
        if self.process is not None:
            self.process.wait(30)

    def described(self) -> dict[str, Any]:
        code = None if self.process is None else self.process.poll()
        status = "created" if self.process is None else "running" if code is None else "exited"
        state = {"Status": status, "Running": status == "running", "ExitCode": code or 0, "OOMKilled": False}
        return {"Id": self.id, "Name": f"/{self.id[:12]}", "State": state, "Config": self.asked}


@dataclass
class Engine:
    """The engine at ``address``; ``settings`` is the file that every container finds in its working directory."""

    directory: Path
    settings: Path | None
    address: str = ""
    containers: list[Container] = field(default_factory=list)

    def create(self, asked: dict[str, Any]) -> Container:
        directory = self.directory / f"container-{len(self.containers) + 1}"
        directory.mkdir(mode=0o711)
        if self.settings is not None:
            (directory / "backup.yaml").write_bytes(self.settings.read_bytes())
        made = Container(asked, directory)
        self.containers.append(made)
        return made

    def of_run(self, run_id: str) -> Container:
        (found,) = (one for one in self.containers if one.labels["dagster/run_id"] == run_id)
        return found


def _handler(engine: Engine) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 - as the base calls it

        def do_GET(self) -> None:
            if self.path.endswith("/version"):
                self._answer(200, VERSION)
            elif (container := self._container("json")) is not None:
                self._answer(200, container.described())
            else:
                self._answer(404, {"message": "No such container"})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if "/containers/create" in self.path:
                made = engine.create(json.loads(body))
                self._answer(201, {"Id": made.id, "Warnings": []})
            elif (container := self._container("start")) is not None:
                container.start()
                self._answer(204, None)
            elif (container := self._container("stop")) is not None:
                container.end(getattr(signal, container.asked["StopSignal"]))
                self._answer(204, None)
            else:
                self._answer(404, {"message": "No such container"})

        def _container(self, verb: str) -> Container | None:
            found = re.search(rf"/containers/([0-9a-f]+)/{verb}", self.path)
            return next((one for one in engine.containers if found and one.id == found[1]), None)

        def _answer(self, status: int, body: object) -> None:
            content = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler


@contextmanager
def an_engine(directory: Path, settings: Path | None = None) -> Iterator[Engine]:
    """Yield an engine whose containers live in ``directory``, and are ended with it."""
    directory.mkdir(mode=0o711)
    engine = Engine(directory, settings)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(engine))
    engine.address = f"tcp://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield engine
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        for container in engine.containers:
            container.kill()
