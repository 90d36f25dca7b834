"""Which settings, each valid alone, contradict each other or the disk."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from backup_assets.recipients import EXPOSED, is_private_key, repeatable
from backup_assets.settings_rules_aws import aws_contradictions

Found = tuple[tuple[str | int, ...], str]
#: The same as that of sets/retention_class.py, which says why; the settings import nothing of the sets.
LONGEST_FULL_EVERY_DAYS = 30


def contradictions(tree: Mapping[str, Any]) -> Iterator[Found]:
    """Yield place and text of each contradiction in ``tree``.

    ``tree`` has the shape of the settings with absolute paths as text, but may be incomplete or wrong elsewhere:
    whatever has another type than expected is left to the models to report.
    """
    backup_dir = _path(tree, "backup_dir")
    bin_dir = _path(tree, "client_bin_dir")
    if backup_dir is not None and backup_dir.exists() and not backup_dir.is_dir():
        yield ("backup_dir",), f"{backup_dir} is not a directory"
    if bin_dir is not None and not bin_dir.is_dir():
        yield ("client_bin_dir",), f"the directory {bin_dir} does not exist"
    yield from _of_stores(tree, backup_dir)
    yield from _of_encryption(_part(tree, "encryption"))
    yield from _of_watch(_part(tree, "watch"))
    yield from aws_contradictions(tree)
    prefixes: dict[str, str] = {}
    for database in tree.get("databases", ()):
        place = ("databases", str(database["name"]))
        for loc, text in _of_secrets(database, bool(_part(tree, "encryption").get("recipients"))):
            yield (*place, *loc), text
        drill_store = _part(database, "drill").get("store")
        if drill_store is not None and drill_store not in {str(store["name"]) for store in tree.get("stores", ())}:
            yield (*place, "drill", "store"), f"there is no store {drill_store}"
        for inner, text in _of_server(_part(_part(database, "drill"), "server")):
            yield (*place, "drill", "server", *inner), text
        for loc, text in _of_database(database, backup_dir):
            yield (*place, *loc), text
        for loc, text in _of_classes(database, tree):
            yield (*place, *loc), text
        prefix = database.get("prefix") or database["name"]
        # Folded: some file systems do not tell `ERP4` from `erp4`, and one would overwrite the other.
        other = prefixes.setdefault(str(prefix).casefold(), str(database["name"]))
        if other != database["name"]:
            yield (
                (*place, "prefix"),
                f"the folder {prefix} is that of the database {other}; give one of them another prefix",
            )


def _of_database(database: Mapping[str, Any], backup_dir: Path | None) -> Iterator[Found]:
    name = database.get("database")
    if isinstance(name, str) and ("=" in name or "://" in name):
        # libpq takes such a name for a connection string, which would silently lead to another server.
        yield ("database",), "found a connection string; give the name here and the rest below `server`"
    schedule = _part(database, "schedule")
    every = schedule.get("every", "day")
    if "at" in schedule and every != "day":
        yield ("schedule", "at"), f"only with `every: day`, not {every}: those backups are due from midnight on"
    for inner, text in _of_server(_part(database, "server")):
        yield ("server", *inner), text
    for inner, text in _of_server(_part(_part(database, "verification"), "scratch")):
        yield ("verification", "scratch", *inner), text
    integrity = _path(database, "integrity_sql")
    if integrity is not None and not _is_file(integrity):
        yield ("integrity_sql",), f"the file {integrity} does not exist"
    directory = _path(_part(database, "attachments"), "directory")
    if directory is None:
        return
    # Whether it exists is for the capture and `doctor` to say: on a host that only restores it may be missing, and
    # where its disk is not mounted the watch must still run, and tell of it.
    if backup_dir is not None and _nested(directory, backup_dir):
        yield (
            ("attachments", "directory"),
            f"{directory} and the local store {backup_dir} lie in one another; backups would archive themselves",
        )


def _of_classes(database: Mapping[str, Any], tree: Mapping[str, Any]) -> Iterator[Found]:
    tagged = next((str(store["name"]) for store in tree.get("stores", ()) if store.get("retention_tags")), None)
    every = _part(database, "attachments").get("full_every_days")
    if tagged and isinstance(every, int) and every > LONGEST_FULL_EVERY_DAYS:
        text = f"at most {LONGEST_FULL_EVERY_DAYS}, as the store {tagged} has `retention_tags`: lifecycle rules would "
        yield ("attachments", "full_every_days"), f"{text}remove a full archive before the sets that need it"


_OF_EVERY_STORE = ("name", "kind", "off_site")
_OF_FOLDER = ("directory", "must_be_mount")
_OF_SSH = ("host", "port", "user", "remote_dir", "ssh_key", "known_hosts", "keep_days", "bandwidth_limit_mb")
_OF_OTHERS = {
    "folder": lambda field: field not in (*_OF_EVERY_STORE, *_OF_FOLDER),
    "ssh": lambda field: field not in (*_OF_EVERY_STORE, *_OF_SSH),
    "s3": lambda field: field in (*_OF_FOLDER, *_OF_SSH) and field != "bandwidth_limit_mb",
}


def _of_stores(tree: Mapping[str, Any], backup_dir: Path | None) -> Iterator[Found]:
    places: dict[object, str] = {}
    for store in tree.get("stores", ()):
        name = str(store["name"])
        loc = ("stores", name)
        if name == "local":
            yield loc, "`local` is the store below BACKUP_DIR; choose another name"
        kind = store.get("kind")
        if kind not in _OF_OTHERS:
            continue
        found: list[Found] = [((field,), f"not with `kind: {kind}`") for field in store if _OF_OTHERS[kind](field)]
        if kind == "folder":
            found += _of_folder(store, backup_dir)
        elif kind == "ssh":
            found += _of_host(store)
        else:
            found += _of_bucket(store, tree)
        for inner, text in found:
            yield (*loc, *inner), text
        placed = store.get("bucket") or store.get("directory") or store.get("host")
        other = places.setdefault(_whereabouts(store), name) if placed else name
        if other != name:
            yield loc, f"lies at the same place as the store {other}; two copies there would be one"
    for database in tree.get("databases", ()):
        attachments = _path(_part(database, "attachments"), "directory")
        for store in tree.get("stores", ()):
            directory = _path(store, "directory")
            if attachments is not None and directory is not None and _nested(attachments, directory):
                yield (
                    ("stores", str(store["name"]), "directory"),
                    f"{directory} and the attachments {attachments} lie in one another; copies would be archived",
                )


def _of_folder(store: Mapping[str, Any], backup_dir: Path | None) -> Iterator[Found]:
    directory = _path(store, "directory")
    if store.get("directory") is None:
        yield ("directory",), "missing; it says where the copies lie"
    elif directory is not None and backup_dir is not None and _nested(directory, backup_dir):
        yield ("directory",), f"{directory} and the local store {backup_dir} lie in one another: that is no copy"


def _of_encryption(encryption: Mapping[str, Any]) -> Iterator[Found]:
    recipients = encryption.get("recipients") or ()
    of_age = encryption.get("cipher") == "age"
    for recipient in map(str, recipients if isinstance(recipients, list | tuple) else ()):
        if is_private_key(recipient):
            yield ("encryption", "recipients"), f"holds a private key, which encrypts nothing; {EXPOSED}"
        elif recipient.startswith("age1") != of_age:
            wanted = "an `age1…` key, as the cipher is age" if of_age else "a full fingerprint, as the cipher is gpg"
            yield ("encryption", "recipients"), f"{repeatable(recipient)} is not {wanted}"
    for field in ("gpg_passphrase_file", "age_identity_file"):
        path = _path(encryption, field)
        if path is not None and not _is_file(path):
            yield ("encryption", field), _no_secret_file(path)


def _of_watch(watch: Mapping[str, Any]) -> Iterator[Found]:
    # None of these is repeated: such an address usually holds a secret.
    for field in ("heartbeat", "ui_url"):
        url = watch.get(field)
        if isinstance(url, str) and not re.match(r"https?://[^/\s]+", url.strip()):
            yield ("watch", field), "expected an address that begins with http:// or https://"
    for place, urls in enumerate(watch.get("channels") or ()):
        if isinstance(urls, str) and not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", urls.strip()):
            yield ("watch", "channels", place), "expected addresses such as mailto://… or slack://…, commas between"


def _of_secrets(database: Mapping[str, Any], encrypts: bool) -> Iterator[Found]:
    secrets = database.get("secrets")
    if not isinstance(secrets, Mapping):
        return
    if not encrypts:
        text = (
            "captured only where encryption is configured: set `encryption.recipients` (GPG_RECIPIENT, AGE_RECIPIENT)"
        )
        yield ("secrets",), text
    names: set[str] = set()
    for file in secrets.get("files") or ():
        path = Path(str(file))
        if path.name in names:
            yield ("secrets", "files"), f"two files are named {path.name}; in the archive one would hide the other"
        names.add(path.name)
    if not any(secrets.get(field) for field in ("files", "secrets_manager", "ssm_parameters")):
        yield ("secrets",), "names nothing to capture: give `files`, `secrets_manager` or `ssm_parameters`"


def _of_host(store: Mapping[str, Any]) -> Iterator[Found]:
    for field, meaning in (("host", "it names the other host"), ("remote_dir", "it names the directory there")):
        if not store.get(field):
            yield (field,), f"missing; {meaning}"
    host, directory, user = store.get("host"), store.get("remote_dir"), store.get("user")
    if isinstance(host, str) and not re.fullmatch(r"[A-Za-z0-9_.:%-]+", host):
        yield ("host",), "expected a host name or an address alone; user and port have fields of their own"
    elif isinstance(host, str) and host.startswith("-"):
        yield ("host",), "a host name does not begin with `-`"
    if isinstance(user, str) and not re.fullmatch(r"[A-Za-z0-9_.][A-Za-z0-9_.@$-]*", user):
        yield ("user",), "expected a user's name"
    if isinstance(directory, str) and (not directory.startswith("/") or directory.strip("/") == ""):
        yield ("remote_dir",), "expected an absolute directory there, such as /var/backups/erp4"
    key, hosts = _path(store, "ssh_key"), _path(store, "known_hosts")
    if key is not None and not _is_file(key):
        yield ("ssh_key",), _no_secret_file(key)
    if hosts is not None and not _is_file(hosts):
        yield ("known_hosts",), f"the file {hosts} does not exist"


def _of_bucket(store: Mapping[str, Any], tree: Mapping[str, Any]) -> Iterator[Found]:
    source = store.get("copied_from")
    if source is not None:
        others = {str(other["name"]): other for other in tree.get("stores", ())}
        found = others.get(str(source), {})
        if found.get("kind") != "s3" or source == store["name"]:
            yield ("copied_from",), f"{source} is no other store of kind s3"
        elif found.get("copied_from"):
            yield ("copied_from",), f"{source} is itself copied from another store; name the first one"
    if not store.get("bucket"):
        yield ("bucket",), "missing; it names the bucket that copies go to"
    if store.get("sse_kms_key_id") and store.get("sse_s3"):
        yield (
            ("sse_s3",),
            "`sse_s3` (SSE_S3) and `sse_kms_key_id` (SSE_KMS_KEY_ID) exclude each other; keep the one that is meant",
        )
    if not store.get("sse_kms_key_id") and not store.get("sse_s3"):
        text = (
            "missing, and so is `sse_s3` (SSE_S3); nothing is stored without encryption: set the key's ARN, or AES256"
        )
        yield ("sse_kms_key_id",), text
    url = store.get("endpoint_url")
    if isinstance(url, str) and "@" in url:
        yield ("endpoint_url",), "holds a user or password; give the address alone"


def _whereabouts(store: Mapping[str, Any]) -> object:
    if store.get("kind") == "ssh":
        return (store.get("host"), store.get("port", 22), str(store.get("remote_dir")).rstrip("/"))
    if store.get("kind") == "folder":
        return os.path.realpath(str(store.get("directory")))
    return (store.get("endpoint_url"), store.get("bucket"), str(store.get("prefix") or "").strip("/"))


def _of_server(server: Mapping[str, Any]) -> Iterator[Found]:
    if server.get("container") is not None and server.get("host") is not None:
        yield ("container",), "not together with `host`: the server is reached inside its container"
    host = server.get("host")
    if isinstance(host, str) and ("://" in host or "@" in host or "=" in host):
        # Not repeated: such a text usually holds a password.
        yield ("host",), "found a connection string; give the host here and user, port and password on their own"
    certificate = _path(server, "sslrootcert")
    if certificate is not None and str(certificate) != "system" and not _is_file(certificate):
        yield ("sslrootcert",), f"the file {certificate} does not exist"


def _part(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = tree.get(name)
    return part if isinstance(part, Mapping) else {}


def _path(tree: Mapping[str, Any], name: str) -> Path | None:
    value = tree.get(name)
    return Path(value) if isinstance(value, str) else None


def _is_file(path: Path) -> bool:
    # Not Path.is_file: that raises where a text is too long for a name, as the content of a file is.
    return os.path.isfile(path)  # noqa: PTH113


def _no_secret_file(path: Path) -> str:
    """Return what is wrong with the path of a secret's file; what does not exist may be the secret, in its place."""
    there = os.path.isdir(path.parent)  # noqa: PTH112
    found = f"{path.parent} holds no file of that name" if there else "neither it nor its directory exists"
    return f"expected the path of a file; {found}"


def _nested(one: Path, other: Path) -> bool:
    first, second = Path(os.path.realpath(one)), Path(os.path.realpath(other))
    return first.is_relative_to(second) or second.is_relative_to(first)
