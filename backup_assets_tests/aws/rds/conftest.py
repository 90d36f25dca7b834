"""Fixtures of everything for which RDS restores a server."""

from backup_assets_tests.aws.rds.drilling import a_drill, readers, second_server

__all__ = ["a_drill", "readers", "second_server"]
