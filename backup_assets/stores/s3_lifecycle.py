"""Which lifecycle rules does a bucket of backups need, and what do those that it has already mean for it?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from backup_assets.sets.retention_class import KEPT_DAYS
from backup_assets.stores.s3_location import RETENTION_TAG, S3Location

#: After so many days a bucket gives up an upload that was never completed.
ABANDONED_DAYS = 7
#: So long an old version of an object, which is what a deleted one becomes, can be fetched back.
NONCURRENT_DAYS = 30
#: Storage classes out of which an object has to be fetched before it can be read; Glacier Instant Retrieval is none.
ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")
Rule = dict[str, Any]
RuleState = Literal["as wanted", "to change", "left"]


@dataclass(frozen=True)
class RuleLine:
    """How one rule of ours is, or what a rule of somebody else's does to our objects."""

    name: str
    state: RuleState
    found: str
    wanted: str
    remedy: str = ""


def wanted_rules(location: S3Location) -> dict[str, Rule]:
    """Return by name the rules for the objects below the location's prefix.

    Unfinished uploads and old versions go after a time. With ``retention_tags`` an object expires as its class says;
    without, no current object ever does.
    """
    rules = {
        "abandoned uploads": _rule(
            location, "abandoned uploads", {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ABANDONED_DAYS}}
        ),
        "old versions": _rule(
            location,
            "old versions",
            {
                "Expiration": {"ExpiredObjectDeleteMarker": True},
                "NoncurrentVersionExpiration": {"NoncurrentDays": NONCURRENT_DAYS},
            },
        ),
    }
    if location.retention_tags:
        for retention, days in KEPT_DAYS.items():
            name = f"{retention} sets"
            rules[name] = _rule(location, name, {"Expiration": {"Days": days}}, retention)
    return rules


def _rule(location: S3Location, name: str, actions: Rule, retention: str | None = None) -> Rule:
    prefix = location.object_key("")
    chosen: Rule = {"Prefix": prefix}
    if retention:
        tag = {"Key": RETENTION_TAG, "Value": retention}
        chosen = {"And": {"Prefix": prefix, "Tags": [tag]}} if prefix else {"Tag": tag}
    # The prefix is part of the id: several stores may lie in one bucket.
    where = f" of {location.prefix}" if location.prefix else ""
    return {"ID": f"backup-assets: {name}{where}", "Status": "Enabled", "Filter": chosen, **actions}


def merged(found: Sequence[Rule], location: S3Location) -> tuple[list[Rule], tuple[RuleLine, ...]]:
    """Return the rules that the bucket should have, and a line for each of ours and each dangerous one.

    What is there stays as it is, whoever made it, except a rule of ours that removes something sooner than wanted. A
    rule of ours that was lengthened, switched off or altered by hand is left so: nothing is removed sooner than now,
    but by a rule that is new.
    """
    rules = [dict(rule) for rule in found]
    lines: list[RuleLine] = []
    wanted = wanted_rules(location)
    for name, rule in wanted.items():
        place = next((place for place, one in enumerate(rules) if one.get("ID") == rule["ID"]), None)
        line = _compared(name, rule, None if place is None else rules[place])
        lines.append(line)
        if line.state != "to change":
            continue
        if place is None:
            rules.append(rule)
        else:
            rules[place] = rule
    ours = {rule["ID"] for rule in wanted.values()}
    lines += [line for rule in found if rule.get("ID") not in ours for line in _danger(rule, location)]
    return rules, tuple(lines)


def _compared(name: str, wanted: Rule, found: Rule | None) -> RuleLine:
    text = _told(wanted)
    if found is None:
        return RuleLine(name, "to change", "no rule", text)
    if found.get("Status") != "Enabled":
        remedy = f"switch the rule {wanted['ID']!r} on, or remove it and apply again"
        return RuleLine(name, "left", "the rule was switched off by hand", text, remedy)
    own, theirs = _days(wanted), _days(found)
    if _scope(found) != _scope(wanted) or own.keys() != theirs.keys() or _others(found) != _others(wanted):
        remedy = f"look at the rule {wanted['ID']!r}; removed, it is made anew"
        return RuleLine(name, "left", f"the rule was altered by hand: {_told(found)}", text, remedy)
    if any(theirs[action] < own[action] for action in own):
        return RuleLine(name, "to change", _told(found), text)
    return RuleLine(name, "as wanted", _told(found), text)


