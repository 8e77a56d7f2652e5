"""What an operator can set: defaults < `vigie.toml` in the home < environment (`VIGIE_…`; `VIGIE_…_FILE` for secrets).

Nested settings use two underscores in the environment: `VIGIE_ROUTES__DUTY__SECRET`.
"""

import base64
import binascii
import contextlib
import ipaddress
import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    BaseModel,
    Field,
    HttpUrl,
    IPvAnyNetwork,
    PlainValidator,
    SecretStr,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from riskmodel import geography
from riskmodel.errors import BadInput
from riskmodel.home import Home

DEFAULT_BANDS = {"minimal": 0.0, "low": 10.0, "moderate": 30.0, "high": 50.0, "very high": 70.0, "extreme": 85.0}

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server that listens on this host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class WebhookRoute(BaseModel, extra="forbid"):
    """A receiver of signed webhooks (Standard Webhooks)."""

    type: Literal["webhook"]
    url: HttpUrl
    secret: SecretStr

    @field_validator("secret")
    @classmethod
    def _signs(cls, secret: SecretStr) -> SecretStr:
        try:
            key = base64.b64decode(secret.get_secret_value().removeprefix("whsec_"), validate=True)
        except binascii.Error:
            key = b""
        if not key:
            raise ValueError("a webhook secret is base64, with or without whsec_ before it")
        return secret


class EmailRoute(BaseModel, extra="forbid"):
    """Receivers of e-mail, by SMTP."""

    type: Literal["email"]
    to: Annotated[list[str], Field(min_length=1)]
    sender: str
    host: str
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: SecretStr | None = None
    language: Literal["en", "fr"] = "en"

    @model_validator(mode="after")
    def _keeps_the_password(self) -> Self:
        if self.security == "none" and self.password and self.host not in ("localhost", "127.0.0.1", "::1"):
            raise ValueError("a password leaves this machine encrypted or not at all: security must be starttls or tls")
        return self


class Limits(BaseModel, extra="forbid"):
    """What one client may ask of a web server, and how long it may take over it; 0 per minute is no limit."""

    address_per_minute: Annotated[int, Field(ge=0)] = 6_000
    key_per_minute: Annotated[int, Field(ge=0)] = 60_000
    write_per_minute: Annotated[int, Field(ge=0)] = 60
    count_loopback: bool = False
    body_bytes: Annotated[int, Field(ge=0)] = 65_536
    url_bytes: Annotated[int, Field(ge=64)] = 8_192
    header_bytes: Annotated[int, Field(ge=16_384)] = 32_768
    header_seconds: Annotated[int, Field(ge=1)] = 15
    connections: Annotated[int, Field(ge=1)] = 1_024


def _place(text: object) -> Network | str:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_network(str(text))
    if not re.fullmatch(r"[\w.-]*[A-Za-z_-][\w.-]*", str(text), re.ASCII):
        raise ValueError(f"{text!r} is neither a network such as 10.0.0.0/8 nor the name of a host")
    return str(text).lower()


PrivatePlace = Annotated[Network | str, PlainValidator(_place)]
"""A network, an address, or a host by its name."""

Origin = Annotated[str, StringConstraints(pattern=r"^(\*|https?://[^/\s,]+)$")]


class RetentionDays(BaseModel, extra="forbid"):
    """How long what is past is kept [days]. Snapshots, forecasts and verifications are kept for ever."""

    runs: Annotated[int, Field(ge=1)] = 90
    deliveries: Annotated[int, Field(ge=1)] = 400
    changes: Annotated[int, Field(ge=1)] = 400
    tasks: Annotated[int, Field(ge=1)] = 30
    logs: Annotated[int, Field(ge=1)] = 90


Route = Annotated[WebhookRoute | EmailRoute, Field(discriminator="type")]


