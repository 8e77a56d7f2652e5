"""The messages of alerts, compared with files that people have read; and the limits that every SMS keeps."""

from datetime import UTC, datetime
from typing import Any

import pytest
from alert_messages import FOLDER, LANGUAGES, NOW, changes, data, files, messages

from riskmodel import geography
from riskmodel.alerting import rule_file
from service.alerts import facts, gsm7, sentences, wording
from service.alerts.at_sending import at_sending

BASE = "https://vigie.example.org"
STANDARD = (
    "@Δ 0¡P¿p",
    "£_!1AQaq",
    '$Φ"2BRbr',
    "¥Γ#3CScs",
    "èΛ¤4DTdt",
    "éΩ%5EUeu",
    "ùΠ&6FVfv",
    "ìΨ'7GWgw",
    "òΣ(8HXhx",
    "ÇΘ)9IYiy",
    "\nΞ*:JZjz",
    "Ø\x1b+;KÄkä",
    "øÆ,<LÖlö",
    "\ræ-=MÑmñ",
    "Åß.>NÜnü",
    "åÉ/?O§oà",
)
"""The GSM 7-bit default alphabet as 3GPP TS 23.038 prints it (6.2.1), row by row; 0x1B is the escape to extensions."""


def test_the_messages_are_those_that_were_read() -> None:
    written = {path.name: content for path, content in files()}
    assert {path.name for path in FOLDER.glob("*.txt")} == written.keys()
    for name, content in written.items():
        assert content == (FOLDER / name).read_text(encoding="utf-8"), "run python tests/service/alert_messages.py"


def test_the_alphabet_of_an_sms_is_that_of_the_standard() -> None:
    assert set("".join(STANDARD)) - {"\x1b"} == gsm7.ALPHABET


def test_letters_that_an_sms_lacks_are_replaced() -> None:
    text = "Côte d’Ivoire – « déjà » à Ségou\u202f: 5\xa0% ≥ 3… cœur, reçu, Œuvre, ÀÊÎ €"
    assert gsm7.to_gsm7(text) == 'Cote d\'Ivoire - " déjà " à Ségou : 5 % >= 3... coeur, reçu, OEuvre, AEI EUR'.replace(
        "ç", "c"
    )
    assert gsm7.to_gsm7("日") == "?"


def test_every_sms_about_any_country_and_rule_fits() -> None:
    titles = [rule.title.model_dump() for rule in rule_file.shipped()]
    titles.append({"en": "Violence nears " * 20, "fr": "œuvre " * 60})
    names = {iso3: wording.name(iso3, "MLI") for iso3 in geography.countries()}
    longest = max(names, key=lambda iso3: len(names[iso3]["fr"]))
    cases = [(data(name=name), titles[0]) for name in names.values()]
    cases += [({**each, "name": names[longest]}, title) for each in changes().values() for title in titles]
    late = datetime(2024, 5, 1, tzinfo=UTC)
    for each, title in cases:
        about = {**each, "title": title, "simulated": True}
        made = {"data": about | wording.change("firing", about)}
        for message in (made, at_sending(made, BASE, 100, late)):
            for sms in message["data"]["sms"].values():
                assert len(sms) <= gsm7.SMS_LENGTH, sms
                assert gsm7.ALPHABET.issuperset(sms), sms
                assert sms.startswith("SIMULATED"), sms


def test_every_sms_about_a_shipped_rule_names_the_country_and_says_how_likely_the_event_is() -> None:
    names = [wording.name(iso3, "MLI") for iso3 in geography.countries()]
    for place in sorted(names, key=lambda name: -len(name["fr"]))[:10]:
        for title in (rule.title.model_dump() for rule in rule_file.shipped()):
            about = data(name=place, title=title)
            for language, sms in wording.change("firing", about)["sms"].items():
                assert gsm7.to_gsm7(place[language]) in sms, sms
                assert gsm7.to_gsm7(sentences.likelihood(about, language)) in sms, sms


def test_an_alert_about_a_signal_says_what_stands_out_and_not_how_many_signals_there_are() -> None:
    firing = messages()["firing.capital"]
    assert "Events near the capital: 19, the highest in five years." in firing["text"]["en"]
    assert "Now 19 events (7 in December 2021)" in firing["sms"]["en"]
    unlisted = data("NER", metric="signal:events_near_12m", value=1, fire_at=1, clear_at=1, earlier=None)
    assert "Signals (Events near the capital): 1 (alert from 1)" in wording.change("firing", unlisted)["text"]["en"]


def test_every_kind_of_message_has_an_sms_that_fits() -> None:
    for name, message in messages().items():
        for sms in message["sms"].values():
            assert 0 < len(sms) <= gsm7.SMS_LENGTH, name
            assert gsm7.ALPHABET.issuperset(sms), name


