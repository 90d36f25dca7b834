"""To whom are sets encrypted, and how are they decrypted?"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from backup_assets.settings_model import Model


class EncryptionSettings(Model):
    """To whom every set is encrypted before it leaves this host, and how a set is decrypted where that is allowed."""

    cipher: Literal["gpg", "age"] = Field(default="gpg", description="`gpg` (OpenPGP) or `age`.")
    recipients: tuple[str, ...] = Field(
        default=(),
        description="Public keys, each of which can read every set: full fingerprints (gpg) or `age1…`. None: nothing "
        "is encrypted here, the other fields serve to restore.",
    )
    keep_plain: bool = Field(
        default=False, description="Keep the local plain files after a set is verified and encrypted."
    )
    gpg_homedir: Path | None = Field(default=None, description="Keyring; left out: gpg's own.")
    gpg_program: str = Field(default="gpg", description="Program.")
    gpg_passphrase_file: Path | None = Field(
        default=None, description="File with the passphrase of the private key; left out: gpg-agent asks."
    )
    age_identity_file: Path | None = Field(default=None, description="File with the private key, to restore.")
    age_program: str = Field(default="age", description="Program.")

    @property
    def encrypts(self) -> bool:
        """Whether sets are encrypted here."""
        return bool(self.recipients)
