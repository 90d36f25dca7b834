"""Throw-away keys, as the operators of a backup would make them."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

PASSPHRASE = "words that open it"
MEGABYTE = 1 << 20


def require(*programs: str) -> None:
    """Skip where a program is missing, but never where everything is tested."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing and "CI" in os.environ:
        pytest.fail(f"{', '.join(missing)} is not installed")
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed")


def gpg(home: Path, *arguments: str, passphrase: str = "", input_bytes: bytes = b"") -> bytes:
    """Run gpg on a keyring of ours as an operator would, and return what it prints."""
    argv = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback"]
    done = subprocess.run(
        [*argv, "--passphrase", passphrase, *arguments], input=input_bytes, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def fingerprint_of(home: Path, name: str) -> str:
    listing = gpg(home, "--with-colons", "--list-keys", name).decode()
    return next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))


def new_key(home: Path, name: str, *, algorithm: str = "cv25519", passphrase: str = "", expires: str = "never") -> str:
    """Make a key that signs by Ed25519 and is encrypted to by ``algorithm`` (empty: not at all)."""
    past = ["--faked-system-time", "20200101T000000!"] if expires != "never" else []
    address = f"{name} <{name.split()[0].lower()}@example.com>"
    gpg(home, *past, "--quick-generate-key", address, "ed25519", "cert", expires, passphrase=passphrase)
    fingerprint = fingerprint_of(home, address)
    if algorithm:
        gpg(home, *past, "--quick-add-key", fingerprint, algorithm, "encr", expires, passphrase=passphrase)
    return fingerprint


def end_agent(home: Path) -> None:
    """End the agent of a keyring, with all that it remembers, and wait until it is gone.

    `gpgconf` returns as soon as the agent has agreed. It removes its sockets last, under the hands of whoever removes
    the directory meanwhile, and one that asks it before then gets no answer.
    """
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True, timeout=120)
    deadline = time.monotonic() + 120
    while list(home.glob("S.*")):
        assert time.monotonic() < deadline, f"the agent of {home} does not end"
        time.sleep(0.01)


def new_home(path: Path) -> Path:
    path.mkdir(mode=0o700)
    return path


@dataclass(frozen=True)
class Keyrings:
    """`vault` holds every private key, `host` every public one, `lena` and `rob` one private key each.

    Lena's key is cv25519, Rob's RSA with 3072 bits, `locked` has a passphrase; the last three cannot be encrypted to.
    """

    vault: Path
    host: Path
    lena_home: Path
    rob_home: Path
    lena: str
    rob: str
    locked: str
    expired: str
    revoked: str
    signing_only: str

    def end_agents(self) -> None:
        for home in self.vault.parent.iterdir():
            end_agent(home)


def make_keyrings(directory: Path) -> Keyrings:
    vault = new_home(directory / "vault")
    lena, rob = new_key(vault, "Lena Möller"), new_key(vault, "Rob", algorithm="rsa3072")
    locked = new_key(vault, "Locked", passphrase=PASSPHRASE)
    expired, signing_only = new_key(vault, "Expired", expires="1y"), new_key(vault, "Signing only", algorithm="")
    revoked = new_key(vault, "Revoked")
    certificate = (vault / "openpgp-revocs.d" / f"{revoked}.rev").read_text().replace("\n:-----", "\n-----")
    gpg(vault, "--import", input_bytes=certificate.encode())
    homes = {}
    for name, fingerprint in (("lena", lena), ("rob", rob)):
        homes[name] = new_home(directory / name)
        gpg(homes[name], "--import", input_bytes=gpg(vault, "--export-secret-keys", fingerprint))
    host = new_home(directory / "host")
    gpg(host, "--import", input_bytes=gpg(vault, "--export"))
    return Keyrings(vault, host, homes["lena"], homes["rob"], lena, rob, locked, expired, revoked, signing_only)


@dataclass(frozen=True)
class AgeKeys:
    """Two recipients and the files of their private keys."""

    lena: str
    rob: str
    lena_file: Path
    rob_file: Path


def make_age_keys(directory: Path) -> AgeKeys:
    recipients = []
    for name in ("lena", "rob"):
        subprocess.run(["age-keygen", "-o", str(directory / name)], check=True, capture_output=True)
        printed = subprocess.run(["age-keygen", "-y", str(directory / name)], check=True, capture_output=True)
        recipients.append(printed.stdout.decode().strip())
    return AgeKeys(recipients[0], recipients[1], directory / "lena", directory / "rob")


def random_file(path: Path, size: int) -> Path:
    """Write ``size`` bytes that no program can compress, the same ones every time."""
    generator = random.Random(size)
    with path.open("wb") as handle:
        while size > 0:
            handle.write(generator.randbytes(min(size, MEGABYTE)))
            size -= MEGABYTE
    return path


def flipped(source: Path, target: Path, offset: int) -> Path:
    """Copy a file with one bit changed; a negative offset counts from the end."""
    content = bytearray(source.read_bytes())
    content[offset] ^= 1
    target.write_bytes(content)
    return target


def truncated(source: Path, target: Path, size: int) -> Path:
    """Copy the first bytes of a file."""
    target.write_bytes(source.read_bytes()[:size])
    return target


def program(path: Path, script: str) -> str:
    """Write a shell script that stands where a program of the system would."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return str(path)
