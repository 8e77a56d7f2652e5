"""Settings of an operator: defaults < `vigie.toml` in the home < environment (`VIGIE_…`; `VIGIE_…_FILE` for secrets).

In the environment, two underscores separate nested keys: `VIGIE_ROUTES__DUTY__SECRET` sets `secret` in `[routes.duty]`.
"""

import base64
import binascii
import contextlib
import ipaddress
import itertools
import os
import re
import tomllib
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import time
from email.errors import HeaderParseError
from email.headerregistry import Address
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self, TypeAlias
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import idna
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
    SettingsError,
    TomlConfigSettingsSource,
)

from riskmodel import geography
from riskmodel.alerting.rule import Severity
from riskmodel.bands import DEFAULT_BANDS
from riskmodel.config_errors import KeyPath, line_of, rule_broken, syntax_error
from riskmodel.errors import BadInput
from riskmodel.home import Home
from riskmodel.home_settings import RefitPolicy

ENV_PREFIX, ENV_SEPARATOR, ENV_FILE_SUFFIX = "VIGIE_", "__", "_FILE"

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

Count = Annotated[int, Field(ge=0)]
PositiveInt = Annotated[int, Field(ge=1)]


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server that listens on this host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


PREFIX_PATTERN = r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*"
"""The path under which a server can stand: empty, or `/vigie`."""


def _mailbox(text: object) -> str:
    """Return one e-mail address as a header has it: a name in quotes where it needs them, the domain in ASCII."""
    # People write names with commas and without quotes. With < and > there is only one way to read them.
    named = re.fullmatch(r"([^<>@]*)<([^<>]*)>", str(text).strip())
    name, address = named.groups() if named else ("", str(text))
    user, _, domain = address.strip().rpartition("@")
    try:
        ascii_domain = idna.encode(domain, uts46=True).decode()
        return str(Address(name.strip(' "'), addr_spec=f"{user}@{ascii_domain}"))
    except (ValueError, IndexError, HeaderParseError):  # idna's errors are ValueErrors
        raise ValueError(
            f"{text!r} is not one e-mail address: write duty@example.org or Name <duty@example.org>, each in an entry "
            "of its own"
        ) from None


Mailbox = Annotated[str, PlainValidator(_mailbox)]


class QuietHours(NamedTuple):
    """Hours of each day in which messages wait, from `start` until `end`, by the clock of the route's time zone.

    They pass midnight if `end` is before `start`.
    """

    start: time
    end: time


def _quiet_hours(text: object) -> QuietHours:
    hour = "([01][0-9]|2[0-3]):([0-5][0-9])"
    found = re.fullmatch(f"{hour}-{hour}", str(text), re.ASCII)
    if not found or found[0][:5] == found[0][6:]:
        raise ValueError(f"{text!r} are no quiet hours: write when they start and end, such as 22:00-06:00")
    start_hour, start_minute, end_hour, end_minute = map(int, found.groups())
    return QuietHours(time(start_hour, start_minute), time(end_hour, end_minute))


def _time_zone(name: object) -> ZoneInfo:
    try:
        return ZoneInfo(str(name))
    except (ValueError, OSError, KeyError):  # the name of a folder, such as Africa, is an OSError
        raise ValueError(f"{name!r} is not the IANA name of a time zone, such as Africa/Bamako") from None


class RouteOptions(BaseModel, extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=True):
    """When a route gets messages, and how many per hour."""

    quiet_hours: dict[Severity, Annotated[QuietHours, PlainValidator(_quiet_hours)]] = {}
    """Hours in which messages of a severity wait. A severity that is not named never waits."""
    time_zone: Annotated[ZoneInfo, PlainValidator(_time_zone)] = ZoneInfo("UTC")
    """IANA name of the time zone of the quiet hours."""
    max_messages: PositiveInt | None = None
    """Most messages per hour; the rest become one digest. Default: no limit."""
    brief: bool = True
    """Send the monthly brief."""


