"""What the command line says of a further store that is empty, half written, away, or not to be entered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from backup_assets.stores.s3 import S3Store
from backup_assets.stores.ssh import SshStore
from backup_assets_tests.cli.conftest import Command
from backup_assets_tests.sets.examples import a_manifest, put_artifacts
from backup_assets_tests.stores.conftest import another_host, objects
from backup_assets_tests.stores.object_server import REGION, ObjectServer
from backup_assets_tests.stores.ssh_server import SshServer, free_port, make_key

__all__ = ["another_host", "objects"]

COMMANDS = ("list", "verify", "restore", "download latest --to handover")
#: Never to be seen: with these names goes everything that lets anybody in.
SECRETS = ("secret-of-the-admin", "wrong-secret-4711", "token-4711")
Configure = Callable[..., None]


@pytest.fixture
def configured(an_empty_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Configure a database whose server is never asked, and by variables what else is named."""

    def set_to(**values: object) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, str(value))

    set_to(
        DB_HOST="127.0.0.1", DB_PORT=1, DB_USER="erp4", DB_PASSWORD="secret-4711", DB_NAME="erp4", BACKUP_PREFIX="erp4",
        BACKUP_DIR=an_empty_directory / "backups", APP_ENV="prod", RESTORE_CONFIRM=1,
    )  # fmt: skip
    return set_to


@pytest.fixture
def to_bucket(configured: Configure, objects: ObjectServer) -> Configure:
    """Name a bucket of the server, and whatever is to be different."""

    def set_to(**changes: object) -> None:
        keys = objects.credentials("admin")
        configured(**{
            "S3_BUCKET": "no-such-bucket",
            "S3_REGION": REGION,
            "S3_ENDPOINT_URL": objects.url,
            "S3_ADDRESSING_STYLE": "path",
            "SSE_S3": "AES256",
            "AWS_ACCESS_KEY_ID": keys.access_key_id,
            "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
            **changes,
        })  # fmt: skip

    return set_to


@pytest.fixture
def to_host(configured: Configure, another_host: SshServer, tmp_path: Path) -> Configure:
    def set_to(**changes: object) -> None:
        configured(**{
            "REMOTE_HOST": "127.0.0.1",
            "REMOTE_PORT": another_host.port,
            "REMOTE_USER": another_host.user,
            "REMOTE_DIR": another_host.location(tmp_path / "there").remote_dir,
            "REMOTE_SSH_KEY": another_host.directory / "key",
            "REMOTE_KNOWN_HOSTS": another_host.known_hosts,
            **changes,
        })  # fmt: skip

    return set_to


def require_told(command: Command, arguments: str, store: str, status: int, *texts: str) -> None:
    """Every text is in the one message, which is short, names a next step and shows no secret."""
    ended = command(*arguments.split(), "--store", store)

    assert ended.status == status, ended.err
    assert "Traceback" not in ended.err
    assert not [secret for secret in (*SECRETS, "secret-4711") if secret in ended.out + ended.err]
    for text in texts:
        assert text in ended.err
    if status:
        assert ended.err.count("error: ") == 1
        assert ended.err.count("next: ") == 1
        assert len(ended.err.splitlines()) < 8
        assert ended.out == ""


@contextmanager
def a_service_whose_tokens_have_expired() -> Iterator[str]:
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
            self.send_response(400)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(0 if self.command == "HEAD" else len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - as the base class looks for it

        def log_message(self, *_: object, **__: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("arguments", COMMANDS)
def test_an_empty_bucket_has_no_set(
    command: Command, to_bucket: Configure, objects: ObjectServer, arguments: str
) -> None:
    bucket = objects.bucket()
    to_bucket(S3_BUCKET=bucket)

    if arguments == "list":
        require_told(command, arguments, "s3", 0, "no backup set of erp4/prod", bucket)
    else:
        require_told(command, arguments, "s3", 2, "there is no backup set", bucket)


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_bucket_with_files_and_no_manifest_has_no_set(
    command: Command, to_bucket: Configure, objects: ObjectServer, arguments: str
) -> None:
    bucket = objects.bucket()
    to_bucket(S3_BUCKET=bucket)
    put_artifacts(S3Store(objects.location(bucket), "s3"), a_manifest())

    if arguments == "list":
        require_told(command, arguments, "s3", 0, "no backup set of erp4/prod", bucket)
    else:
        require_told(command, arguments, "s3", 2, "there is no backup set", bucket)


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_bucket_that_is_missing_or_may_not_be_entered_is_told_in_one_message(
    command: Command, to_bucket: Configure, objects: ObjectServer, arguments: str
) -> None:
    to_bucket()
    require_told(command, arguments, "s3", 3, "the bucket does not exist", "no-such-bucket")
    bucket = objects.bucket()
    to_bucket(S3_BUCKET=bucket, AWS_SECRET_ACCESS_KEY="wrong-secret-4711")
    require_told(command, arguments, "s3", 3, "the secret key does not belong to the access key", bucket)
    bucket = objects.bucket()  # a new one for every role, because the client of a bucket keeps its credentials
    to_bucket(S3_BUCKET=bucket, AWS_ACCESS_KEY_ID="unknown")
    require_told(command, arguments, "s3", 3, "the access key is not known there", bucket)
    to_bucket(S3_BUCKET=bucket, S3_ENDPOINT_URL=f"http://127.0.0.1:{free_port()}")
    require_told(command, arguments, "s3", 3, "cannot be reached", "S3_ENDPOINT_URL")
    with a_service_whose_tokens_have_expired() as url:
        to_bucket(S3_BUCKET=bucket, S3_ENDPOINT_URL=url, AWS_SESSION_TOKEN="token-4711")
        require_told(command, arguments, "s3", 3, "the session token has expired", "sign in again")


@pytest.mark.parametrize("arguments", COMMANDS)
def test_another_host_that_holds_no_set_is_told_as_such(
    command: Command, to_host: Configure, another_host: SshServer, tmp_path: Path, arguments: str
) -> None:
    to_host()
    for half in (False, True):
        if half:
            put_artifacts(SshStore(another_host.location(tmp_path / "there"), "remote"), a_manifest())
        if arguments == "list":
            require_told(command, arguments, "remote", 0, "no backup set of erp4/prod", "127.0.0.1")
        else:
            require_told(command, arguments, "remote", 2, "there is no backup set", "127.0.0.1")


@pytest.mark.parametrize("arguments", COMMANDS)
def test_another_host_that_is_away_or_may_not_be_entered_is_told_in_one_message(
    command: Command, to_host: Configure, tmp_path: Path, arguments: str
) -> None:
    to_host(REMOTE_DIR=tmp_path / "missing")
    require_told(command, arguments, "remote", 3, f"there is no directory {tmp_path / 'missing'}", "REMOTE_DIR")
    if not (tmp_path / "other").exists():
        make_key(tmp_path / "other")
    to_host(REMOTE_SSH_KEY=tmp_path / "other")
    require_told(command, arguments, "remote", 3, "does not accept the key", "REMOTE_SSH_KEY")
    (tmp_path / "unknown").write_text("")
    to_host(REMOTE_KNOWN_HOSTS=tmp_path / "unknown")
    require_told(command, arguments, "remote", 3, "is not a known host", "ssh-keyscan")
    to_host(REMOTE_PORT=free_port())
    require_told(command, arguments, "remote", 3, "could not be made or broke", "REMOTE_PORT")
