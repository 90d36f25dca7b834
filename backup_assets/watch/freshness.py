"""How does the Dagster UI show, on the asset itself, that it is older than promised?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from typing import TypeVar, cast

import dagster as dg

from backup_assets.settings import DatabaseSettings
from backup_assets.watch.known import HOUR

#: What a capture, and after it a copy, may take: the stores' own figures are not asked when definitions are loaded.
CAPTURE_MAY_TAKE = HOUR
COPY_MAY_TAKE = 2 * HOUR
_OF_CAPTURE = {"db_dump", "globals", "pdf_archive", "secrets", "metadata"}
_WEEK = timedelta(days=7)
Asset = TypeVar("Asset", dg.AssetsDefinition, dg.AssetSpec)


@lru_cache(maxsize=64)
def _policy(window: timedelta) -> dg.FreshnessPolicy:
    return dg.FreshnessPolicy.time_window(fail_window=window)


def with_freshness(
    assets: Sequence[dg.AssetsDefinition | dg.AssetSpec], database: DatabaseSettings, *, weekly: bool = False
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Return the assets with a policy that turns them red when the RPO is broken; live sources have none.

    The policy looks at the newest materialization of any partition. A capture is only ever of now, so that this is
    the age of its newest set; a copy of an old slot that is made today looks fresh, which the check `rpo_met` does not
    believe.
    """
    promised = _WEEK if weekly else database.rpo_hours * HOUR

    def policy_of(spec: dg.AssetSpec) -> dg.AssetSpec:
        if spec.partitions_def is None:  # what is outside
            return spec
        captured = spec.key.path[-1] in _OF_CAPTURE or spec.key.path[-1] == "important_tables"
        window = promised + (CAPTURE_MAY_TAKE if captured else COPY_MAY_TAKE)
        return dg.apply_freshness_policy(spec, _policy(window))

    return cast("list[dg.AssetsDefinition | dg.AssetSpec]", list(dg.map_asset_specs(policy_of, list(assets))))
