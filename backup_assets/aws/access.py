"""How is a service of AWS reached?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
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
#: Seconds for a connection and for an answer, and attempts, of who has not even a minute.
_BRIEFLY = (4, 8, 2)
_brief: ContextVar[bool] = ContextVar("brief", default=False)


@dataclass(frozen=True)
class Access:
    """One region of AWS as one role sees it; ``profile`` None is boto3's own order, as for every credential here."""

    region: str
    profile: str | None = None
    endpoint_url: str | None = None

    def client(self, service: str) -> Any:
        """Return a client of ``service`` (its name in boto3) that gives up after some minutes; see :func:`briefly`.

        Raises SettingsError for a profile that does not exist or a region or address that cannot be meant.
        """
        connect, read, attempts = _BRIEFLY if _brief.get() else (CONNECT_SECONDS, READ_SECONDS, _ATTEMPTS)
        config = Config(
            connect_timeout=connect,
            read_timeout=read,
            retries={"mode": "standard", "total_max_attempts": attempts},
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


@contextmanager
def briefly() -> Iterator[None]:
    """Let clients that are made in the block give up within half a minute: Dagster ends the look of a sensor after one.

    A look that is ended tells nothing, and so not that AWS does not answer.
    """
    token = _brief.set(True)
    try:
        yield
    finally:
        _brief.reset(token)


@lru_cache(maxsize=1)
def _descriptions() -> Loader:
    """Return what reads the descriptions of services, which it remembers: a second client then costs a tenth."""
    return create_loader()


def access_of(aws: AwsSettings) -> Access:
    """Return how the settings say that the databases' region is reached."""
    return Access(aws.region, aws.profile, aws.endpoint_url)
