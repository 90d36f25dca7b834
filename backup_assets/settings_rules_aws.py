"""Which settings of AWS, each valid alone, contradict each other?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Found = tuple[tuple[str | int, ...], str]
#: The default of `aws.region` in the models, which import this module's caller.
_REGION = "ap-northeast-1"
#: The folder of its sets in every store, as `aws/infrastructure/place.py` names it.
_INFRASTRUCTURE = "infrastructure"


def aws_contradictions(tree: Mapping[str, Any]) -> Iterator[Found]:
    """Yield place and text of each contradiction about AWS; ``tree`` is that of `settings_rules.contradictions`."""
    aws = _part(tree, "aws")
    region = aws.get("region", _REGION)
    if aws.get("second_region") == region:
        yield ("aws", "second_region"), f"{region} is the first region too; a disaster there would take both"
    if _part(aws, "infrastructure").get("values") and not _part(tree, "encryption").get("recipients"):
        yield (
            ("aws", "infrastructure", "values"),
            "only where encryption is configured: set `encryption.recipients` (GPG_RECIPIENT, AGE_RECIPIENT)",
        )
    seen: dict[str, str] = {}
    for database in tree.get("databases", ()):
        folder = str(database.get("prefix") or database["name"])
        if aws.get("infrastructure") is not None and folder.casefold() == _INFRASTRUCTURE:
            text = f"the folder {folder} is that of `aws.infrastructure`; give the database another prefix"
            yield ("databases", str(database["name"]), "prefix"), text
        if not isinstance(database.get("rds"), Mapping):
            continue
        name, rds = str(database["name"]), _part(database, "rds")
        for loc, text in _of_rds(rds, _part(database, "server"), str(region)):
            yield ("databases", name, "rds", *loc), text
        source = rds.get("instance") or rds.get("cluster")
        other = seen.setdefault(str(source), name) if source else name
        if other != name:
            text = f"{source} is that of the database {other}; its snapshots hold this database too, so name it once"
            yield ("databases", name, "rds"), text


def _of_rds(rds: Mapping[str, Any], server: Mapping[str, Any], region: str) -> Iterator[Found]:
    if bool(rds.get("instance")) == bool(rds.get("cluster")):
        yield (), "give `instance` or `cluster`, one of the two"
    if server.get("container") is not None:
        yield (), "not together with `server.container`: a database on RDS runs in no container"
    copies = _part(rds, "copies")
    if rds.get("copies") is not None and copies.get("region") == region:
        yield ("copies", "region"), f"{region} is the region of the database; a copy there would be lost with it"
    if copies.get("account_profile") and not copies.get("share_with"):
        yield ("copies", "share_with"), "missing; it names the account of `account_profile`"
    if copies.get("share_with") and not copies.get("kms_key_id"):
        yield ("copies", "kms_key_id"), "missing; AWS's default key cannot be used by the accounts of `share_with`"
    for name in ("drill", "rebuild"):
        if rds.get(name) is not None and not _part(rds, name).get("security_groups"):
            yield (name, "security_groups"), "missing; the restored instance must not be reachable as the source is"
    drill = _part(rds, "drill")
    if drill.get("source") == "copy" and rds.get("copies") is None:
        yield ("drill", "source"), "there are no copies: configure `copies`, or restore from `snapshot`"


def _part(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = tree.get(name)
    return part if isinstance(part, Mapping) else {}
