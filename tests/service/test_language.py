"""What pages are written with: every text in each language, numbers for their size, names of languages."""

import re
from pathlib import Path

import pytest
from babel.messages.pofile import read_po
from jinja2.ext import babel_extract

import service
from service.drawing import labels
from service.drawing.language import DEFAULT, LOCALES, Language, language
from service.http.problems import KINDS

WEB = Path(service.__file__).parent / "web"
MESSAGES = Path(service.__file__).parent / "drawing" / "messages"
OTHERS = sorted(set(LOCALES) - {DEFAULT})


def _texts() -> set[str | tuple[str, ...]]:
    found: set[str | tuple[str, ...]] = {text for table in labels.TABLES for text in table.values()}
    found |= {text for kind in KINDS.values() for text in (kind.title, kind.detail)}
    for template in (WEB / "templates").glob("*.html"):
        with template.open("rb") as lines:
            for _, _, text, _ in babel_extract(lines, ("_", "gettext", "ngettext"), (), {}):
                parts = tuple(part for part in (text if isinstance(text, tuple) else (text,)) if part)
                if parts:
                    found.add(parts if len(parts) > 1 else parts[0])
    return found


@pytest.mark.parametrize("code", OTHERS)
def test_every_text_is_translated_and_no_translation_is_left_over(code: str) -> None:
    with (MESSAGES / f"{code}.po").open("rb") as source:
        catalog = read_po(source, locale=code, abort_invalid=True)
    told = {message.id: message for message in catalog if message.id}
    texts = _texts()
    assert len(texts) > 80
    assert texts ^ told.keys() == set()
    for message in told.values():
        assert not message.fuzzy, message.id
        strings = message.string if isinstance(message.string, tuple) else (message.string,)
        ids = message.id if isinstance(message.id, tuple) else (message.id,)
        for text in strings:
            assert text, message.id
            assert set(re.findall(r"%\(\w+\)s|%%", text)) == set(re.findall(r"%\(\w+\)s|%%", ids[-1])), message.id


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
    assert language("en").percent(probability) == english
    assert language("fr").percent(probability) == french


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
def test_deaths_are_written_for_their_size(deaths: float, english: str, french: str) -> None:
    assert language("en").deaths(deaths) == english
    assert language("fr").deaths(deaths) == french


def test_languages_call_themselves_by_name() -> None:
    assert [language(code).name for code in LOCALES] == ["English", "Français"]
    assert isinstance(language("fr"), Language)
