"""A way to a server on which the answer to a COMMIT of renamed databases is lost."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from backup_assets.postgres.cluster import Cluster

_BYTES = 1 << 16


class LossyWay:
    """Passes everything on in both directions; ``lost`` once the answer was swallowed and the connection cut.

    With ``closes`` nobody gets through from then on, until :meth:`mend`.
    """

    def __init__(self, cluster: Cluster, directory: Path, *, closes: bool) -> None:
        self.host = str(directory)
        self.lost = False
        self._closes = closes
        self._closed = False
        name = f".s.PGSQL.{cluster.port}"
        self._server = str(cluster.socket_directory / name)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / name))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def mend(self) -> None:
        self._closed = False

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._closed:
                    client.close()
                    continue
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                _Connection(self, client, server)

    def lose(self) -> None:
        self._closed = self._closes
        self.lost = True


class _Connection:
    def __init__(self, way: LossyWay, client: socket.socket, server: socket.socket) -> None:
        self._way, self._client, self._server = way, client, server
        self._renaming = self._committing = False
        for run in (self._to_server, self._to_client):
            threading.Thread(target=run, daemon=True).start()

    def _to_server(self) -> None:
        with suppress(OSError):
            while asked := self._client.recv(_BYTES):
                self._renaming = self._renaming or b" RENAME TO " in asked
                self._committing = self._renaming and b"COMMIT" in asked and not self._way.lost
                self._server.sendall(asked)
        self._cut()

    def _to_client(self) -> None:
        with suppress(OSError):
            while answer := self._server.recv(_BYTES):
                if self._committing:
                    self._way.lose()
                    break
                self._client.sendall(answer)
        self._cut()

    def _cut(self) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def lossy_way(cluster: Cluster, directory: Path, *, closes: bool = False) -> Iterator[LossyWay]:
    """Yield a way to ``cluster`` whose socket is in ``directory``."""
    way = LossyWay(cluster, directory, closes=closes)
    try:
        yield way
    finally:
        way.close()
