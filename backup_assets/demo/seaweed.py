"""How is SeaweedFS called so that one program, on this machine alone, is an S3 server?"""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from backup_assets.errors import EnvironmentFault
from backup_assets.postgres.listening import is_free
from backup_assets.process import Identity

PROGRAM = "weed"
CONFIGURATION = "s3.json"
LOCK_FILE = "running.lock"
PID_FILE = "server.pid"
START_SECONDS = 60.0
GONE_SECONDS = 20.0
#: How long one answer may take.
ANSWER_SECONDS = 5.0
LOG_TAIL_BYTES = 3000
#: Below the range that systems use for outgoing connections, so that a port is still free after a stop.
_PORTS = range(20_000, 30_000)
#: Every bucket gets volumes of its own, by default seven at once.
_VOLUMES_AT_ONCE = "1"
_FULL_RIGHTS = ("Admin", "Read", "Write", "List", "Tagging")
#: The server is nobody's child, so that nobody has to wait for it; its process id is what the shell prints.
_LEAVE_BEHIND = '"$@" >&2 & echo $!'


@dataclass(frozen=True)
class Ports:
    """The ports of 127.0.0.1 that the server's parts listen on."""

    master: int
    master_rpc: int
    volume: int
    volume_rpc: int
    filer: int
    filer_rpc: int
    s3: int
    s3_rpc: int

    @property
    def url(self) -> str:
        """The address of the S3 service."""
        return f"http://127.0.0.1:{self.s3}"

    @property
    def free(self) -> bool:
        """Whether all can be listened on now."""
        return all(is_free(port) for port in asdict(self).values())

    @property
    def sockets(self) -> list[Path]:
        """The sockets that the server makes beside the ports; where they are is not to be configured."""
        parts = {"master": self.master_rpc, "volume": self.volume_rpc, "filer": self.filer_rpc, "s3": self.s3_rpc}
        return [Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock") for part, port in parts.items()]  # noqa: S108


@dataclass(frozen=True)
class Keys:
    """A pair of keys for one identity."""

    access: str
    secret: str = field(repr=False)


def weed_program() -> Path | None:
    """Return the server's program: beside this interpreter, or on the PATH; None where it is not installed."""
    beside = Path(sys.executable).with_name(PROGRAM)
    found = str(beside) if beside.exists() else shutil.which(PROGRAM)
    return Path(found) if found else None


def free_ports() -> Ports:
    """Return ports that are free now, chosen at random: who asks at the same time hardly gets the same ones."""
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        if is_free(port):
            found.append(port)
        if len(found) == 8:
            return Ports(*found)
    raise EnvironmentFault(
        f"no eight TCP ports between {_PORTS.start} and {_PORTS.stop - 1} are free on 127.0.0.1",
        remedy="stop what listens there",
    )


def identity(name: str, keys: Keys, *, policies: Sequence[str] = ()) -> dict[str, Any]:
    """Return an identity of the configuration: with the named policies, or without any with every right."""
    rights = {"policyNames": list(policies)} if policies else {"actions": list(_FULL_RIGHTS)}
    return {"name": name, "credentials": [{"accessKey": keys.access, "secretKey": keys.secret}], **rights}


def configuration(identities: Sequence[Mapping[str, Any]], **more: Any) -> bytes:
    """Return what the file :data:`CONFIGURATION` holds; ``more`` are further parts of it, such as ``policies``."""
    return json.dumps({"identities": list(identities), **more}).encode()


@dataclass(frozen=True)
class Weed:
    """A server that runs, or will: ``directory`` is ours and holds lock, log and process id, ``data`` is the server's.

    ``data`` holds its configuration as well. ``sse_key`` encrypts what is stored with SSE-S3. The server survives us.
    """

    directory: Path
    data: Path
    ports: Ports
    sse_key: str = field(repr=False)

    @property
    def log(self) -> Path:
        """The file with the server's messages since its start."""
        return self.directory / "server.log"

    @property
    def running(self) -> bool:
        """Whether it lives: it holds its lock as long as it does, and no other process can be mistaken for it."""
        try:
            descriptor = os.open(self.directory / LOCK_FILE, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    @property
    def pid(self) -> int:
        """The process id of the server as it was last started; 0 before it is known."""
        path = self.directory / PID_FILE
        return int(path.read_text() or 0) if path.exists() else 0

    def start(self, program: Path, run_as: Identity | None = None) -> None:
        """Start the server, which must not run, and return at once.

        The rights on ``program`` itself count for ``run_as``, not those on the directories above it. Raises
        EnvironmentFault when it cannot be executed.
        """
        with ExitStack() as stack:

            def opened(path: Path, flags: int) -> int:
                descriptor = os.open(path, flags, 0o600)
                stack.callback(os.close, descriptor)
                return descriptor

            lock = opened(self.directory / LOCK_FILE, os.O_RDWR | os.O_CREAT)
            log = opened(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            pid = opened(self.directory / PID_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            kept, called = [lock], str(program)
            if run_as is not None:
                # As root: a directory above our programs may be closed to whom the server runs as.
                kept.append(opened(program, os.O_RDONLY))
                called = f"/proc/self/fd/{kept[-1]}"
                _require_executable(program)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            subprocess.run(
                ["/bin/sh", "-c", _LEAVE_BEHIND, PROGRAM, called, *_arguments(self.data, self.ports)],
                stdin=subprocess.DEVNULL,
                stdout=pid,
                stderr=log,
                # Nothing else of our environment: it is no business of the server, and may hold keys of AWS.
                env={
                    "PATH": os.defpath,
                    "HOME": str(self.data),
                    "WEED_S3_SSE_KEY": self.sse_key,
                    "WEED_MASTER_VOLUME_GROWTH_COPY_1": _VOLUMES_AT_ONCE,
                },
                cwd=self.data,
                start_new_session=True,
                user=run_as.uid if run_as else None,
                group=run_as.gid if run_as else None,
                extra_groups=[] if run_as else None,
                pass_fds=kept,
                timeout=START_SECONDS,
                check=True,
            )

    def wait_until_ready(self) -> None:
        """Wait until S3 answers and the data can be read; raises EnvironmentFault with the end of the log if not."""
        until = time.monotonic() + START_SECONDS
        while not (_answers(f"{self.ports.url}/healthz") and _has_volumes(self.ports)):
            if not self.running or time.monotonic() > until:
                raise EnvironmentFault(
                    f"the object server in {self.directory} did not start",
                    why=self._log_tail(),
                    remedy=f"the end of its log {self.log} says what is wrong; free disk and memory are usual causes",
                )
            time.sleep(0.05)

    def kill(self) -> None:
        """End the server and wait until it is gone; nothing happens when it does not run.

        Whatever it has acknowledged is in files by then; asked to end it would wait fifteen seconds for itself.
        Raises EnvironmentFault when it does not end.
        """
        until = time.monotonic() + GONE_SECONDS
        while self.running:
            if pid := self.pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > until:
                raise EnvironmentFault(
                    f"the object server in {self.directory} did not stop", remedy=f"end the process {self.pid}"
                )
            time.sleep(0.02)
        for path in self.ports.sockets:
            path.unlink(missing_ok=True)

    def _log_tail(self) -> str:
        with self.log.open("rb") as handle:
            handle.seek(max(0, self.log.stat().st_size - LOG_TAIL_BYTES))
            return handle.read().decode("utf-8", "replace").strip()


def _require_executable(program: Path) -> None:
    if not program.stat().st_mode & 0o001:
        raise EnvironmentFault(
            f"the object server {program} cannot be executed by the user it has to run as",
            why="it does not run as root, and other users may not execute the file",
            remedy=f"chmod o+rx {program}, or run this program as an ordinary user",
        )


def _arguments(directory: Path, ports: Ports) -> list[str]:
    return [
        "-logtostderr=true", "server", f"-dir={directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        # A master that knows itself to be the only one does not wait for an election: 2 s instead of up to 8.
        "-master.peers=none",
        f"-master.port={ports.master}", f"-master.port.grpc={ports.master_rpc}", "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64", "-volume.max=1000",
        f"-volume.port={ports.volume}", f"-volume.port.grpc={ports.volume_rpc}",
        # Relative to the data, because the path of a socket has at most 107 bytes.
        "-filer", f"-filer.port={ports.filer}", f"-filer.port.grpc={ports.filer_rpc}", "-filer.localSocket=filer.sock",
        "-s3", f"-s3.port={ports.s3}", f"-s3.port.grpc={ports.s3_rpc}", "-s3.localSocket=s3.sock",
        f"-s3.config={CONFIGURATION}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false",
    ]  # fmt: skip


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS):  # noqa: S310 - our own http://127.0.0.1
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _has_volumes(ports: Ports) -> bool:
    """Tell whether the master has heard of the data: until then everything stored seems to be missing."""
    url = f"http://127.0.0.1:{ports.master}/dir/status"
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:
            return bool(json.load(answer)["Topology"].get("DataCenters"))
    except OSError:
        return False
