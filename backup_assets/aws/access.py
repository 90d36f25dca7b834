"""How is a service of AWS reached?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ProfileNotFound
from botocore.loaders import Loader, create_loader
from botocore.session import get_session

from backup_assets.errors import SettingsError
from backup_assets.settings_aws import AwsSettings

CONNECT_SECONDS = 10
READ_SECONDS = 60
#: botocore waits up to 20 s between attempts in this mode, and slows down by itself where AWS throttles.
_ATTEMPTS = 5


@dataclass(frozen=True)
class Access:
    """One region of AWS as one role sees it; ``profile`` None is boto3's own order, as for every credential here."""

    region: str
    profile: str | None = None
    endpoint_url: str | None = None

    def client(self, service: str) -> Any:
        """Return a client of ``service`` (its name in boto3) that gives up after some minutes.

        Raises SettingsError for a profile that does not exist or a region or address that cannot be meant.
        """
        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        )
        try:
            session = get_session()
            session.register_component("data_loader", _descriptions())
            if self.profile:
                session.set_config_variable("profile", self.profile)
            return session.create_client(
                service, region_name=self.region, endpoint_url=self.endpoint_url, config=config
            )
        except ProfileNotFound as error:
            raise SettingsError(
                f"there is no AWS profile {self.profile}",
                remedy="correct `aws.profile` (or the profile beside it), or add it to the AWS configuration",
            ) from error
        except (BotoCoreError, ValueError) as error:
            raise SettingsError(
                f"no connection to {service} in {self.region} can be set up",
                why=str(error),
                remedy="correct `aws.region`, `aws.profile` and `aws.endpoint_url`",
            ) from error

    def within(self, region: str) -> Access:
        """Return the same in another region."""
        return replace(self, region=region)


@lru_cache(maxsize=1)
def _descriptions() -> Loader:
    """Return what reads the descriptions of services, which it remembers: a second client then costs a tenth."""
    return create_loader()


def access_of(aws: AwsSettings) -> Access:
    """Return how the settings say that the databases' region is reached."""
    return Access(aws.region, aws.profile, aws.endpoint_url)
