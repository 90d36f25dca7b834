"""Drills of other kinds than that of an instance from its snapshots."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backup_assets.settings_aws import RdsCopySettings, RdsSettings
from backup_assets_tests.aws.conftest import CLUSTER, INSTANCE, OSAKA
from backup_assets_tests.aws.rds.drilling import Drill


@pytest.fixture
def a_drill_of_aurora(a_drill: Drill) -> Drill:
    """Return the same on a cluster of Aurora."""
    a_drill.aws.make_cluster(DeletionProtection=False)
    return replace(a_drill, rds=RdsSettings(cluster=CLUSTER), cluster=True)


@pytest.fixture
def a_drill_of_copies(a_drill: Drill) -> Drill:
    """Return the same, drilled from the copies in Osaka."""
    copies = RdsCopySettings(region=OSAKA, kms_key_id=a_drill.aws.osaka_key)
    group = a_drill.security_group_in(OSAKA)
    drill = replace(a_drill, rds=RdsSettings(instance=INSTANCE, copies=copies))
    return drill.drilling(source="copy", security_groups=(group,), subnet_group="drills")
