"""Settings: which source goes before which, secrets from files, and what a mistake is told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from riskmodel.errors import BadInput
from riskmodel.home import Home
from service.settings import EmailRoute, WebhookRoute, load

ROUTE = '[routes.duty]\ntype = "webhook"\nurl = "https://example.org/hook"\nsecret = "whsec_dGVzdC1rZXktYnl0ZXM="\n'
EMAIL = '[routes.duty]\ntype = "email"\nto = ["a@example.org"]\nsender = "b@example.org"\nhost = "mail.example.org"\n'


@pytest.fixture
def written(home: Home) -> Callable[[str], Home]:
    def write(text: str) -> Home:
        home.root.mkdir(parents=True, exist_ok=True)
        home.settings.write_text(text, encoding="utf-8")
        return home

    return write


def test_chosen_goes_before_environment_before_file_before_default(
    written: Callable[[str], Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = written('region = "NER"\nlate_after_days = 60\n')
    assert (load(home).region, load(home).late_after_days, load(home).stale_after_days) == ("NER", 60, 100)
    monkeypatch.setenv("VIGIE_REGION", "BFA")
    assert load(home).region == "BFA"
    assert load(home, region="TCD").region == "TCD"


def test_a_secret_comes_from_a_file_and_is_never_shown(
    written: Callable[[str], Home], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("whsec_b3RoZXItdGVzdC1rZXk=\n")
    monkeypatch.setenv("VIGIE_ROUTES__DUTY__SECRET_FILE", str(secret))
    settings = load(written(ROUTE))
    route = settings.routes["duty"]
    assert isinstance(route, WebhookRoute)
    assert route.secret == SecretStr("whsec_b3RoZXItdGVzdC1rZXk=")
    assert "whsec_" not in repr(settings)
    monkeypatch.setenv("VIGIE_ROUTES__DUTY__SECRET_FILE", str(tmp_path / "none"))
    with pytest.raises(BadInput, match=r"SECRET_FILE: .*none cannot be read"):
        load(written(ROUTE))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("region = 'XXX'", "region: 'XXX' is not the ISO alpha-3 code"),
        ("regoin = 'MLI'", "regoin: Extra inputs"),
        ("region = ", "Invalid value"),
        ("recompute_every_minutes = 0", "recompute_every_minutes"),
        ("[bands]\nlow = 5", "bands: band floors begin at 0 and rise"),
        ("[bands]\nlow = 0\nhigh = 0", "bands: band floors begin at 0 and rise"),
        (ROUTE.replace("whsec_dGVzdC1rZXktYnl0ZXM=", "no secret!"), "routes.duty.webhook.secret"),
        (ROUTE.replace("whsec_dGVzdC1rZXktYnl0ZXM=", ""), "routes.duty.webhook.secret"),
        (ROUTE.replace("webhook", "pigeon"), "routes.duty"),
        (EMAIL + 'security = "none"\nusername = "u"\npassword = "p"\n', "encrypted or not at all"),
    ],
)
def test_a_mistake_is_told_with_file_and_key(written: Callable[[str], Home], text: str, rule: str) -> None:
    home = written(text)
    with pytest.raises(BadInput) as told:
        load(home)
    assert rule in str(told.value)
    assert str(home.settings) in str(told.value)


def test_a_mistake_leaves_with_3(written: Callable[[str], Home], vigie: Callable[..., Any]) -> None:
    written("region = 'XXX'")
    said = vigie("recompute")
    assert (said.code, "Traceback" in said.err) == (3, False)


def test_a_relay_on_this_machine_may_take_a_password(written: Callable[[str], Home]) -> None:
    text = EMAIL.replace("mail.example.org", "127.0.0.1") + 'security = "none"\nusername = "u"\npassword = "p"\n'
    assert isinstance(load(written(text)).routes["duty"], EmailRoute)


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "10.0.0.1/8", "a b", "http://x", ""])
def test_an_entry_that_is_neither_a_network_nor_a_host_is_refused(written: Callable[[str], Home], entry: str) -> None:
    with pytest.raises(BadInput, match="neither a network such as"):
        load(written(f'allow_private_webhooks = ["{entry}"]\n'))
