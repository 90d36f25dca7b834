from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from backup_assets.capture.secret_sources import Account, SecretDenied
from backup_assets.errors import BackupError, CheckFailed, EnvironmentFault, Refused
from backup_assets.offsite.secrets_manager import push_secret
from backup_assets_tests.capture.aws_answers import answering, refusal, use_keys

REGION = "ap-northeast-1"
CANARY = "correct horse battery staple"
NAME = "prod/erp4/env"


@pytest.fixture
def manager() -> Iterator[Any]:
    with mock_aws():
        client = boto3.client("secretsmanager", REGION)
        client.create_secret(Name=NAME, SecretString="before")
        yield client


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    path = tmp_path / ".env"
    path.write_text(f'# of production\nexport JWT_SECRET="{CANARY}"\nPORT=8080\n')
    return path


def push(path: Path, name: str = NAME, **options: Any) -> Any:
    return push_secret(Account(REGION), path, name, **options)


def versions(manager: Any, name: str = NAME) -> int:
    return len(manager.list_secret_version_ids(SecretId=name, IncludeDeprecated=True)["Versions"])


def test_the_text_becomes_the_current_version(manager: Any, env_file: Path) -> None:
    done = push(env_file)

    stored = manager.get_secret_value(SecretId=NAME)
    assert stored["SecretString"] == env_file.read_text()
    assert (done.state, done.version_id, done.compared) == ("updated", stored["VersionId"], True)


def test_unchanged_content_makes_no_version(manager: Any, env_file: Path) -> None:
    first = push(env_file)
    made = versions(manager)

    again = push(env_file)

    assert (again.state, again.version_id) == ("unchanged", first.version_id)
    assert versions(manager) == made


def test_json_is_an_object_of_the_settings(manager: Any, env_file: Path) -> None:
    push(env_file, form="json")

    stored = json.loads(manager.get_secret_value(SecretId=NAME)["SecretString"])
    assert stored == {"JWT_SECRET": CANARY, "PORT": "8080"}
    env_file.write_text(f"PORT=8080\nJWT_SECRET={CANARY}\n")
    assert push(env_file, form="json").state == "unchanged"


def test_a_binary_secret_is_another_content(manager: Any, env_file: Path) -> None:
    manager.put_secret_value(SecretId=NAME, SecretBinary=env_file.read_bytes())

    assert push(env_file).state == "updated"


def test_a_secret_is_made_only_when_that_is_asked_for(manager: Any, env_file: Path) -> None:
    with pytest.raises(Refused, match="there is no secret prod/erp4/new in ap-northeast-1") as refused:
        push(env_file, "prod/erp4/new")
    assert "--create" in refused.value.remedy
    assert [one["Name"] for one in manager.list_secrets()["SecretList"]] == [NAME]

    assert push(env_file, "prod/erp4/new", create=True).state == "created"
    assert manager.get_secret_value(SecretId="prod/erp4/new")["SecretString"] == env_file.read_text()
    assert push(env_file, "prod/erp4/new", create=True).state == "unchanged"


def written(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


@pytest.mark.parametrize(
    ("spoil", "form", "words"),
    [
        pytest.param(lambda path: path.unlink(), "raw", "cannot be read", id="missing"),
        pytest.param(written(b" \n"), "raw", "is empty", id="empty"),
        pytest.param(written(b"\xff\xfe" + CANARY.encode()), "raw", "is not UTF-8", id="no text"),
        pytest.param(written(CANARY.encode() * 4000), "raw", "larger than a secret can be", id="large"),
        pytest.param(written(b"A=1\nB " + CANARY.encode()), "json", "line 2 of", id="no setting"),
        pytest.param(written(b"A=1\nJWT\n"), "json", "line 2 of", id="a name alone"),
        pytest.param(written(b"A=1\n\nA=" + CANARY.encode()), "json", "gives A a second value", id="twice"),
        pytest.param(written(b"# nothing\n"), "json", "has no KEY=VALUE line", id="comments"),
    ],
)
def test_a_file_that_cannot_be_a_secret_changes_nothing(
    manager: Any, env_file: Path, spoil: Callable[[Path], None], form: Any, words: str
) -> None:
    spoil(env_file)

    with pytest.raises(BackupError) as refused:
        push(env_file, form=form)
    assert words in refused.value.what
    assert CANARY not in str(refused.value)
    assert manager.get_secret_value(SecretId=NAME)["SecretString"] == "before"


READ = {"GetSecretValue": (200, {"SecretString": "before", "VersionId": "1" * 32, "Name": NAME, "ARN": "arn"})}


def at(address: str, path: Path) -> Any:
    return push_secret(Account(REGION, endpoint_url=address), path, NAME)


def test_what_the_service_says_of_a_value_is_not_repeated(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_keys(monkeypatch)
    answer = refusal("InvalidParameterException", f"the value {CANARY} is not good")
    with answering(**READ, PutSecretValue=answer) as address, pytest.raises(EnvironmentFault) as refused:
        at(address, env_file)
    assert "could not push the secret prod/erp4/env in ap-northeast-1" in refused.value.what
    assert "InvalidParameterException" in refused.value.why
    assert CANARY not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_role_that_only_writes_pushes_and_says_that_nothing_was_compared(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_keys(monkeypatch)
    answers = {
        "GetSecretValue": refusal("AccessDeniedException"),
        "PutSecretValue": (200, {"VersionId": "v-2", "Name": NAME, "ARN": "arn", "VersionStages": ["AWSCURRENT"]}),
    }
    with answering(**answers) as address:
        done = at(address, env_file)
    assert (done.state, done.version_id, done.compared) == ("updated", "v-2", False)


def test_a_role_that_may_not_write_is_told_which_permission_it_needs(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_keys(monkeypatch)
    with (
        answering(**READ, PutSecretValue=refusal("AccessDeniedException")) as address,
        pytest.raises(SecretDenied) as denied,
    ):
        at(address, env_file)
    assert "allow secretsmanager:PutSecretValue" in denied.value.remedy


def test_a_service_that_keeps_another_value_is_no_success(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_keys(monkeypatch)
    stored = (200, {"VersionId": "2" * 32, "Name": NAME, "ARN": "arn", "VersionStages": ["AWSCURRENT"]})
    with (
        answering(**READ, PutSecretValue=stored) as address,
        pytest.raises(CheckFailed, match="does not hold what was sent"),
    ):
        at(address, env_file)


def test_a_log_at_debug_holds_no_value(manager: Any, env_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    push(env_file)
    push(env_file)

    assert CANARY not in caplog.text
