"""How is a stored document protected against a change that still reads well?

A flipped bit in a manifest or record can leave valid JSON that says something else. So the last member of every
stored document is the SHA-256 of all bytes before the comma that precedes it. To check one by hand:
``head -c -90 FILE | sha256sum`` prints the value that ``tail -n 2 FILE`` shows.
"""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic import BaseModel

SEAL = "content_sha256"
_START = f',\n "{SEAL}": "'.encode()
_END = b'"\n}\n'
SEAL_BYTES = len(_START) + 64 + len(_END)


def seal(document: BaseModel) -> bytes:
    """Return the bytes to store: UTF-8 JSON, indented, keys in the order of the schema, the seal last."""
    body = document.model_dump_json(indent=1).removesuffix("\n}").encode()
    return body + _START + hashlib.sha256(body).hexdigest().encode() + _END


def unseal(content: bytes) -> bytes:
    """Return the JSON document inside ``content``; raises ValueError when the seal is missing or does not fit."""
    body, sealed = content[:-SEAL_BYTES], content[-SEAL_BYTES:]
    if not sealed.startswith(_START) or not sealed.endswith(_END):
        raise ValueError(f"it does not end with {SEAL}: it is cut off or was edited")
    if sealed != _START + hashlib.sha256(body).hexdigest().encode() + _END:
        raise ValueError(f"its content does not fit its {SEAL}: it was changed after it was written")
    return body + b"\n}"


def sealed_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of the stored document, given that of the document without its seal."""
    description = "SHA-256 of all bytes of this file before the comma that precedes this member."
    member = {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": description}
    properties = {**schema.get("properties", {}), SEAL: member}
    return {**schema, "properties": properties, "required": [*schema.get("required", []), SEAL]}