@pytest.mark.parametrize(
    ("probability", "en", "fr"),
    [
        (0.0, "less than 1 in 100", "moins de 1 sur 100"),
        (0.012, "1 in 100", "1 sur 100"),
        (0.1, "1 in 10", "1 sur 10"),
        (0.26, "1 in 4", "1 sur 4"),
        (0.33, "1 in 3", "1 sur 3"),
        (0.4, "4 in 10", "4 sur 10"),
        (0.5, "1 in 2", "1 sur 2"),
        (0.8, "8 in 10", "8 sur 10"),
        (0.94, "9 in 10", "9 sur 10"),
        (1.0, "more than 9 in 10", "plus de 9 sur 10"),
    ],
)
def test_a_probability_is_a_number_of_cases(probability: float, en: str, fr: str) -> None:
    assert [sentences.chance(probability, language) for language in LANGUAGES] == [en, fr]


@pytest.mark.parametrize(
    ("first", "last", "en", "fr"),
    [
        ("2023-01-01", "2023-03-31", "in January – March 2023", "de janvier à mars 2023"),
        ("2022-10-01", "2022-12-31", "in October – December 2022", "d’octobre à décembre 2022"),
        ("2022-11-01", "2023-01-31", "in November 2022 – January 2023", "de novembre 2022 à janvier 2023"),
        ("2023-08-01", "2023-08-31", "in August 2023", "en août 2023"),
    ],
)
def test_months_are_named(first: str, last: str, en: str, fr: str) -> None:
    assert [sentences.months_between(first, last, language).replace("\u2009", " ") for language in LANGUAGES] == [
        en,
        fr,
    ]


def test_close_probabilities_are_told_apart() -> None:
    near = data(value=0.197, fire_at=0.2, clear_at=0.2, earlier=None)
    assert "19.7% (alert from 20.0%)" in sentences.measurement(near, "en")


@pytest.mark.parametrize(
    ("record", "en"),
    [
        (None, ""),
        ({"reason": "too_few_cases"}, "too few past alerts"),
        ({"reason": "not_computed"}, "not known yet"),
        (
            {"hits": 1, "false_alarms": 6, "median_lead_months": 1},
            "right 1 time in 7 in 2020, one month ahead (median)",
        ),
        ({"hits": 0, "false_alarms": 6, "median_lead_months": None}, "right 0 times in 6 in 2020"),
    ],
)
def test_a_record_is_worded_with_its_numbers(record: dict[str, Any] | None, en: str) -> None:
    months = {"first_month": "2020-01", "last_month": "2020-12", "base_rate": None}
    found = sentences.record({"record": record and months | record, "metric": "band"}, "en")
    assert en in found
    assert bool(found) == bool(en)


def test_a_notice_about_the_data_has_no_record() -> None:
    assert sentences.record({"record": {"reason": "not_computed"}, "metric": "data_age_days"}, "en") == ""


def test_an_escalation_counts_from_twice_the_final_deaths() -> None:
    month = {"month": "2022-10", "deaths": 10}
    observed = [month, month, month | {"deaths": 4, "expected_final": 9.6, "release_class": "monthly_candidate"}]
    country = {"location_code": "MLI", "escalation_probability": 0.2, "observed": observed}
    found = facts.of_location(
        {"origin": "2022-12", "countries": [country], "indicator_families": []}, "MLI", "escalation_probability"
    )
    assert (found["reported"], found["final"], found["escalation"]["deaths"], found["settled_months"]) == (
        24,
        30,
        60,
        2,
    )
    assert found["release_classes"] == {"2022-10": "monthly_candidate"}
    assert found["expected"] is None


def test_a_message_leads_to_the_page_of_its_outcome() -> None:
    about = {"location_code": "MLI", "outcome": "state_based"}
    for more, page in (
        ({"of_headline": True}, "/fr/country/MLI"),
        ({"of_headline": False}, "/fr/state_based/country/MLI"),
    ):
        linked = at_sending({"data": about | more}, "https://example.org", 100, NOW)
        assert linked["data"]["url"]["fr"] == f"https://example.org{page}"


def test_data_that_are_old_when_a_message_is_sent_come_first() -> None:
    firing = {"data": messages()["firing"]}
    for length in ("headline", "sms", "text", "full"):
        now = at_sending(firing, None, 10, NOW)["data"][length]["en"]
        old = at_sending(firing, None, 9, NOW)["data"][length]["en"]
        assert now.startswith("ALERT")
        assert old.startswith("OLD DATA (10 days)")
    too_old = {"data": messages()["firing.data_too_old"]}
    assert at_sending(too_old, None, 9, NOW)["data"]["sms"]["en"].startswith("ALERT"), "the alert itself says it"
