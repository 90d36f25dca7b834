"""How does a job find its few assets among those of hundreds of databases?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from backup_assets.shown import OWNERS, reading


class DatabaseJob(UnresolvedAssetJobDefinition):
    """An asset job that is about the assets of one database: those whose keys begin like its own.

    Dagster looks at every asset of the code location for every job, which for 200 databases takes a minute, longer
    than it waits for a code location. No asset of ours depends on one of another database, so that a job is the same
    when it is made from its own database's alone.
    """

    def resolve(
        self,
        asset_graph: AssetGraph,
        default_executor_def: dg.ExecutorDefinition | None = None,
        resource_defs: Mapping[str, dg.ResourceDefinition] | None = None,
    ) -> dg.JobDefinition:
        """Return the job, made from the assets of its database."""
        return super().resolve(_parts(asset_graph)[self._database], default_executor_def, resource_defs)

    @property
    def _database(self) -> str:
        return str((self.metadata or {})[_DATABASE])


#: Shown with the job in the UI.
_DATABASE = "database"


def define_database_job(
    database: str,
    name: str,
    *,
    selection: dg.AssetSelection,
    description: str,
    page: str,
    tags: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
) -> DatabaseJob:
    """Return a job on assets of ``database``, the name that their keys begin with; ``page`` says more about it."""
    metadata = {_DATABASE: database, **reading(page)}
    return DatabaseJob(name, selection, config, description, tags, metadata=metadata, owners=OWNERS)


@lru_cache(maxsize=1)  # all jobs of a code location are made one after the other
def _parts(graph: AssetGraph) -> dict[str, AssetGraph]:
    assets: dict[str, dict[dg.AssetKey, Any]] = {}
    checks: dict[str, dict[dg.AssetCheckKey, dg.AssetsDefinition]] = {}
    for key in graph.get_all_asset_keys():
        assets.setdefault(key.path[0], {})[key] = graph.get(key)
    for definition in graph.assets_defs:
        for check in definition.check_keys:
            checks.setdefault(check.asset_key.path[0], {})[check] = definition
    return {
        name: AssetGraph(asset_nodes_by_key=nodes, assets_defs_by_check_key=checks.get(name, {}))
        for name, nodes in assets.items()
    }
