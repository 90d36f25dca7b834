"""Is a document what Kubernetes' own description says that an object of its kind is?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from kubernetes.client import ApiClient


@dataclass(frozen=True)
class _Answer:
    data: str


def as_kubernetes(document: object, kind: str) -> Any:
    """Return the object of a kind of the client's model, such as `V1Job`.

    Raises ValueError for what a value may not be or a field that is missing, and AssertionError for a field that no
    such object has: the client itself passes over those.
    """
    client = ApiClient()
    made = client.deserialize(_Answer(json.dumps(document)), kind)
    assert client.sanitize_for_serialization(made) == document
    return made