def _danger(rule: Rule, location: S3Location) -> Iterator[RuleLine]:
    """Yield a line when somebody else's rule removes objects of ours too soon, or puts them where none can be read."""
    if rule.get("Status") != "Enabled" or not covers(rule, location):
        return
    told_as = f"the rule {rule.get('ID') or 'without a name'}"
    _, tags = _scope(rule)
    longest = max(KEPT_DAYS.values()) if location.retention_tags else min(KEPT_DAYS.values())
    if tags:
        classes = [value for key, value in tags if key == RETENTION_TAG and value in KEPT_DAYS]
        if not classes or len(tags) > 1:
            return  # our objects bear no such tag
        longest = next(days for name, days in KEPT_DAYS.items() if name == classes[0])
    if any(one.get("StorageClass") in ARCHIVES for one in rule.get("Transitions", ())):
        yield RuleLine(
            told_as,
            "left",
            _told(rule),
            f"nothing goes to {' or '.join(ARCHIVES)}: what lies there cannot be read for hours",
            "somebody else made it: no such set can be restored, verified or rehearsed until every object of it was "
            "fetched back (aws s3api restore-object, up to 48 hours); narrow its filter, or remove it",
        )
    expiry = rule.get("Expiration", {})
    sooner = "Date" in expiry or expiry.get("Days", longest) < longest
    old = rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays", NONCURRENT_DAYS) < NONCURRENT_DAYS
    if sooner or old:
        yield RuleLine(
            told_as,
            "left",
            _told(rule),
            f"nothing goes before {longest} days, old versions {NONCURRENT_DAYS}",
            "somebody else made it, and it removes backups: narrow its filter, or remove it",
        )


def covers(rule: Rule, location: S3Location) -> bool:
    """Tell whether a rule applies to our keys, or may: one that asks for tags does so for some of them."""
    prefix, _ = _scope(rule)
    ours = location.object_key("")
    return ours.startswith(prefix) or prefix.startswith(ours)


def _scope(rule: Rule) -> tuple[str, tuple[tuple[str, str], ...]]:
    chosen = rule.get("Filter", {})
    inner = chosen.get("And", chosen)
    tags = [*inner.get("Tags", ()), *((inner["Tag"],) if "Tag" in inner else ())]
    return inner.get("Prefix") or rule.get("Prefix") or "", tuple(sorted((tag["Key"], tag["Value"]) for tag in tags))


def _days(rule: Rule) -> dict[str, int]:
    found = {
        "expire": rule.get("Expiration", {}).get("Days"),
        "old versions": rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays"),
        "uploads": rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation"),
    }
    return {name: days for name, days in found.items() if days is not None}


def _others(rule: Rule) -> Rule:
    """Return what a rule does besides counting days: transitions, dates, sizes, versions to keep."""
    plain = {"ID", "Status", "Prefix", "Filter", "AbortIncompleteMultipartUpload"}
    others = {name: value for name, value in rule.items() if name not in plain and value}
    for name, counted in (("Expiration", "Days"), ("NoncurrentVersionExpiration", "NoncurrentDays")):
        if name in others:
            others[name] = {key: value for key, value in others[name].items() if key != counted}
    inner = rule.get("Filter", {}).get("And", rule.get("Filter", {}))
    sizes = {key: value for key, value in inner.items() if key.startswith("ObjectSize")}
    return {**others, **sizes}


def _told(rule: Rule) -> str:
    prefix, tags = _scope(rule)
    which = " and ".join([f"below {prefix}"] * bool(prefix) + [f"tagged {key}={value}" for key, value in tags])
    days = _days(rule)
    expiry = rule.get("Expiration", {})
    parts = [f"unfinished uploads go after {days['uploads']} days"] if "uploads" in days else []
    parts += [f"objects expire after {days['expire']} days"] if "expire" in days else []
    parts += [f"objects expire on {expiry['Date']}"] if "Date" in expiry else []
    parts += [f"old versions go after {days['old versions']} days"] if "old versions" in days else []
    moved = (*rule.get("Transitions", ()), *rule.get("NoncurrentVersionTransitions", ()))
    classes = dict.fromkeys(str(one.get("StorageClass")) for one in moved)
    parts += [f"with transitions to {' and '.join(classes)}"] if classes else []
    return f"{', '.join(parts) or 'nothing'} ({which or 'everywhere'})"