class TextOptions(RouteOptions):
    """Options of a route whose messages are text for people. A webhook has the texts of all languages and lengths."""

    language: Literal["en", "fr"] = "en"
    length: Literal["sms", "text", "full"] = "text"
    """`sms` has at most 160 characters, `text` is short, `full` is a plain e-mail."""


class WebhookRoute(RouteOptions):
    """Route to a receiver of signed webhooks (Standard Webhooks)."""

    type: Literal["webhook"]
    url: HttpUrl
    secret: SecretStr

    @field_validator("secret")
    @classmethod
    def _check_secret(cls, secret: SecretStr) -> SecretStr:
        try:
            key = base64.b64decode(secret.get_secret_value().removeprefix("whsec_"), validate=True)
        except binascii.Error:
            key = b""
        if not key:
            raise ValueError("must be base64, with or without whsec_ before it")
        return secret


class EmailRoute(TextOptions):
    """Route to receivers of e-mail, by SMTP."""

    type: Literal["email"]
    to: Annotated[list[Mailbox], Field(min_length=1)]
    sender: Mailbox
    host: str
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: SecretStr | None = None
    length: Literal["sms", "text", "full"] = "full"

    @model_validator(mode="after")
    def _check_password_is_encrypted(self) -> Self:
        if self.security == "none" and self.password and not is_loopback(self.host):
            raise ValueError("a password is only sent encrypted: security must be starttls or tls")
        return self


class AppriseRoute(TextOptions):
    """Route to a service that Apprise knows: Slack, Teams, Telegram, Mattermost, ntfy, SMS gateways and others."""

    type: Literal["apprise"]
    url: SecretStr

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretStr) -> SecretStr:
        if not re.match(r"[a-z][a-z0-9+.-]*://.", url.get_secret_value(), re.IGNORECASE):
            raise ValueError("write an address of Apprise, such as slack://… or ntfy://…")  # without it: it is secret
        return url


class AlertmanagerRoute(RouteOptions):
    """Route to a Prometheus Alertmanager, by the address of its own pages. A password is sent as basic authentication.

    It knows all languages and lengths.
    """

    type: Literal["alertmanager"]
    url: HttpUrl
    username: str | None = None
    password: SecretStr | None = None
    brief: bool = False


Route = Annotated[WebhookRoute | EmailRoute | AppriseRoute | AlertmanagerRoute, Field(discriminator="type")]


