"""How do the figures come to Prometheus: printed, as a file, or over HTTP?"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime

from backup_assets.cli.context import chosen_databases
from backup_assets.cli.output import tell
from backup_assets.errors import Refused
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_loading import load_settings
from backup_assets.watch.measuring import measure
from backup_assets.watch.metrics import exposition, write_textfile
from backup_assets.watch.metrics_server import PATH, Latest, address_of, metrics_server


def metrics(arguments: Namespace) -> int:
    """Write the figures of every database, or of one, in Prometheus' text format."""
    settings = load_settings()
    databases = chosen_databases(settings, arguments.database)
    if arguments.textfile and arguments.listen:
        raise Refused("--textfile and --listen exclude each other", remedy="choose one; run the command twice for both")
    if arguments.listen:
        return _serve(settings, databases, arguments)
    content = _measured(settings, databases)
    if arguments.textfile:
        write_textfile(arguments.textfile, content)
    else:
        sys.stdout.write(content.decode())
    return 0


def _measured(settings: Settings, databases: Sequence[DatabaseSettings]) -> bytes:
    now = datetime.now(UTC)
    return exposition(measure(database, settings, now) for database in databases)


def _serve(settings: Settings, databases: Sequence[DatabaseSettings], arguments: Namespace) -> int:
    latest = Latest(lambda: _measured(settings, databases), arguments.every)
    with metrics_server(address_of(arguments.listen), latest, tell) as server:
        host, port = server.server_address[:2]
        shown = f"[{host}]" if ":" in str(host) else host
        tell(f"http://{shown}:{port}{PATH}, measured at most every {arguments.every:g} s; end with Ctrl-C")
        server.serve_forever()
    return 0
