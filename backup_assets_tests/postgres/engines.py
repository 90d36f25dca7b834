"""A container engine whose one container is a cluster of this machine: same `exec`, same real programs."""

from __future__ import annotations

from pathlib import Path

from backup_assets.postgres.cluster import Cluster


def an_engine(directory: Path, cluster: Cluster) -> Path:
    """Write a program that takes ``exec [-i] [-e NAME]… CONTAINER PROGRAM ARGUMENT…`` and return it."""
    engine = directory / "engine"
    engine.write_text(
        "#!/bin/bash\n"
        '[ "$1" = exec ] || exit 125\nshift\n'
        'while true; do case "$1" in -i) shift;; -e) shift 2;; *) break;; esac; done\n'
        '[ "$1" = erp-db ] || { echo "no such container: $1" >&2; exit 125; }\nshift\n'
        f'export PGHOST="{cluster.socket_directory}"\nprogram="$1"\nshift\n'
        f'PATH="{cluster.binaries.directory}:$PATH" exec "$program" "$@"\n'
    )
    engine.chmod(0o755)
    return engine