class Limits(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """Limits on what a client can send to a web server. A limit of 0 per minute is no limit."""

    address_per_minute: Count = 6_000
    """Requests from one address without a key."""
    key_per_minute: Count = 60_000
    """Read requests with one key."""
    write_per_minute: Count = 60
    """Write requests with one key."""
    tasks_per_hour: Count = 60
    """Computations that one address or one key can start."""
    loopback: bool = False
    """Apply the limits of addresses to requests from this machine too. Requests that a proxy forwards always count."""
    body_bytes: Count = 65_536
    """Longest body of a request [bytes]."""
    url_bytes: Annotated[int, Field(ge=64)] = 8_192
    """Longest path with its query [bytes]."""
    header_bytes: Annotated[int, Field(ge=16_384)] = 32_768
    """Longest head of a request [bytes]."""
    header_seconds: PositiveInt = 15
    """Longest time for the head of a request, and for a connection without a request [s]."""
    connections: PositiveInt = 5_000
    """Open connections of each worker. Further ones wait in the queue of the operating system."""
    connections_per_address: PositiveInt = 256
    """Open connections of each worker from one address. Further ones are closed. Trusted proxies have no limit."""
    waiting_clients: Count = 4_500
    """Clients of each worker that wait for news at the same time: long polls and streams."""
    waiting_per_address: PositiveInt = 64
    """The same for one address."""
    in_flight_per_address: PositiveInt = 24
    """Requests from one address that each worker answers at the same time."""


class RetentionDays(BaseModel, extra="forbid"):
    """Age at which rows and files are deleted [days]. Snapshots, forecasts and verifications are never deleted."""

    runs: PositiveInt = 90
    deliveries: PositiveInt = 400
    changes: PositiveInt = 400
    tasks: PositiveInt = 30
    logs: PositiveInt = 90


def _network_or_host(text: object) -> Network | str:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_network(str(text))
    if not re.fullmatch(r"[\w.-]*[A-Za-z_-][\w.-]*", str(text), re.ASCII):
        raise ValueError(f"{text!r} is neither a network such as 10.0.0.0/8 nor the name of a host")
    return str(text).lower()


NetworkOrHost = Annotated[Network | str, PlainValidator(_network_or_host)]

Origin = Annotated[str, StringConstraints(pattern=r"^(\*|https?://[^/\s,]+)$")]

HostPattern = Annotated[
    str, StringConstraints(to_lower=True, pattern=r"^(\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*)$")
]
"""A host name, `*.` and a domain for all names in it, or `*` for every name."""

Prefix = Annotated[str, StringConstraints(pattern=rf"^{PREFIX_PATTERN}$", max_length=200)]


def _public_address(url: object) -> str:
    """Return the address of a site without a slash at its end."""
    text = str(url).rstrip("/")
    if not re.fullmatch(rf"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(:[0-9]+)?{PREFIX_PATTERN}", text, re.ASCII):
        raise ValueError("write an address such as https://vigie.example.org or https://example.org/vigie")
    return text


PublicAddress = Annotated[str, PlainValidator(_public_address)]


class Settings(BaseSettings):
    """All settings. The name of a duration ends in its unit."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter=ENV_SEPARATOR, extra="forbid", use_attribute_docstrings=True
    )

    region: str = "MLI"
    """Focal country, ISO alpha-3. The region is this country and its neighbours."""
    bands: dict[str, float] = DEFAULT_BANDS
    """Names of the score bands with the lowest score of each (0-100), in rising order from 0."""
    drivers: bool = True
    """Compute the drivers of each score."""
    outcomes: Annotated[list[Literal["all", "state_based"]], Field(min_length=1)] = ["all", "state_based"]
    """Outcomes of which Vigie trains a model if there is none and the archive knows them."""
    refit: RefitPolicy = "yearly"
    """When a model is fitted to newer data: with each December and after twelve months, with each month, or by hand."""
    hindcast_months: Annotated[int, Field(ge=0, le=240)] = 36
    """Past month-ends for which Vigie computes what it would have reported, after each new model; 0 computes none."""
    simulated: bool = False
    """Whether a home without data gets a SIMULATED archive and not the history that ships with Vigie."""
    simulated_seed: int = 1
    """Seed of the simulated data that an empty home starts with."""

    database_url: SecretStr | None = None
    """`postgresql://…`; the default is a SQLite file in the home."""
    log_format: Literal["text", "json"] | None = None
    """Default: text at a terminal, JSON otherwise."""
    access_log_per_second: Count | None = None
    """Most lines of the access log per worker; 0 is none. Default: 100 for JSON, none for text."""

    late_after_days: PositiveInt = 55
    """Age of the data from which its status is `late`: UCDP publishes a month about 20 days after its end, so one
    release is missing by then."""
    stale_after_days: PositiveInt = 100
    """Age of the data from which its status is `stale`."""
    snapshot_late_after_minutes: PositiveInt = 180
    """Time without a successful recompute after which `/readyz` answers 503."""

    recompute_every_minutes: PositiveInt = 60
    recompute_deadline_seconds: Annotated[int, Field(ge=10)] = 600
    pull: list[Literal["ucdp", "acled", "gdelt"]] = []
    """Providers to fetch data from."""
    pull_every_minutes: PositiveInt = 720
    pull_deadline_seconds: Annotated[int, Field(ge=10)] = 7200
    """Deadline for each provider."""
    deliver_every_seconds: PositiveInt = 15
    overdue_after_minutes: dict[str, PositiveInt] = {}
    """Time without success after which a job is overdue, by job. Default: three intervals, at least five minutes."""
    lease_seconds: PositiveInt = 30
    """How long the scheduler owns a job without renewing its lease."""
    max_waiting_tasks: PositiveInt = 50
    """Tasks that can wait in the queue. Further requests get 503. One place in five is for requests with a key."""
    task_deadline_seconds: PositiveInt = 3600
    retention_days: RetentionDays = RetentionDays()
    export_dir: Path | None = None
    """Folder for the static files that are exported after each recompute, relative to the home. Default: no export."""
    export_deadline_seconds: Annotated[int, Field(ge=10)] = 600
    heartbeat_url: HttpUrl | None = None
    """URL of an outside monitor, called when a recompute succeeds, with `/start` when it starts and `/fail` when it
    fails. The monitor notices when the calls stop."""
    delivery_heartbeat_url: HttpUrl | None = None
    """The same for deliveries. It fails while a message is undelivered."""

    routes: dict[str, Route] = {}
    """Receivers of alerts, by the name that alert rules use."""
    operator_route: str | None = None
    """Route for alerts about the other routes. Default: the first other one that works."""
    allow_private_webhooks: list[NetworkOrHost] = []
    """Private networks and host names that webhooks and the heartbeat can go to."""

    max_wait_seconds: Annotated[int, Field(ge=1, le=300)] = 30
    """Longest wait for changes."""
    stream_seconds: Annotated[int, Field(ge=1, le=3600)] = 300
    """Length of a stream, after which the client connects again."""
    base_url: PublicAddress | None = None
    """Public address of the service, such as `https://example.org/vigie`: for links in feeds, alerts and pages."""
    root_path: Prefix | None = None
    """Path under which a proxy serves Vigie, such as `/vigie`. Default: the path of `base_url`."""
    allowed_hosts: list[HostPattern] = []
    """Further host names that clients may use, besides those of `base_url` and of this machine."""
    public_read: bool | None = None
    """True: reading needs no key. False: it needs one. Default: it needs one unless the server is on loopback."""
    public_tasks: bool | None = None
    """True: a read of a past moment without a key can start a computation, which trains a model. False: it cannot.
    Default: only on a server on loopback, for requests that no proxy forwards."""
    limits: Limits = Limits()
    trusted_proxies: list[IPvAnyNetwork] = []
    """Networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Prefix` are used."""
    cors_origins: list[Origin] = []
    """Origins whose pages can read the API; `*` is all."""
    drain_seconds: Annotated[float, Field(ge=0, le=600)] | None = None
    """How long `/readyz` says that the server drains before a stop. Default: 5, and 0 on loopback."""
    admin_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Port for `/healthz`, `/readyz` and `/metrics`; `/metrics` is then on no other one. Default: none."""
    admin_host: str = "127.0.0.1"
    """Address that `admin_port` is bound to."""
    hsts_seconds: Count = 0
    """`max-age` of Strict-Transport-Security; 0 sends no such header."""

    @field_validator("region")
    @classmethod
    def _check_region(cls, region: str) -> str:
        try:
            geography.country(region)
        except BadInput as unknown:
            raise ValueError(str(unknown)) from unknown
        return region

    @field_validator("bands")
    @classmethod
    def _check_bands(cls, bands: dict[str, float]) -> dict[str, float]:
        floors = list(bands.values())
        if not floors or floors[0] != 0 or any(a >= b for a, b in itertools.pairwise(floors)):
            raise ValueError("the lowest scores must rise from 0")
        return bands

    @model_validator(mode="after")
    def _check_operator_route(self) -> Self:
        if self.operator_route is not None and self.operator_route not in self.routes:
            known = ", ".join(sorted(self.routes)) or "none"
            raise ValueError(f"operator_route: there is no route {self.operator_route!r}; the routes are: {known}")
        return self

    @model_validator(mode="after")
    def _check_stale_after_late(self) -> Self:
        if self.stale_after_days < self.late_after_days:
            raise ValueError("stale_after_days must not be less than late_after_days")
        return self

    @property
    def prefix(self) -> str:
        """The path under which the service stands: empty, or `/vigie`."""
        return urlsplit(self.base_url or "").path if self.root_path is None else self.root_path

    def drain_time(self, host: str | None) -> float:
        """Return how long a server that listens on this host drains before a stop [s]; None is an unknown host."""
        if self.drain_seconds is None:
            return 0.0 if host is not None and is_loopback(host) else 5.0
        return self.drain_seconds

    def allows_public_read(self, host: str | None) -> bool:
        """Return whether reading needs no key on a server that listens on this host; None is an unknown host."""
        return host is not None and is_loopback(host) if self.public_read is None else self.public_read


_settings_file: ContextVar[Path] = ContextVar("settings_file")


class _HomeSettings(Settings):
    """Settings from the environment and the file in `_settings_file`.

    The class is made once: pydantic reads the source text of a class that it makes, and two threads that do so at the
    same time fail under Python 3.11.
    """

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return _Environment(settings_cls), TomlConfigSettingsSource(settings_cls, _settings_file.get())


def load(home: Home) -> Settings:
    """Return the settings of a home. Raises BadInput with place, key and rule."""
    token = _settings_file.set(home.settings)
    try:
        return _HomeSettings()
    except ValidationError as failure:
        raise BadInput(_describe(failure, home)) from None
    except SettingsError as failure:
        name = re.findall(r'field "(\w+)"', str(failure))
        variable = ENV_PREFIX + name[0].upper() if name else "a VIGIE_ variable"
        raise BadInput(
            f"{variable}: not valid JSON. Write lists and tables as JSON: VIGIE_PULL='[\"ucdp\"]'."
        ) from None
    except tomllib.TOMLDecodeError as failure:
        reason = syntax_error(failure, home.settings.read_text(encoding="utf-8"))
        raise BadInput(f"{home.settings}: not valid TOML: {reason}. Correct the file.") from None
    except UnicodeDecodeError:
        raise BadInput(f"{home.settings}: not UTF-8 text. Save the file as UTF-8.") from None
    finally:
        _settings_file.reset(token)


class _Environment(EnvSettingsSource):
    """Environment, where `NAME_FILE` is the path of a file that contains the value of `NAME`."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        variables = dict(super()._load_env_vars())
        prefix, suffix = ENV_PREFIX.lower(), ENV_FILE_SUFFIX.lower()
        for name, path in list(variables.items()):
            if name.startswith(prefix) and name.endswith(suffix) and path:
                variables[name.removesuffix(suffix)] = _read_secret(name, Path(path))
                del variables[name]
        return variables


def _read_secret(name: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as failure:
        raise BadInput(f"{name.upper()}: {path} cannot be read: {failure.strerror}") from None


def _describe(failure: ValidationError, home: Home) -> str:
    """Return where which setting breaks which rule, and the way out. It contains no values: one can be a secret."""
    broken = []
    for error in failure.errors():
        path = error["loc"]
        if path[:1] == ("routes",):  # the third part is the type of the route, which is no key
            path = path[:2] + path[3:]
        known = Settings.model_fields if len(path) == 1 else ()
        key = "".join(f"{part}: " for part in [".".join(map(str, path))] if part)
        broken.append(f"{_place(path, home)}: {key}{rule_broken(error, known)}")
    return f"{'; '.join(broken)}. Correct the setting, or remove it to use the default."


def _place(path: KeyPath, home: Home) -> str:
    """Return where a setting comes from: a variable of the environment, or else the file and the line."""
    variables = {name.upper() for name in os.environ}
    for length in range(len(path), 0, -1):
        name = ENV_PREFIX + ENV_SEPARATOR.join(map(str, path[:length])).upper()
        if variables & {name, name + ENV_FILE_SUFFIX}:
            return name
    if home.settings.exists() and (line := line_of(home.settings.read_text(encoding="utf-8"), path)):
        return f"{home.settings}, line {line}"
    prefix = ENV_PREFIX + "".join(f"{part}{ENV_SEPARATOR}" for part in path).upper()
    nested = sorted(variable for variable in variables if path and variable.startswith(prefix))
    return nested[0] if nested else str(home.settings)
