"""Where a configured database really is: the settings' server, or the demo's own, started when it is needed."""

from __future__ import annotations

from backup_assets.demo.erp import ensure_erp
from backup_assets.postgres.server import Server
from backup_assets.settings import DatabaseSettings


def source_server(database: DatabaseSettings) -> Server:
    """Return the server that holds the live database; the sample ERP of the demo is made when there is none yet.

    Raises EnvironmentFault when the demo's server cannot run.
    """
    if database.server.embedded is None:
        return Server.from_settings(database.server)
    return Server.from_settings(ensure_erp(database.server.embedded).server)
