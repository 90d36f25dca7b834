"""Which settings apply here: those of a file, of variables, or of the demo?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from backup_assets.errors import SettingsError
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_capture import AttachmentsSettings, DumpSettings, FileColumn
from backup_assets.settings_env import common_settings, settings_from_variables, stores_and_encryption
from backup_assets.settings_file import read_settings_file
from backup_assets.settings_misspelled import refuse_misspelled
from backup_assets.settings_server import ServerSettings
from backup_assets.settings_stores import StoreSettings
from backup_assets.settings_variables import database_variables, names_a_database, telling_variables, values_set

CONFIG_FILE_NAME = "backup.yaml"
DEMO_HOME = Path("var/demo")


def demo_settings(backup_dir: Path, home: Path | None = None) -> Settings:
    """Return the settings of the embedded demo, whose sets go to ``backup_dir``.

    ``home`` holds the demo's own servers and attachments; left out it is ``BACKUP_DEMO_HOME``, else ``var/demo``.
    Nothing is created here.
    """
    place = home or Path(os.environ.get("BACKUP_DEMO_HOME") or DEMO_HOME)
    erp4 = DatabaseSettings(
        name="erp4",
        database="erp4",
        server=ServerSettings(embedded=place),
        important_tables=("invoices", "invoice_lines", "journal_entries"),
        schema_version_query="SELECT version FROM schema_migrations ORDER BY applied_at DESC LIMIT 1",
        integrity_sql=Path(__file__).parent / "demo" / "integrity.sql",
        attachments=AttachmentsSettings(
            directory=place / "attachments", files=(FileColumn(table="invoices", column="pdf_path"),)
        ),
        dump=DumpSettings(content_hashes="always"),
    )
    # Two buckets of the demo's own S3 server stand for two regions.
    bucket = {"kind": "s3", "addressing_style": "path", "sse_s3": "AES256", "embedded": place}
    tokyo = StoreSettings(name="tokyo", bucket="erp4-tokyo", region="ap-northeast-1", **bucket)
    osaka = StoreSettings(name="osaka", bucket="erp4-osaka", region="ap-northeast-3", copied_from="tokyo", **bucket)
    return Settings(backup_dir=backup_dir, databases=(erp4,), stores=(tokyo, osaka), is_demo=True)


def load_settings(environment: Mapping[str, str] | None = None, directory: Path | None = None) -> Settings:
    """Return what is configured: a file, else one database by variables, else the demo.

    The file is the one that ``BACKUP_CONFIG`` names, else ``backup.yaml`` in ``directory`` (left out: the current
    one). ``environment`` left out means this process's. All paths in the result are absolute; those given relative
    count from the file's directory, or from ``directory`` when a variable gave them. Raises SettingsError naming
    every mistake at once, when a file and variables would both configure a database, and when variables show that the
    demo is not what is meant.
    """
    variables = dict(os.environ if environment is None else environment)
    base = (directory or Path.cwd()).absolute()
    given = values_set(variables)
    path = base / Path(given.get("BACKUP_CONFIG", CONFIG_FILE_NAME)).expanduser()
    # A container says with /dev/null in its place that there is no file; a directory there is a mistake.
    if "BACKUP_CONFIG" in given or (path.exists() and not path.is_char_device()):
        return read_settings_file(path, variables, base)
    refuse_misspelled(variables)
    if names_a_database(given):
        return settings_from_variables(variables, base)
    stray = database_variables(given)
    if stray:
        raise SettingsError(
            f"{', '.join(stray)} would configure a database, but no variable names one",
            why="without DB_NAME, DB_HOST or DB_CONTAINER only the embedded demo would be backed up",
            remedy=f"set DB_NAME, write a {CONFIG_FILE_NAME}, or unset {', '.join(stray)} to run the demo",
        )
    telling = telling_variables(given)
    # Started in another directory by mistake, the schedules and the watch would be off, and nobody would be told.
    if telling and "BACKUP_DEMO_HOME" not in given:
        raise SettingsError(
            f"somebody is to be told ({', '.join(telling)}), but no database is configured",
            why=f"there is no {CONFIG_FILE_NAME} in {base}, and without DB_NAME, DB_HOST or DB_CONTAINER only the "
            "embedded demo would be backed up",
            remedy=f"start in the directory of {CONFIG_FILE_NAME}, name it in BACKUP_CONFIG, or set DB_NAME; to try "
            f"alerts with the demo, set BACKUP_DEMO_HOME={DEMO_HOME}",
        )
    common = common_settings(variables, base)
    home = base / Path(given.get("BACKUP_DEMO_HOME", DEMO_HOME)).expanduser()
    demo = demo_settings(common.backup_dir or base / ".backups", home)
    more = stores_and_encryption(variables, base)
    return demo.model_copy(
        update={
            "env": common.env or demo.env,
            "client_bin_dir": common.client_bin_dir or demo.client_bin_dir,
            "stores": (*demo.stores, *more.stores),
            "encryption": more.encryption,
            "watch": more.watch,
        }
    )
