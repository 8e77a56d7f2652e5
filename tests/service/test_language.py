"""Every text of the pages is translated, with French typography; numbers, dates and times suit the language."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from math import log1p
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po
from jinja2.ext import babel_extract

import service
from riskmodel.indicators.panel import FAMILIES
from service.drawing import labels
from service.drawing.language import DEFAULT_LANGUAGE, LOCALES, language
from service.http.problems import KINDS

SERVICE = Path(service.__file__).parent
TEMPLATES = SERVICE / "web" / "templates"
MESSAGES = SERVICE / "drawing" / "messages"
TRANSLATED = sorted(set(LOCALES) - {DEFAULT_LANGUAGE})
SAME_IN_ALL_LANGUAGES = {"DIRECTION_ARROWS", "LOSS_NAMES"}
PLACEHOLDER = re.compile(r"%\(\w+\)s|%%")


def label_tables() -> Iterator[dict[str | int, str]]:
    """Every table of labels that pages translate: a new one is found without being listed."""
    for name, table in vars(labels).items():
        if isinstance(table, dict) and name.isupper() and name not in SAME_IN_ALL_LANGUAGES:
            yield table


def page_texts() -> set[str | tuple[str, ...]]:
    """All texts that pages translate; a text with a plural is a pair."""
    texts: set[str | tuple[str, ...]] = {text for table in label_tables() for text in table.values()}
    texts |= {text for kind in KINDS.values() for text in (kind.title, kind.detail)}
    for template in TEMPLATES.glob("*.html"):
        with template.open("rb") as lines:
            for _, _, arguments, _ in babel_extract(lines, ("_", "gettext", "ngettext"), (), {}):
                parts = tuple(part for part in (arguments if isinstance(arguments, tuple) else (arguments,)) if part)
                if parts:
                    texts.add(parts if len(parts) > 1 else parts[0])
    return texts


def catalog(code: str) -> Catalog:
    with (MESSAGES / f"{code}.po").open("rb") as source:
        return read_po(source, locale=code, abort_invalid=True)


def forms(text: str | list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """A text and its plural, or the text alone."""
    return (text,) if isinstance(text, str) else tuple(text)


@pytest.mark.parametrize("code", TRANSLATED)
def test_every_text_is_translated_and_no_translation_is_stale(code: str) -> None:
    messages = {message.id: message for message in catalog(code) if message.id}
    texts = page_texts()
    assert len(texts) > 80
    assert texts - messages.keys() == set()
    assert messages.keys() - texts == set()
    for message in messages.values():
        assert not message.fuzzy, message.id
        for translation in forms(message.string):
            assert translation, message.id
            expected = set(PLACEHOLDER.findall(forms(message.id)[-1]))
            assert set(PLACEHOLDER.findall(translation)) == expected, message.id


@pytest.mark.parametrize("code", TRANSLATED)
def test_no_text_is_translated_twice(code: str) -> None:
    ids = re.findall(r'^msgid "(.+)"$', (MESSAGES / f"{code}.po").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(ids) == sorted(set(ids))


def test_french_has_no_plain_space_where_a_line_must_not_break() -> None:
    translations = [text for message in catalog("fr") if message.id for text in forms(message.string)]
    assert [text for text in translations if re.search(r" [:;?!»]|« | %%", text)] == []
    assert [text for text in translations if re.search(r"«[^\xa0]|[^\xa0]»", text)] == []
    assert [text for text in translations if re.search(r"\w[;?!](?!\w)", text)] == []


def test_french_words_are_used_for_one_thing_each() -> None:
    text = " ".join(form for message in catalog("fr") if message.id for form in forms(message.string)).lower()
    for word in ("décès", "instantané", "mortes", "attendues", "selon les tirages", "dans l’ombre", "prétendant"):
        assert word not in text, word


def test_units_of_all_declared_indicators_have_labels_and_no_label_is_unused() -> None:
    assert labels.UNIT_LABELS.keys() == {
        indicator.unit for family in FAMILIES for indicator in family.indicators if indicator.scale == "number"
    }


@pytest.mark.parametrize(
    ("probability", "english", "french"),
    [
        (0.0, "< 1%", "< 1\xa0%"),
        (0.009, "< 1%", "< 1\xa0%"),
        (0.314, "31%", "31\xa0%"),
        (0.995, "> 99%", "> 99\xa0%"),
        (1.0, "> 99%", "> 99\xa0%"),
    ],
)
def test_a_probability_is_never_written_as_certain(probability: float, english: str, french: str) -> None:
    assert language("en").probability(probability) == english
    assert language("fr").probability(probability) == french


@pytest.mark.parametrize(
    ("deaths", "english", "french"),
    [
        (0.0, "0", "0"),
        (0.004, "< 0.1", "< 0,1"),
        (0.44, "0.4", "0,4"),
        (3.0, "3", "3"),
        (9.96, "10.0", "10,0"),
        (12.6, "13", "13"),
        (12345.0, "12,345", "12\u202f345"),
    ],
)
def test_small_expected_deaths_have_a_decimal_and_are_not_written_as_zero(
    deaths: float, english: str, french: str
) -> None:
    assert language("en").deaths(deaths) == english
    assert language("fr").deaths(deaths) == french


@pytest.mark.parametrize(
    ("value", "scale", "english", "french"),
    [
        (round(log1p(3), 4), "log1p", "3", "3"),
        (round(log1p(12345), 4), "log1p", "12,345", "12\u202f345"),
        (round(log1p(2.4), 4), "log1p", "2.4", "2,4"),
        (0.0, "log1p", "0", "0"),
        (0.001, "log1p", "< 0.1", "< 0,1"),
        (0.0538, "share", "5.4%", "5,4\xa0%"),
        (0.0, "share", "0%", "0\xa0%"),
        (1.0, "share", "100%", "100\xa0%"),
        (0.0001, "share", "< 0.1%", "< 0,1\xa0%"),
        (-1.234, "number", "−1.23", "−1,23"),
        (516.25, "number", "516.2", "516,2"),
        (-0.001, "number", "0", "0"),
    ],
)
def test_an_indicator_value_is_written_by_its_scale(value: float, scale: str, english: str, french: str) -> None:
    assert language("en").indicator_value(value, scale) == english
    assert language("fr").indicator_value(value, scale) == french


def test_a_signed_number_that_rounds_to_zero_has_no_sign() -> None:
    french = language("fr")
    assert [french.signed_number(points) for points in (4.02, -0.94, 0.04, -0.04)] == ["+4,0", "−0,9", "0,0", "0,0"]
    assert [language("en").signed_percent(share) for share in (0.034, -0.021, -0.001)] == ["3%", "−2%", "0%"]


@pytest.mark.parametrize(
    ("moment", "english", "french"),
    [
        (datetime(2023, 1, 10, 7, 45, tzinfo=UTC), "10 January 2023, 07:45 UTC", "10 janvier 2023 à 7 h 45 UTC"),
        (datetime(2024, 8, 1, 16, 5, tzinfo=UTC), "1 August 2024, 16:05 UTC", "1er août 2024 à 16 h 05 UTC"),
        (
            datetime(2023, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1))),
            "31 December 2022, 23:30 UTC",
            "31 décembre 2022 à 23 h 30 UTC",
        ),
    ],
)
def test_a_moment_is_written_in_utc_as_the_language_writes_it(moment: datetime, english: str, french: str) -> None:
    assert language("en").date_time(moment) == english
    assert language("fr").date_time(moment).replace("\xa0", " ") == french
    assert language("fr").time(moment).count("\xa0") == 3


def test_a_language_is_called_by_its_own_name() -> None:
    assert [language(code).own_name for code in LOCALES] == ["English", "Français"]
