"""A language of the pages: its translations, and how it writes numbers, dates and names.

English texts are the keys of the translations. The other languages are gettext files in `messages/`, which are compiled
in memory when the app starts, so that no compiled file can be out of date.
"""

import gettext
import io
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache, lru_cache
from importlib.resources import files

from babel import Locale
from babel.dates import format_date, format_interval, format_skeleton
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent

from riskmodel import geography
from riskmodel.indicator_values import count_of
from riskmodel.outcomes import OUTCOME_LABELS

LOCALES = {"en": "en_GB", "fr": "fr_FR"}
DEFAULT_LANGUAGE = "en"


@dataclass(frozen=True)
class Language:
    """One language; `code` is its code in HTML and in `?lang=`."""

    code: str
    locale: Locale
    translations: gettext.NullTranslations

    @property
    def own_name(self) -> str:
        """Return the language's name in itself, with a capital."""
        return (self.locale.get_language_name() or self.code).capitalize()

    def country(self, iso3: str) -> str:
        """Return a country's name."""
        return geography.country(iso3).name(self.code)

    def outcome(self, outcome: str) -> str:
        """Return an outcome in words."""
        return OUTCOME_LABELS[outcome][self.code]

    def number(self, value: float, decimals: int = 0) -> str:
        """Format a number with this many decimals."""
        return _decimal(value + 0, f"#,##0.{'0' * decimals}" if decimals else "#,##0", self.locale)

    def short_number(self, value: float) -> str:
        """Format a number with at most one decimal."""
        return _decimal(value + 0, "#,##0.#", self.locale)

    def signed_number(self, value: float, decimals: int = 1) -> str:
        """Format a number with its sign. A value that rounds to zero gets no sign."""
        rounded = round(value, decimals)
        sign = "+" if rounded > 0 else "−" if rounded < 0 else ""
        return sign + self.number(abs(rounded), decimals)

    def indicator_value(self, value: float, scale: str) -> str:
        """Format an indicator's value by its scale: a log1p value as the count, a share in per cent."""
        if scale == "share":
            return self.share(value)
        if scale != "log1p" or value < 0:
            digits = "#,##0.##" if abs(value) < 10 else "#,##0.#"
            return _decimal(round(value, 2) + 0, f"{digits};−{digits}", self.locale)
        return self.deaths(count_of(value))

    def share(self, value: float) -> str:
        """Format a share in per cent, to one decimal. Unlike a probability, a share can be 0% or 100%."""
        pattern = self.locale.percent_formats[None].pattern
        if 0 < value < 0.0005:
            return f"< {self.share(0.001)}"
        return _percent(value + 0, pattern.replace("##0", "##0.#"), self.locale)

    def signed_percent(self, value: float) -> str:
        """Format a fraction of either sign in whole per cent."""
        return str(format_percent(round(value, 2) + 0.0, locale=self.locale)).replace("-", "−")

    def deaths(self, value: float) -> str:
        """Format a count, or an expected count: below ten with one decimal, so that a small value is not shown as 0."""
        if value >= 10 or value == int(value):
            return self.number(value)
        return f"< {self.number(0.1, 1)}" if value < 0.05 else self.number(value, 1)

    def probability(self, value: float) -> str:
        """Format a probability in per cent, never as 0% or 100%: a limited number of draws cannot show certainty."""
        if value < 0.01:
            return f"< {format_percent(0.01, locale=self.locale)}"
        if value > 0.99:
            return f"> {format_percent(0.99, locale=self.locale)}"
        return format_percent(value, locale=self.locale)

    def long_date(self, iso_date: str) -> str:
        """Format a `YYYY-MM-DD` date in full."""
        return self._format_date(date.fromisoformat(iso_date))

    def month(self, iso_month: str) -> str:
        """Format a `YYYY-MM` month in full."""
        return format_skeleton("yMMMM", date.fromisoformat(f"{iso_month}-01"), locale=self.locale)

    def short_month(self, iso_month: str) -> str:
        """Format a `YYYY-MM` month without its year, abbreviated."""
        return format_skeleton("MMM", date.fromisoformat(f"{iso_month}-01"), locale=self.locale)

    def month_range(self, first: str, last: str) -> str:
        """Format the months from one `YYYY-MM-DD` date to another."""
        start, end = date.fromisoformat(first), date.fromisoformat(last)
        return str(format_interval(start, end, "yMMMM", locale=self.locale))

    def date_time(self, moment: datetime) -> str:
        """Format a moment to the minute, in UTC."""
        separator = " à " if self.code == "fr" else ", "
        return f"{self._format_date(moment.astimezone(UTC))}{separator}{self.time(moment)}"

    def time(self, moment: datetime) -> str:
        """Format the time of day, in UTC: `07:45 UTC` in English, `7 h 45 UTC` in French."""
        utc = moment.astimezone(UTC)
        if self.code == "fr":  # CLDR writes 07:45, French typography 7 h 45
            return f"{utc.hour}\xa0h\xa0{utc.minute:02}\xa0UTC"
        return f"{utc:%H:%M} UTC"

    def _format_date(self, day: date) -> str:
        """Format a date in full. French writes "1er" for the first of a month; CLDR writes "1"."""
        formatted = str(format_date(day, "long", locale=self.locale))
        return f"1er {formatted[2:]}" if self.code == "fr" and day.day == 1 else formatted


def sentence_case(text: str) -> str:
    """Begin a text with a capital, and leave the rest of it as it is."""
    return text[:1].upper() + text[1:]


# A page formats the same few thousand numbers at each rendering; looking them up is much faster than formatting.
@lru_cache(maxsize=8_192)
def _decimal(value: float, pattern: str, locale: Locale) -> str:
    """Format a number. Callers must turn -0.0 into 0.0 first: the two are the same key of the cache."""
    return format_decimal(value, format=pattern, locale=locale)


@lru_cache(maxsize=8_192)
def _percent(value: float, pattern: str, locale: Locale) -> str:
    return format_percent(value, format=pattern, locale=locale)


@cache
def language(code: str) -> Language:
    """Return the language with this code; its translations are read once."""
    return Language(code, Locale.parse(LOCALES[code]), _translations(code))


def _translations(code: str) -> gettext.NullTranslations:
    if code == DEFAULT_LANGUAGE:
        return gettext.NullTranslations()
    catalog, compiled = files("service.drawing").joinpath(f"messages/{code}.po"), io.BytesIO()
    with catalog.open("rb") as source:
        write_mo(compiled, read_po(source, locale=code, abort_invalid=True))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
