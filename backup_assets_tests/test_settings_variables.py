from __future__ import annotations

from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_stores import StoreSettings
from backup_assets.settings_variables import VARIABLES


def test_every_declared_field_exists() -> None:
    for variable in VARIABLES:
        model: type = Settings
        for part in variable.field.split(".") if variable.field else ():
            if part in ("*", variable.of_store):
                model = DatabaseSettings if part == "*" else StoreSettings
                continue
            info = model.model_fields[part]  # type: ignore[attr-defined]
            kinds = [
                kind for kind in getattr(info.annotation, "__args__", (info.annotation,)) if isinstance(kind, type)
            ]
            model = next((kind for kind in kinds if hasattr(kind, "model_fields")), model)
