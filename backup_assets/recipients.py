"""What of a recipient, as somebody wrote it into the settings, may a message repeat?"""

from __future__ import annotations

import re

_PRIVATE = re.compile(r"\s*AGE-SECRET-KEY-|.*PRIVATE KEY BLOCK", re.IGNORECASE | re.DOTALL)
#: Fingerprints and short ids of keys, e-mail addresses, and what an age key looks like that anybody may know.
_KNOWN_TO_ALL = re.compile(
    r"(0x)?[0-9A-Fa-f]([0-9A-Fa-f ]{6,58})[0-9A-Fa-f]|[A-Za-z0-9_.+-]*@[A-Za-z0-9.-]+|age1[02-9ac-hj-np-z]{1,80}"
)
#: What to do about a private key that was found where anything else belongs.
EXPOSED = (
    "name the public key instead (`age-keygen -y FILE` prints it; for gpg, its full fingerprint); whoever could read "
    "these settings could read that key, so make a new one"
)


def is_private_key(text: str) -> bool:
    """Return whether ``text`` is the private half of a key, which nothing may repeat."""
    return _PRIVATE.match(text) is not None


def repeatable(text: str) -> str:
    """Return ``text`` if everybody may know it, else words that do not repeat it."""
    if is_private_key(text):
        return "a private key"
    return text if _KNOWN_TO_ALL.fullmatch(text) else f"a text of {len(text)} characters"