class _Environment(EnvSettingsSource):
    """The environment, where `NAME_FILE` gives the path of a file that holds the value of `NAME`."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        given = dict(super()._load_env_vars())
        suffix = "_file"
        for name, path in list(given.items()):
            if name.startswith(self.env_prefix.lower()) and name.endswith(suffix) and path:
                given[name.removesuffix(suffix)] = _content(name, Path(path))
                del given[name]
        return given


def _content(name: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as unreadable:
        raise BadInput(f"{name.upper()}: {path} cannot be read: {unreadable.strerror}") from None


class Settings(BaseSettings):
    """Everything that can be set. Durations are in the unit their name ends in."""

    model_config = SettingsConfigDict(env_prefix="VIGIE_", env_nested_delimiter="__", extra="forbid")

    region: str = "MLI"
    database_url: SecretStr | None = None
    recompute_every_minutes: Annotated[int, Field(ge=1)] = 60
    recompute_deadline_seconds: Annotated[int, Field(ge=10)] = 600
    deliver_every_seconds: Annotated[int, Field(ge=1)] = 15
    late_after_days: Annotated[int, Field(ge=1)] = 55
    stale_after_days: Annotated[int, Field(ge=1)] = 100
    snapshot_late_after_minutes: Annotated[int, Field(ge=1)] = 180
    bands: dict[str, float] = DEFAULT_BANDS
    drivers: bool = True
    heartbeat_url: HttpUrl | None = None
    pull: list[Literal["ucdp", "acled", "gdelt"]] = []
    pull_every_minutes: Annotated[int, Field(ge=1)] = 720
    pull_deadline_seconds: Annotated[int, Field(ge=10)] = 7200
    overdue_after_minutes: dict[str, Annotated[int, Field(ge=1)]] = {}
    max_waiting_tasks: Annotated[int, Field(ge=1)] = 50
    task_deadline_seconds: Annotated[int, Field(ge=1)] = 3600
    lease_seconds: Annotated[int, Field(ge=1)] = 30
    retention_days: RetentionDays = RetentionDays()
    log_format: Literal["text", "json"] | None = None
    access_log_per_second: Annotated[int, Field(ge=0)] | None = None
    export_dir: Path | None = None
    export_deadline_seconds: Annotated[int, Field(ge=10)] = 600
    simulated_seed: int = 1
    max_waiting_clients: Annotated[int, Field(ge=0, le=24)] = 12
    max_wait_seconds: Annotated[int, Field(ge=1, le=300)] = 30
    stream_seconds: Annotated[int, Field(ge=1, le=3600)] = 300
    routes: dict[str, Route] = {}
    allow_private_webhooks: list[PrivatePlace] = []
    public_read: bool | None = None
    limits: Limits = Limits()
    trusted_proxies: list[IPvAnyNetwork] = []
    cors_origins: list[Origin] = []
    hsts_seconds: Annotated[int, Field(ge=0)] = 0

    @field_validator("region")
    @classmethod
    def _known(cls, region: str) -> str:
        try:
            geography.country(region)
        except BadInput as unknown:
            raise ValueError(str(unknown)) from unknown
        return region

    def allows_public_read(self, host: str | None) -> bool:
        """Whether reading takes no key on a server that listens on this host; None where that is not known."""
        return host is not None and is_loopback(host) if self.public_read is None else self.public_read

    @model_validator(mode="after")
    def _stale_is_later(self) -> Self:
        if self.stale_after_days < self.late_after_days:
            raise ValueError("stale_after_days is not before late_after_days")
        return self

    @field_validator("bands")
    @classmethod
    def _rising(cls, bands: dict[str, float]) -> dict[str, float]:
        floors = list(bands.values())
        if not floors or floors[0] != 0 or any(a >= b for a, b in itertools.pairwise(floors)):
            raise ValueError("band floors begin at 0 and rise")
        return bands


def load(home: Home, **chosen: Any) -> Settings:
    """The settings of a home; `chosen` (from the command line) goes before all. Raises BadInput naming file and key."""

    class OfHome(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, _Environment(settings_cls), TomlConfigSettingsSource(settings_cls, home.settings)

    try:
        settings = OfHome(**{key: value for key, value in chosen.items() if value is not None})
    except ValidationError as wrong:
        rules = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}" for e in wrong.errors()
        )
        raise BadInput(f"settings ({home.settings} or VIGIE_ variables): {rules}") from None
    except ValueError as unreadable:
        raise BadInput(f"{home.settings}: {unreadable}") from unreadable
    return settings
