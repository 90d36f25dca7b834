"""How is a local PostgreSQL cluster made, started, stopped and removed again, whoever we run as?"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from backup_assets import files, process
from backup_assets.errors import EnvironmentFault, Refused
from backup_assets.postgres.listening import (
    SOCKET_ONLY_PORT,
    SOCKET_PREFIX,
    free_port,
    is_free,
    make_socket_directory,
)
from backup_assets.postgres.server_binaries import ServerBinaries
from backup_assets.postgres.unprivileged import give_to, may_reach, reachable_binaries, scratch_parent, server_identity
from backup_assets.process import Identity
from backup_assets.settings_server import ServerSettings

FACTS_FILE = "cluster.json"
PASSWORD_FILE = "password"  # noqa: S105 - the name of a file
LOG_FILE = "server.log"
LOG_TAIL_BYTES = 3000
INITDB_TIMEOUT_SECONDS = 180.0
START_TIMEOUT_SECONDS = 120
STOP_TIMEOUT_SECONDS = 120
#: From this major on the server has a locale of its own, the same on every machine.
BUILTIN_LOCALE_MAJOR = 17
MEBIBYTE = 1 << 20
#: Names of what is placed outside a cluster's directory; nothing else outside is ever removed.
ELSEWHERE_PREFIX = "backup-assets-server-"
#: How long a postmaster whose start was interrupted may take until it has written its process id.
APPEAR_SECONDS = 2.0
#: How long a killed postmaster, and what it had started, may take until they are gone altogether.
GONE_SECONDS = 60.0
#: How the next one says that they are not: the process id lives until it has been reaped, and its backends hold its
#: shared memory until each has noticed that it is gone.
STILL_THERE = ("postmaster.pid", "pre-existing shared memory block")
#: How a server says that another one listens on its port of 127.0.0.1.
PORT_TAKEN = "Address already in use"


@dataclass(frozen=True)
class _Facts:
    """What has to be remembered to find a cluster again; the password lies in a file of its own."""

    data_directory: str
    socket_directory: str
    port: int
    tcp: bool
    superuser: str
    throw_away: bool
    binaries: str
    settings: dict[str, str]


class Cluster:
    """A PostgreSQL cluster of this machine, reached through a Unix socket in a directory of its own.

    Below ``directory``: `cluster.json` and `password` (0600), `data/` with `server.log`, and `socket/`. A directory
    that the server's user cannot reach (we are root, and it lies below a 0700 home) keeps only the first two; the
    rest is placed in a shared temporary directory.
    """

    def __init__(self, directory: Path, binaries: ServerBinaries, facts: _Facts, password: str) -> None:
        self.directory = directory
        self.binaries = binaries
        self.password = password
        self._facts = facts
        self._identity = server_identity()
        self._interrupted_start = False

    @property
    def data_directory(self) -> Path:
        """Where the server keeps its data."""
        return Path(self._facts.data_directory)

    @property
    def socket_directory(self) -> Path:
        """Directory of the Unix socket: the host name for libpq."""
        return Path(self._facts.socket_directory)

    @property
    def port(self) -> int:
        """Port of the socket, and of 127.0.0.1 where the cluster listens there as well."""
        return self._facts.port

    @property
    def superuser(self) -> str:
        """Name of the role made by initdb."""
        return self._facts.superuser

    @property
    def throw_away(self) -> bool:
        """Whether the cluster is without durability and may be removed."""
        return self._facts.throw_away

    def server_settings(self) -> ServerSettings:
        """Return how to connect as the superuser."""
        return ServerSettings(
            host=str(self.socket_directory), port=self.port, user=self.superuser, password=SecretStr(self.password)
        )

    @classmethod
    def create(
        cls,
        directory: Path,
        binaries: ServerBinaries,
        *,
        superuser: str = "postgres",
        throw_away: bool,
        encoding: str = "UTF8",
        locale: str = "C",
        password: str | None = None,
        settings: Mapping[str, str] | None = None,
        tcp: bool = False,
    ) -> Cluster:
        """Make a new cluster in ``directory`` and return it, not started.

        ``locale`` `C.UTF-8` is the server's own where it has one (major 17), else the operating system's. ``settings``
        are lines of postgresql.conf. ``tcp``: listen on 127.0.0.1 as well. ``throw_away``: no durability at all, for
        data that exists elsewhere. Raises Refused when there is a cluster already, EnvironmentFault when initdb fails.
        """
        files.make_private_directory(directory)
        if cls.exists(directory) or (directory / "data").exists():
            raise Refused(
                f"{directory} holds a PostgreSQL cluster already",
                remedy="use another directory; remove this one only if nothing in it is needed",
            )
        for unfinished in directory.glob(f"data.*{files.PARTIAL_SUFFIX}"):  # of a creation that was killed
            remove_tree(unfinished)
        identity = server_identity()
        binaries = reachable_binaries(binaries, identity)
        base = server_base(directory, identity)
        facts = _Facts(
            data_directory=str(base / "data"),
            socket_directory=str(make_socket_directory(base, identity)),
            port=free_port() if tcp else SOCKET_ONLY_PORT,
            tcp=tcp,
            superuser=superuser,
            throw_away=throw_away,
            binaries=str(binaries.directory),
            settings=dict(settings or {}),
        )
        cluster = cls(directory, binaries, facts, password or secrets.token_urlsafe(24))
        # The facts go first: data whose password and place are not known would be lost, facts without data are not.
        cluster._write_private(PASSWORD_FILE, cluster.password)
        cluster._write_facts()
        cluster._initialise(encoding, locale)
        return cluster

    @classmethod
    def exists(cls, directory: Path) -> bool:
        """Whether ``directory`` holds a complete cluster."""
        facts = _read_facts(directory)
        return facts is not None and (Path(facts.data_directory) / "PG_VERSION").is_file()

    @classmethod
    def open(cls, directory: Path, binaries: tuple[ServerBinaries, ...]) -> Cluster:
        """Return the existing cluster in ``directory``, with the one of ``binaries`` that has made it or its major.

        Raises EnvironmentFault when there is no cluster, or no server of exactly its major version.
        """
        facts = _read_facts(directory)
        if facts is None or not cls.exists(directory):
            raise EnvironmentFault(f"there is no PostgreSQL cluster in {directory}", remedy="check the directory")
        major = int((Path(facts.data_directory) / "PG_VERSION").read_text().split(".")[0])
        for candidate in binaries:
            if candidate.major == major:
                usable = reachable_binaries(candidate, server_identity())
                return cls(directory, usable, facts, (directory / PASSWORD_FILE).read_text())
        raise EnvironmentFault(
            f"the cluster in {directory} needs a PostgreSQL {major} server, and none is installed here",
            why=f"found: {', '.join(candidate.version for candidate in binaries) or 'none'}",
            remedy=f"install PostgreSQL {major}",
        )

    @property
    def running(self) -> bool:
        """Whether this cluster's own postmaster lives (a process id that was used again by another does not count)."""
        return self._postmaster() is not None

    def start(self) -> None:
        """Start the server and wait until it answers; nothing happens when it runs.

        Raises EnvironmentFault with the end of the server's log when it does not start.
        """
        if self.running:
            return
        if self._facts.tcp and not is_free(self.port):
            self._facts = replace(self._facts, port=free_port())
        if not self.socket_directory.is_dir():  # a temporary directory does not outlive a restart of the machine
            base = self.data_directory.parent
            self._facts = replace(self._facts, socket_directory=str(make_socket_directory(base, self._identity)))
        self._write_facts()
        self._configure()
        log = self.data_directory / LOG_FILE
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        self._interrupted_start = True
        gone_by = time.monotonic() + GONE_SECONDS
        while (failure := self._try_to_start(log)) is not None:
            said = self.log_tail()
            if self._facts.tcp and PORT_TAKEN in said and time.monotonic() <= gone_by:
                # Another server was faster between the look at the port and our start.
                self._facts = replace(self._facts, port=free_port())
                self._write_facts()
                self._configure()
            elif not any(sign in said for sign in STILL_THERE) or time.monotonic() > gone_by:
                self._interrupted_start = False
                raise EnvironmentFault(
                    f"the PostgreSQL server in {self.directory} did not start",
                    why=said or failure.why,
                    remedy="the end of its log says what is wrong; free disk and memory are the usual causes",
                ) from failure
            time.sleep(0.1)
            log.unlink(missing_ok=True)
        self._interrupted_start = False

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop the server and wait until it has ended; nothing happens when it does not run.

        ``immediate`` leaves recovery to the next start. Raises EnvironmentFault when it does not end in time.
        """
        if not self.running:
            return
        try:
            self._pg_ctl("stop", "-m", mode, "-t", str(STOP_TIMEOUT_SECONDS), timeout=STOP_TIMEOUT_SECONDS + 20)
        except process.ProgramFailed as error:
            if not self.running:  # it ended by itself between the look and the request
                return
            raise EnvironmentFault(
                f"the PostgreSQL server in {self.directory} did not stop",
                why=self.log_tail() or error.why,
                remedy=f"end its connections, or the process in {self.data_directory / 'postmaster.pid'}",
            ) from error

    def destroy(self) -> None:
        """Stop a throw-away cluster and remove everything of it. Raises Refused for any other."""
        if not self.throw_away:
            raise Refused(
                f"the cluster in {self.directory} is not a throw-away one and is not removed",
                remedy="stop it and remove its directory by hand, if nothing in it is needed",
            )
        appears_until = time.monotonic() + APPEAR_SECONDS
        while self._interrupted_start and not self.running and time.monotonic() < appears_until:
            time.sleep(0.05)
        self.stop("immediate")
        base = self.data_directory.parent
        for path in (self.socket_directory, base):
            if path.is_relative_to(self.directory) or path.name.startswith((ELSEWHERE_PREFIX, SOCKET_PREFIX)):
                remove_tree(path)
        remove_tree(self.directory)

    @classmethod
    def remove_left_behind(cls, directory: Path) -> None:
        """Destroy the throw-away cluster that another process made, or began to make, in ``directory``."""
        facts = _read_facts(directory)
        if facts is None:
            remove_tree(directory)
            return
        cls(directory, ServerBinaries(Path(facts.binaries), 0, "unknown"), facts, "").destroy()

    def log_tail(self) -> str:
        """Return the end of the server's log, without the superuser's password."""
        log = self.data_directory / LOG_FILE
        if not log.is_file():
            return ""
        with log.open("rb") as handle:
            handle.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
            text = handle.read().decode("utf-8", "replace").strip()
        return text.replace(self.password, "***") if self.password else text

    def _postmaster(self) -> int | None:
        try:
            pid = int((self.data_directory / "postmaster.pid").read_text().split("\n", 1)[0])
            os.kill(pid, 0)
        except (FileNotFoundError, ValueError, ProcessLookupError, PermissionError):
            return None
        # Signalling a process that merely has the old number would be fatal for an innocent one: a postmaster's
        # working directory is its data directory.
        working_directory = Path(f"/proc/{pid}/cwd")
        if not Path("/proc/self/cwd").exists():
            return pid
        try:
            return pid if working_directory.readlink() == self.data_directory.resolve() else None
        except OSError:  # ended meanwhile, or another user's
            return None

    def _try_to_start(self, log: Path) -> process.ProgramFailed | None:
        try:
            self._pg_ctl("start", "-l", str(log), "-t", str(START_TIMEOUT_SECONDS), timeout=START_TIMEOUT_SECONDS + 20)
        except process.ProgramFailed as error:
            return error
        return None

    def _pg_ctl(self, command: str, *arguments: str, timeout: float) -> None:
        process.run(
            [self.binaries.program("pg_ctl"), command, "-D", str(self.data_directory), "-w", "-s", *arguments],
            timeout=timeout,
            identity=self._identity,
            cwd=Path("/"),
        )

    def _initialise(self, encoding: str, locale: str) -> None:
        unfinished = self.data_directory.with_name(f"data.{secrets.token_hex(4)}{files.PARTIAL_SUFFIX}")
        unfinished.mkdir(mode=0o700)
        password_file = unfinished.with_suffix(".password")
        argv = [self.binaries.program("initdb"), "-D", str(unfinished), "-U", self.superuser, "-E", encoding]
        argv += ["-A", "scram-sha-256", f"--pwfile={password_file}", "--no-instructions"]
        argv += _locale_arguments(locale, self.binaries.major)
        if self.throw_away:
            argv.append("--no-sync")
        try:
            descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as handle:
                handle.write(self.password)
            give_to(password_file, self._identity)
            give_to(unfinished, self._identity)
            # With TZ set, initdb need not compare every time zone of the machine with its clock.
            process.run(argv, timeout=INITDB_TIMEOUT_SECONDS, env={"TZ": "UTC"}, identity=self._identity, cwd=Path("/"))
            unfinished.rename(self.data_directory)
            if not self.throw_away:
                files.fsync_directory(self.data_directory.parent)
        except process.ProgramFailed as error:
            raise EnvironmentFault(
                f"no PostgreSQL cluster could be made in {self.directory}",
                why=error.why.replace(self.password, "***"),
                remedy="free disk space and the permissions of the directory are the usual causes",
            ) from error
        finally:
            password_file.unlink(missing_ok=True)
            shutil.rmtree(unfinished, ignore_errors=True)

    def _configure(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1" if self._facts.tcp else "",
            "port": str(self.port),
            "unix_socket_directories": f'"{self.socket_directory}"',
            "unix_socket_permissions": "0700",
            "password_encryption": "scram-sha-256",
            "log_timezone": "UTC",
            "timezone": "UTC",
            "lc_messages": "C",  # `start` reads them
            **(throw_away_settings(_memory_bytes()) if self.throw_away else {}),
            **self._facts.settings,
        }
        text = "".join(f"{name} = {_quoted(value)}\n" for name, value in settings.items())
        target = self.data_directory / "postgresql.conf"
        partial = files.partial_path(target)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(text)
        give_to(partial, self._identity)
        partial.replace(target)

    def _write_facts(self) -> None:
        self._write_private(FACTS_FILE, json.dumps(self._facts.__dict__, indent=1) + "\n")

    def _write_private(self, name: str, text: str) -> None:
        # Replaces, which files.partial_file never does: the port and the socket's place may change at a start.
        target = self.directory / name
        partial = files.partial_path(target)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(text)
            handle.flush()
            if not self.throw_away:
                os.fsync(handle.fileno())
        partial.replace(target)
        if not self.throw_away:
            files.fsync_directory(self.directory)


def throw_away_settings(memory_bytes: int) -> dict[str, str]:
    """Return the settings of a server whose data may be lost at any time, on a machine with so much memory."""
    sixteenth = memory_bytes // 16 // MEBIBYTE
    return {
        "fsync": "off",
        "full_page_writes": "off",
        "synchronous_commit": "off",
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "max_wal_size": "2GB",
        "checkpoint_timeout": "1h",
        "autovacuum": "off",
        "jit": "off",
        "max_connections": "40",
        # One transaction may lock every table of a database: 2,000 tables with their indexes.
        "max_locks_per_transaction": "1024",
        "shared_buffers": f"{min(max(sixteenth, 32), 256)}MB",
        "maintenance_work_mem": f"{min(max(sixteenth, 64), 256)}MB",
    }


def _locale_arguments(locale: str, major: int) -> list[str]:
    if locale == "C.UTF-8" and major >= BUILTIN_LOCALE_MAJOR:
        return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return [f"--locale={locale}"]


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _memory_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _read_facts(directory: Path) -> _Facts | None:
    try:
        return _Facts(**json.loads((directory / FACTS_FILE).read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, PermissionError) as error:
        raise EnvironmentFault(
            f"{directory / FACTS_FILE} cannot be read",
            why=str(error),
            remedy="run as the user who made the cluster, restore the file, or use another directory",
        ) from error


def server_base(directory: Path, identity: Identity | None) -> Path:
    """Return where data and socket go: ``directory``, or a fresh directory elsewhere that the server can reach."""
    if identity is None:
        return directory
    base = directory
    if not may_reach(directory.parent, identity):
        base = Path(tempfile.mkdtemp(prefix=ELSEWHERE_PREFIX, dir=scratch_parent(None, identity)))
    let_server_pass(base)
    return base


def let_server_pass(directory: Path) -> None:
    """Let the server's user pass through a directory that we made, and nobody else: 0710 instead of 0700, as root."""
    identity = server_identity()
    if identity is not None:
        os.chown(directory, -1, identity.gid)
        directory.chmod(0o710)


def remove_tree(path: Path) -> None:
    """Remove a directory with everything in it; one that is gone already is no error."""
    for attempts_left in (4, 3, 2, 1, 0):
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            if not path.exists():
                return
        except OSError:
            # A server that was just being started may still be writing what we remove.
            if attempts_left == 0:
                raise
            time.sleep(0.2)
        else:
            return
