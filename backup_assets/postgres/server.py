"""How one PostgreSQL server is reached: the arguments and environment that every client program gets."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from backup_assets.postgres.clients import Clients
from backup_assets.postgres.container import Container
from backup_assets.settings_server import ServerSettings

CONNECT_TIMEOUT_SECONDS = 15


def database_argument(name: str) -> str:
    """Return a database's name as ``--dbname`` takes it: libpq reads ``a=b`` there as a connection string."""
    if "=" in name or name.startswith(("postgresql://", "postgres://")):
        return make_conninfo(dbname=name)
    return name


@dataclass(frozen=True)
class Server:
    """A server as its clients see it. Inside a container they connect through its own Unix socket."""

    host: str
    port: int
    user: str
    password: SecretStr | None = field(default=None, repr=False)
    sslmode: str | None = None
    sslrootcert: Path | None = None
    container: Container | None = None
    #: Settings for the sessions of client programs, as libpq takes them (``-c name=value``).
    options: str = ""

    @classmethod
    def from_settings(cls, settings: ServerSettings) -> Server:
        """Return the server that the settings describe."""
        container = settings.container and Container(settings.container.engine, settings.container.name)
        return cls(
            host="" if container else settings.host,
            port=settings.port,
            user=settings.user,
            password=settings.password,
            sslmode=settings.sslmode,
            sslrootcert=settings.sslrootcert,
            container=container,
        )

    @property
    def place(self) -> str:
        """Where it is, in words fit for messages; never with a password."""
        if self.container is not None:
            return str(self.container)
        separator = "" if self.host.startswith("/") else ":"
        return f"{self.host}{separator or ' port '}{self.port}"

    def argv(self, clients: Clients | None, program: str, *arguments: str) -> list[str]:
        """Return the argument list that runs a client program against this server, without any secret.

        ``clients`` is ignored inside a container, whose own programs are used: they fit its server by nature.
        """
        connection = ["--port", str(self.port), "--username", self.user, "--no-password"]
        if self.container is None:
            if clients is None:
                raise AssertionError("client programs are needed outside a container")
            return [clients.program(program), "--host", self.host, *connection, *arguments]
        return self.container.argv(self.environment(), program, *connection, *arguments)

    def environment(self) -> dict[str, str]:
        """Return the variables that the client program needs; holds the password."""
        variables = {
            "LC_ALL": "C",
            "PGCONNECT_TIMEOUT": str(CONNECT_TIMEOUT_SECONDS),
            "PGAPPNAME": "backup_assets",
            # pg_dump takes the encoding of the database: one that is set outside must not change that.
            "PGCLIENTENCODING": "",
        }
        if self.password is not None:
            variables["PGPASSWORD"] = self.password.get_secret_value()
        elif "PGPASSFILE" in os.environ and self.container is None:  # a file of this machine
            variables["PGPASSFILE"] = os.environ["PGPASSFILE"]
        if self.options:
            outside = os.environ.get("PGOPTIONS", "") if self.container is None else ""
            variables["PGOPTIONS"] = f"{outside} {self.options}".strip()
        if self.sslmode:
            variables["PGSSLMODE"] = self.sslmode
        if self.sslrootcert:
            variables["PGSSLROOTCERT"] = str(self.sslrootcert)
        return variables
