"""What does a template of CloudFormation make with given parameters, and in what do two of them differ?

Only what the templates beside this file use is understood: parameters, conditions, `Ref`, `Sub`, `If`, `Split`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

from backup_assets.errors import EnvironmentFault

Action = Literal["Add", "Modify", "Remove"]
#: Properties that CloudFormation cannot change, only replace what has them; tests hold them against AWS's own schemas.
CREATE_ONLY: Mapping[str, frozenset[str]] = {
    "AWS::Backup::BackupPlan": frozenset(),
    "AWS::Backup::BackupSelection": frozenset({"BackupPlanId", "BackupSelection"}),
    "AWS::Backup::BackupVault": frozenset({"BackupVaultName", "EncryptionKeyArn"}),
    "AWS::Backup::RestoreTestingPlan": frozenset({"RestoreTestingPlanName"}),
    "AWS::Backup::RestoreTestingSelection": frozenset(
        {"ProtectedResourceType", "RestoreTestingPlanName", "RestoreTestingSelectionName"}
    ),
    "AWS::Events::Rule": frozenset({"Name"}),
    "AWS::IAM::Role": frozenset({"Path", "RoleName"}),
    "AWS::KMS::Alias": frozenset({"AliasName"}),
    "AWS::KMS::Key": frozenset(),
    "AWS::SQS::Queue": frozenset({"FifoQueue", "QueueName"}),
    "AWS::SQS::QueuePolicy": frozenset(),
}
#: A lock may be weakened by a change as well as strengthened, so none is changed here.
LOCK = "LockConfiguration"
_NO_VALUE = object()
_NAMED = re.compile(r"\$\{([^!}]+)\}")


@dataclass(frozen=True)
class Resource:
    """What is made: its type, and its body with every parameter filled in."""

    type: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Difference:
    """What would become of one resource; ``details`` says what changes, ``danger`` why it may not be done (or "")."""

    resource: str
    type: str
    action: Action
    details: tuple[str, ...] = ()
    danger: str = ""


@cache
def template_text(name: str) -> str:
    """Return the template of that name as it is sent to AWS."""
    return files("backup_assets.aws.provision").joinpath("templates", f"{name}.yaml").read_text(encoding="utf-8")


def resources_of(text: str, parameters: Mapping[str, str]) -> dict[str, Resource]:
    """Return what a template makes, by its names in it; what it prints in the end is ``Outputs``.

    Raises EnvironmentFault for what is no template.
    """
    return _Made(_parsed(text), parameters).resources()


def parameters_in(text: str) -> dict[str, str]:
    """Return the parameters of a template with their defaults, "" where they have none."""
    return {name: str(one.get("Default", "")) for name, one in _parsed(text).get("Parameters", {}).items()}


def differences(old: Mapping[str, Resource], new: Mapping[str, Resource]) -> Iterator[Difference]:
    """Yield what an update from ``old`` to ``new`` would do, in the order of the template."""
    for name, resource in new.items():
        before = old.get(name)
        if before is None:
            yield Difference(name, resource.type, "Add")
        elif before.type != resource.type:
            yield Difference(name, resource.type, "Modify", (f"{before.type} → {resource.type}",), "it is replaced")
        elif before.body != resource.body:
            changed = tuple(_changed(before.body, resource.body))
            tops = {path[1] for path, _, _ in changed if path[0] == "Properties" and len(path) > 1}
            details = tuple(
                f"{'.'.join(path[1:] or path)}: {_short(was)} → {_short(now)}" for path, was, now in changed
            )
            yield Difference(name, resource.type, "Modify", details, _danger(resource.type, tops))
    for name, resource in old.items():
        if name not in new:
            yield Difference(name, resource.type, "Remove", (), "it is removed")


def _danger(kind: str, properties: set[str]) -> str:
    replaced = sorted(properties & CREATE_ONLY.get(kind, frozenset()))
    if replaced:
        return f"it is replaced, as {', '.join(replaced)} cannot be changed"
    return "a lock is changed" if LOCK in properties else ""


def _changed(old: Any, new: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            if old.get(key, _NO_VALUE) != new.get(key, _NO_VALUE):
                yield from _changed(old.get(key, _NO_VALUE), new.get(key, _NO_VALUE), (*path, str(key)))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (was, now) in enumerate(zip(old, new, strict=True)):
            if was != now:
                yield from _changed(was, now, (*path, str(number)))
    else:
        yield path, old, new


def _short(value: Any) -> str:
    if value is _NO_VALUE:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}…"


@dataclass(frozen=True)
class _Made:
    """A template with parameters."""

    template: Mapping[str, Any]
    given: Mapping[str, str]

    def resources(self) -> dict[str, Resource]:
        found = {
            name: Resource(one["Type"], self._filled({k: v for k, v in one.items() if k not in _UNCOUNTED}))
            for name, one in self.template["Resources"].items()
            if "Condition" not in one or self._holds(one["Condition"])
        }
        outputs = {
            name: one["Value"]
            for name, one in self.template.get("Outputs", {}).items()
            if "Condition" not in one or self._holds(one["Condition"])
        }
        return {**found, "Outputs": Resource("Outputs", self._filled(outputs))}

    def _value(self, name: str) -> Any:
        declared = self.template.get("Parameters", {}).get(name)
        if declared is None:
            return {"Ref": name}
        return str(self.given.get(name, declared.get("Default", "")))

    def _holds(self, condition: Any) -> bool:
        if isinstance(condition, str):
            return self._holds(self.template["Conditions"][condition])
        name, value = next(iter(condition.items()))
        match name:
            case "Condition":
                return self._holds(value)
            case "Fn::Equals":
                one, other = (str(self._filled(part)) for part in value)
                return one == other
            case "Fn::Not":
                return not self._holds(value[0])
            case "Fn::And":
                return all(self._holds(part) for part in value)
            case "Fn::Or":
                return any(self._holds(part) for part in value)
        raise EnvironmentFault(f"the template has a condition that is not known here: {name}")

    def _filled(self, value: Any) -> Any:
        if isinstance(value, list):
            return [one for part in value if (one := self._filled(part)) is not _NO_VALUE]
        if not isinstance(value, Mapping):
            return str(value).lower() if isinstance(value, bool) else str(value)
        if len(value) == 1:
            name, inner = next(iter(value.items()))
            if name == "Ref":
                return _NO_VALUE if inner == "AWS::NoValue" else self._value(inner)
            if name == "Fn::If":
                return self._filled(inner[1] if self._holds(inner[0]) else inner[2])
            if name == "Fn::Split":
                return self._filled(inner[1]).split(inner[0])
            if name == "Fn::Sub":
                return _NAMED.sub(self._named, inner)
        filled = {str(key): self._filled(part) for key, part in value.items()}
        return {key: part for key, part in filled.items() if part is not _NO_VALUE}

    def _named(self, found: re.Match[str]) -> str:
        value = self._value(found[1])
        return value if isinstance(value, str) else found[0]


#: Of a resource, what AWS has nothing of.
_UNCOUNTED = {"Type", "Condition", "DependsOn", "Metadata"}


class _Loader(yaml.SafeLoader):
    """YAML with the short forms of CloudFormation."""


def _short_form(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True) if isinstance(node, yaml.MappingNode) else None
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        found = yaml.load(text, Loader=_Loader)  # noqa: S506 - derived from the safe one
    except yaml.YAMLError as error:
        raise EnvironmentFault("the template of a stack cannot be read", why=str(error)) from error
    if not isinstance(found, Mapping) or not isinstance(found.get("Resources"), Mapping):
        raise EnvironmentFault("a stack has a template without resources")
    return found
