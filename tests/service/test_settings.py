"""Settings: precedence of the sources, secrets from files, and errors."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from riskmodel.errors import BadInput
from riskmodel.home import Home
from service.settings import EmailRoute, WebhookRoute, load

ROUTE = '[routes.duty]\ntype = "webhook"\nurl = "https://example.org/hook"\nsecret = "whsec_dGVzdC1rZXktYnl0ZXM="\n'
EMAIL = '[routes.duty]\ntype = "email"\nto = ["a@example.org"]\nsender = "b@example.org"\nhost = "mail.example.org"\n'

WriteSettings = Callable[[str], Home]


@pytest.fixture
def write(home: Home) -> WriteSettings:
    def write_settings(text: str) -> Home:
        home.root.mkdir(parents=True, exist_ok=True)
        home.settings.write_text(text, encoding="utf-8")
        return home

    return write_settings


def test_the_environment_overrides_the_file_and_the_file_the_defaults(
    write: WriteSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = write('region = "NER"\nlate_after_days = 60\n')
    assert (load(home).region, load(home).late_after_days, load(home).stale_after_days) == ("NER", 60, 100)
    monkeypatch.setenv("VIGIE_REGION", "BFA")
    assert load(home).region == "BFA"


def test_a_secret_comes_from_a_file_and_is_never_shown(
    write: WriteSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("whsec_b3RoZXItdGVzdC1rZXk=\n")
    monkeypatch.setenv("VIGIE_ROUTES__DUTY__SECRET_FILE", str(secret))
    settings = load(write(ROUTE))
    route = settings.routes["duty"]
    assert isinstance(route, WebhookRoute)
    assert route.secret == SecretStr("whsec_b3RoZXItdGVzdC1rZXk=")
    assert "whsec_" not in repr(settings)
    monkeypatch.setenv("VIGIE_ROUTES__DUTY__SECRET_FILE", str(tmp_path / "none"))
    with pytest.raises(BadInput, match=r"SECRET_FILE: .*none cannot be read"):
        load(write(ROUTE))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("region = 'XXX'", "vigie.toml, line 1: region: 'XXX' is not the ISO alpha-3 code"),
        ("\nregoin = 'MLI'", "vigie.toml, line 2: regoin: unknown key (did you mean region?)"),
        ("region = ", "vigie.toml: not valid TOML: Invalid value (at the end, line 1)"),
        ("recompute_every_minutes = 0", "line 1: recompute_every_minutes: must be greater than or equal to 1"),
        ("stale_after_days = 10", "vigie.toml: stale_after_days must not be less than late_after_days"),
        ("[bands]\nlow = 5", "line 1: bands: the lowest scores must rise from 0"),
        ("[bands]\nlow = 0\nhigh = 0", "line 1: bands: the lowest scores must rise from 0"),
        ("[bands]\nlow = 0\n'very high' = 'much'", "line 3: bands.very high: must be a valid number"),
        ("[limits]\n# the longest body\nbody_bytes = -1", "line 3: limits.body_bytes: must be greater"),
        (ROUTE.replace("whsec_dGVzdC1rZXktYnl0ZXM=", "no secret!"), "line 4: routes.duty.secret: must be base64"),
        (ROUTE.replace('secret = "whsec_dGVzdC1rZXktYnl0ZXM="', ""), "line 1: routes.duty.secret: is missing"),
        (ROUTE.replace("webhook", "pigeon"), "line 1: routes.duty: type must be one of 'webhook', 'email'"),
        (ROUTE.replace('type = "webhook"', ""), "line 1: routes.duty: type is missing"),
        (
            EMAIL + 'security = "none"\nusername = "u"\npassword = "p"\n',
            "routes.duty: a password is only sent encrypted",
        ),
        (
            ROUTE + 'quiet_hours = { warning = "22-6" }',
            "line 5: routes.duty.quiet_hours.warning: '22-6' are no quiet hours: write when they start and end",
        ),
        (
            ROUTE + 'quiet_hours = { info = "22:00-22:00" }',
            "line 5: routes.duty.quiet_hours.info: '22:00-22:00' are no",
        ),
        (ROUTE + 'quiet_hours = { high = "22:00-06:00" }', "line 5: routes.duty.quiet_hours.high"),
        (ROUTE + 'time_zone = "Africa"', "line 5: routes.duty.time_zone: 'Africa' is not the IANA name"),
        (ROUTE + 'time_zone = "Africa/Bamoko"', "line 5: routes.duty.time_zone: 'Africa/Bamoko' is not the IANA name"),
        (ROUTE + "max_messages = 0", "line 5: routes.duty.max_messages: must be greater than or equal to 1"),
        (EMAIL + 'length = "long"', "routes.duty.length: must be 'sms', 'text' or 'full'"),
    ],
)
def test_an_error_names_file_line_key_and_rule(write: WriteSettings, text: str, error: str) -> None:
    home = write(text)
    with pytest.raises(BadInput) as failure:
        load(home)
    assert error in str(failure.value)
    assert str(home.settings) in str(failure.value)
    assert "Correct the" in str(failure.value), "it names a way out"


@pytest.mark.parametrize(
    ("variable", "value", "error"),
    [
        ("VIGIE_REGION", "XXX", "VIGIE_REGION: region: 'XXX' is not"),
        ("VIGIE_LIMITS__BODY_BYTES", "-1", "VIGIE_LIMITS__BODY_BYTES: limits.body_bytes: must be greater"),
        ("VIGIE_PULL", '["gdelt", "x"]', "VIGIE_PULL: pull.1: must be 'ucdp', 'acled' or 'gdelt'"),
        ("VIGIE_PULL", "ucdp", "VIGIE_PULL: not valid JSON"),
        ("VIGIE_ROUTES__DUTY__SECRET", "b3RoZXI=", "VIGIE_ROUTES__DUTY__SECRET: routes.duty: type is missing"),
    ],
)
def test_an_error_names_the_variable_of_the_environment(
    write: WriteSettings, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, error: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(BadInput) as failure:
        load(write("late_after_days = 60"))
    assert str(failure.value).startswith(error)
    assert "b3RoZXI=" not in str(failure.value), "a value can be a secret"


def test_an_error_ends_a_command_with_exit_code_3(write: WriteSettings, vigie: Callable[..., Any]) -> None:
    write("region = 'XXX'")
    result = vigie("recompute")
    assert (result.code, "Traceback" in result.err) == (3, False)


def test_a_mail_server_on_this_machine_can_get_a_password_unencrypted(write: WriteSettings) -> None:
    text = EMAIL.replace("mail.example.org", "127.0.0.1") + 'security = "none"\nusername = "u"\npassword = "p"\n'
    assert isinstance(load(write(text)).routes["duty"], EmailRoute)


def test_a_route_has_quiet_hours_by_severity_in_its_own_time_zone(write: WriteSettings) -> None:
    text = EMAIL + 'quiet_hours = { warning = "22:00-06:30" }\ntime_zone = "Africa/Bamako"\nlength = "sms"\n'
    route = load(write(text)).routes["duty"]
    assert route.quiet_hours == {"warning": (time(22), time(6, 30))}
    assert route.time_zone.key == "Africa/Bamako"


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "10.0.0.1/8", "a b", "http://x", ""])
def test_an_entry_that_is_neither_a_network_nor_a_host_is_refused(write: WriteSettings, entry: str) -> None:
    with pytest.raises(BadInput, match="neither a network such as"):
        load(write(f'allow_private_webhooks = ["{entry}"]\n'))


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("a@example.org", "a@example.org"),
        (" Amadou Ba <a@example.org> ", "Amadou Ba <a@example.org>"),
        ("Veille, Bamako <v@example.org>", '"Veille, Bamako" <v@example.org>'),
        ('"Veille, Bamako" <v@example.org>', '"Veille, Bamako" <v@example.org>'),
        ("duty@sécurité.example", "duty@xn--scurit-bvaf.example"),
        ("root@localhost", "root@localhost"),
    ],
)
def test_email_addresses_are_read_as_people_type_them(typed: str, address: str) -> None:
    route = EmailRoute(type="email", to=[typed], sender=typed, host="mail.example.org")
    assert (route.to, route.sender) == ([address], address)


@pytest.mark.parametrize(
    "typed",
    [
        "", "Vigie", "duty officer", "a@", "@example.org", "a@x.org; b@x.org", "a@x.org, b@x.org", "a@x.org b@x.org",
        "a@x..org", "a@-x.org", "a b@x.org", "a@x.org <b@x.org>", "<a@x.org", "a@x.org>", "A <a@x.org> B", "A <>",
        "a@x.org\r\nBcc: b@x.org", "A\nBcc: b <a@x.org>", "a@exa mple.org",
    ],
)  # fmt: skip
def test_what_is_not_one_email_address_is_refused_when_the_settings_are_read(write: WriteSettings, typed: str) -> None:
    text = EMAIL.replace('"a@example.org"', f'"a@example.org", {json.dumps(typed)}')
    with pytest.raises(BadInput, match=r"line 3: routes\.duty\.to\.1: .* is not one e-mail address: write duty@"):
        load(write(text))


def test_threads_read_their_own_home_and_make_no_class(tmp_path: Path) -> None:
    """Pydantic reads source text to make a class. Two threads that do so at once fail under Python 3.11."""
    homes = [Home(tmp_path / region) for region in ("MLI", "NER")]
    for home in homes:
        home.root.mkdir()
        home.settings.write_text(f'region = "{home.root.name}"\n', encoding="utf-8")
    with ThreadPoolExecutor(2) as pool:
        loaded = list(pool.map(load, homes * 20))
    assert [settings.region for settings in loaded] == ["MLI", "NER"] * 20
    assert len({type(settings) for settings in loaded}) == 1
