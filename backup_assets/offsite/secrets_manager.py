"""How does a file of settings become a new version of a secret in AWS Secrets Manager?"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dotenv.parser import parse_stream

from backup_assets.capture.secret_sources import Account, MissingSecret, SecretDenied, explained
from backup_assets.errors import CheckFailed, EnvironmentFault, Refused

#: The service's limit for one value, in bytes.
MOST_BYTES = 65_536
Format = Literal["raw", "json"]


@dataclass(frozen=True)
class Pushed:
    """What became of it; ``compared``: what is stored there was read and is the content of the file."""

    state: Literal["created", "updated", "unchanged"]
    name: str
    version_id: str
    compared: bool


def push_secret(account: Account, path: Path, name: str, *, form: Format = "raw", create: bool = False) -> Pushed:
    """Make the content of ``path`` the current version of the secret ``name``, unless it is that already.

    ``form`` ``raw``: the text as it is; ``json``: an object of the file's ``KEY=VALUE`` lines. A role that may not read
    the secret pushes without comparing. Raises Refused for a file that cannot be used, and where the secret does not
    exist unless ``create``; SecretDenied, EnvironmentFault or TransientFault as the service answers; CheckFailed when
    another value is stored there than was sent. No error repeats a value.
    """
    value = _value_of(path, form)
    client = account.client("secretsmanager")
    readable = True
    try:
        current = _read(client, account, name)
    except SecretDenied:  # a role that only writes: the result says that nothing was compared
        current, readable = None, False
    if current is not None and _equal(current[0], value, form):
        return Pushed("unchanged", name, current[1], compared=True)
    state, version = _write(client, account, name, value, create=create)
    if readable:
        stored = _read(client, account, name, version)
        if stored is None or stored[0] != value:
            raise CheckFailed(
                f"the secret {name} does not hold what was sent",
                why=f"version {version} was read back and is not the content of {path}",
                remedy="look at that version in the console, then push again",
            )
    return Pushed(state, name, version, compared=readable)


def _value_of(path: Path, form: Format) -> str:
    try:
        with path.open("rb") as handle:
            content = handle.read(MOST_BYTES + 1)
    except OSError as error:
        raise EnvironmentFault(
            f"the file {path} cannot be read", why=error.strerror or type(error).__name__, remedy="correct its name"
        ) from error
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise Refused(f"{path} is not UTF-8 text", remedy="push a text file, such as .env") from None
    if not text.strip():
        raise Refused(f"{path} is empty", why="the secret would lose its value", remedy="name the right file")
    value = text if form == "raw" else json.dumps(_settings_in(text, path), ensure_ascii=False, indent=1)
    if len(content) > MOST_BYTES or len(value.encode()) > MOST_BYTES:
        raise Refused(
            f"{path} is larger than a secret can be",
            why=f"the service takes {MOST_BYTES} bytes",
            remedy="split it, or keep it in the sets alone (docs/secrets.md)",
        )
    return value


def _settings_in(text: str, path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in parse_stream(io.StringIO(text)):
        place = f"line {line.original.line} of {path}"
        if line.error or (line.key is not None and line.value is None):
            # The line is not repeated: it may hold a value.
            raise Refused(f"{place} is no KEY=VALUE", remedy="correct it, or push the text as it is with --format raw")
        if line.key is None or line.value is None:  # a comment or an empty line
            continue
        if line.key in found:
            raise Refused(f"{place} gives {line.key} a second value", remedy="keep one of the two")
        found[line.key] = line.value
    if not found:
        raise Refused(f"{path} has no KEY=VALUE line", remedy="name the right file, or push it with --format raw")
    return found


def _read(client: Any, account: Account, name: str, version: str | None = None) -> tuple[str | None, str] | None:
    """Return text (None: it is binary) and version id of a secret, or None when it has no value or does not exist."""
    which = {"VersionId": version} if version else {}
    try:
        with explained("secretsmanager", "compare", name, account):
            answer = client.get_secret_value(SecretId=name, **which)
    except MissingSecret:
        return None
    return answer.get("SecretString"), answer["VersionId"]


def _equal(stored: str | None, value: str, form: Format) -> bool:
    if stored is None or form == "raw":
        return stored == value
    try:
        return json.loads(stored) == json.loads(value)
    except ValueError:
        return False


def _write(
    client: Any, account: Account, name: str, value: str, *, create: bool
) -> tuple[Literal["created", "updated"], str]:
    try:
        with explained("secretsmanager", "push", name, account, withheld=True):
            answer = client.put_secret_value(SecretId=name, SecretString=value)
    except MissingSecret as error:
        if not create:
            raise Refused(
                f"there is no secret {name} in {account.region}",
                why=error.why,
                remedy="correct the name or the region, or make it with --create",
            ) from None
    else:
        return "updated", answer["VersionId"]
    with explained("secretsmanager", "create", name, account, withheld=True):
        answer = client.create_secret(Name=name, SecretString=value)
    return "created", answer["VersionId"]
