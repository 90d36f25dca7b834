"""How is a PostgreSQL server reached?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from backup_assets.settings_model import Model, OursAlone


class ContainerSettings(Model):
    """The container in which the server runs, reached with ``<engine> exec``."""

    name: str = Field(description="Name or id of the container.")
    engine: str = Field(
        default="docker", description="`docker`, `podman`, or the path of a program with the same `exec`."
    )


class ServerSettings(Model):
    """How a PostgreSQL server is reached: TCP, Unix socket (a host beginning with `/`), or inside a container."""

    host: str = Field(default="localhost", description="Host name, address, or directory of the Unix socket.")
    port: int = Field(default=5432, ge=1, le=65535, description="TCP port; also part of the Unix socket's name.")
    user: str = Field(default="postgres", description="A superuser, or a role with BYPASSRLS that may read everything.")
    password: SecretStr | None = Field(
        default=None, description="Left out: libpq's own means apply (a .pgpass file, peer)."
    )
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = Field(
        default=None, description="As libpq's `sslmode`; left out: libpq's default."
    )
    sslrootcert: Path | None = Field(
        default=None, description="File of trusted certificates, or `system` for those of the operating system."
    )
    container: ContainerSettings | None = Field(
        default=None, description="The server runs in this container and is reached inside it; not with `host`."
    )
    embedded: Annotated[Path | None, OursAlone()] = Field(
        default=None, description="Home of the demo, whose own server is started when needed."
    )
