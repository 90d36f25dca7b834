"""Uploads in parts: interrupted, gone on with, and in bounded memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backup_assets.stores.contract import TransferDamaged
from backup_assets.stores.s3 import S3Store
from backup_assets.stores.s3_location import MIB
from backup_assets_tests.sets.examples import sha256
from backup_assets_tests.stores.conformance import KEY, content_of, keys, noise
from backup_assets_tests.stores.object_server import KMS_KEY, ObjectServer
from backup_assets_tests.stores.test_s3 import command_that_puts

SIZE = 17 * MIB
CONTENT = noise(SIZE)


@pytest.fixture(params=[{"sse_s3": True}, {"kms_key_id": KMS_KEY}], ids=["s3", "kms"])
def store(objects: ObjectServer, request: pytest.FixtureRequest) -> S3Store:
    location = objects.location(objects.bucket(), part_bytes=5 * MIB, parallel_parts=1, **request.param)
    return S3Store(location, "bucket")


def interrupted(store: S3Store, tmp_path: Path) -> None:
    """Kill a process that has stored two parts of CONTENT and waits for more."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    child = subprocess.Popen(command_that_puts(store, KEY, pipe, sha256(CONTENT), SIZE))
    with pipe.open("wb", buffering=0) as writer:
        writer.write(CONTENT[: 16 * MIB])  # the third part is asked for only when two are stored
        child.send_signal(signal.SIGKILL)
        child.wait(timeout=60)


def unfinished(store: S3Store) -> list[str]:
    answer = store._client.list_multipart_uploads(Bucket=store.location.bucket)
    return [one["UploadId"] for one in answer.get("Uploads", ())]


def sent_parts(store: S3Store) -> list[int]:
    """Return a list that grows with the number of each part that is sent from now on."""
    seen: list[int] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        seen.append(params["query_string"]["partNumber"])

    store._client.meta.events.register("before-call.s3.UploadPart", note)
    return seen


def test_an_interrupted_upload_goes_on_with_the_parts_that_arrived(store: S3Store, tmp_path: Path) -> None:
    interrupted(store, tmp_path)
    assert len(unfinished(store)) == 1
    assert keys(store) == []
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    sent = sent_parts(store)

    stored = store.put(KEY, source, sha256=sha256(CONTENT), size=SIZE)

    assert stored.sha256 == sha256(CONTENT)
    assert 4 in sent
    assert 1 not in sent
    assert content_of(store, KEY) == CONTENT
    assert unfinished(store) == []


def test_parts_of_another_content_are_not_gone_on_with(store: S3Store, tmp_path: Path) -> None:
    interrupted(store, tmp_path)
    other = noise(SIZE, seed=2)
    sent = sent_parts(store)

    store.put(KEY, other, sha256=sha256(other), size=SIZE)

    assert sorted(sent) == [1, 2, 3, 4]
    assert content_of(store, KEY) == other


def test_a_source_that_is_not_what_was_announced_leaves_no_parts(store: S3Store) -> None:
    with pytest.raises(TransferDamaged, match="not what was announced"):
        store.put(KEY, CONTENT, sha256=sha256(b"other"), size=SIZE)

    assert unfinished(store) == []
    assert keys(store) == []


MEASURE = """
import json, pathlib, re, sys
from backup_assets.stores.s3 import S3Store
from backup_assets.stores.s3_location import Credentials, S3Location
from backup_assets.stores.read_back import read_back
given, digest, size, source = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3]), pathlib.Path(sys.argv[4])
location = S3Location(**{**given, "tags": (), "credentials": Credentials(**given["credentials"])})
store = S3Store(location, "bucket")
def peak_kib():  # not ru_maxrss, which begins with that of the parent
    return int(re.search(r"VmHWM:\\s+([0-9]+)", pathlib.Path("/proc/self/status").read_text())[1])
store.check()
before = peak_kib()
store.put("erp4/prod/db/large", source, sha256=digest, size=size)
read_back(store, "erp4/prod/db/large", sha256=digest, size=size)
print(peak_kib() - before)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_object(objects: ObjectServer, tmp_path: Path) -> None:
    location = objects.location(objects.bucket(), parallel_parts=3)
    source = tmp_path / "large"
    with source.open("wb") as handle:
        for seed in range(30):
            handle.write(noise(10 * MIB, seed))
    digest = subprocess.run(["sha256sum", source], capture_output=True, text=True, check=True).stdout.split()[0]
    given = command_that_puts(S3Store(location, "bucket"), KEY, source, digest, 300 * MIB)[3]

    done = subprocess.run(
        [sys.executable, "-c", MEASURE, given, digest, str(300 * MIB), str(source)],
        capture_output=True,
        text=True,
        check=True,
        timeout=500,
    )

    grown_kib = int(done.stdout)
    print(f"grew by {grown_kib} KiB for 300 MiB")
    assert grown_kib < 48 * 1024
