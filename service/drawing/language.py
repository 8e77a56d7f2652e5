"""A language of the pages: its texts, and how it writes numbers, dates and names.

English is the key of every text; the others are gettext files in `messages/`, compiled in memory when the app starts.
"""

import gettext
import io
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache, lru_cache
from importlib.resources import files
from math import expm1

from babel import Locale
from babel.dates import format_date, format_datetime, format_interval, format_skeleton
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent

from riskmodel import geography

LOG_ROUNDING = 1e-4
"""How far the log of a count may be off: snapshots round to four decimals."""

LOCALES = {"en": "en_GB", "fr": "fr_FR"}
DEFAULT = "en"


@dataclass(frozen=True)
class Language:
    """One language: `code` as HTML and `?lang=` have it."""

    code: str
    locale: Locale
    texts: gettext.NullTranslations

    @property
    def name(self) -> str:
        """Its own name for itself, as a title begins."""
        return (self.locale.get_language_name() or self.code).capitalize()

    def country(self, iso3: str) -> str:
        """A country's name."""
        return geography.country(iso3).name(self.code)

    def number(self, value: float, decimals: int = 0) -> str:
        """A number with this many decimals."""
        return _decimal(value + 0, f"#,##0.{'0' * decimals}" if decimals else "#,##0", self.locale)

    def short(self, value: float) -> str:
        """A number with one decimal where it has one."""
        return _decimal(value + 0, "#,##0.#", self.locale)

    def signed(self, value: float, decimals: int = 1) -> str:
        """A number with its sign; what rounds to nothing has none."""
        rounded = round(value, decimals)
        sign = "+" if rounded > 0 else "−" if rounded < 0 else ""
        return sign + self.number(abs(rounded), decimals)

    def measured(self, value: float, scale: str) -> str:
        """An indicator's value as a person reads it: a count for the log of one, per cent for a share."""
        if scale == "share":
            return self.share(value)
        if scale != "log1p" or value < 0:
            digits = "#,##0.##" if abs(value) < 10 else "#,##0.#"
            return _decimal(round(value, 2) + 0, f"{digits};−{digits}", self.locale)
        count, blur = expm1(value), LOG_ROUNDING * (1 + expm1(value))
        return self.deaths(round(count) if abs(count - round(count)) <= blur else count)

    def share(self, value: float) -> str:
        """A share in per cent, to one decimal; unlike a probability it may be none or all."""
        pattern = self.locale.percent_formats[None].pattern
        if 0 < value < 0.0005:
            return f"< {self.share(0.001)}"
        return _percent(value + 0, pattern.replace("##0", "##0.#"), self.locale)

    def whole_percent(self, value: float) -> str:
        """A part of something that may be less than nothing, in whole per cent."""
        return str(format_percent(round(value, 2) + 0.0, locale=self.locale)).replace("-", "−")

    def deaths(self, value: float) -> str:
        """A count, or an expected count to two figures below ten: what is little is not written as nothing."""
        if value >= 10 or value == int(value):
            return self.number(value)
        return f"< {self.number(0.1, 1)}" if value < 0.05 else self.number(value, 1)

    def percent(self, probability: float) -> str:
        """A probability in per cent; draws never make it certain, so it is never written as none or all."""
        if probability < 0.01:
            return f"< {format_percent(0.01, locale=self.locale)}"
        if probability > 0.99:
            return f"> {format_percent(0.99, locale=self.locale)}"
        return format_percent(probability, locale=self.locale)

    def day(self, text: str) -> str:
        """A day written `YYYY-MM-DD`, in full."""
        return self._long(date.fromisoformat(text))

    def month(self, text: str) -> str:
        """A month written `YYYY-MM`, in full."""
        return format_skeleton("yMMMM", date.fromisoformat(f"{text}-01"), locale=self.locale)

    def short_month(self, text: str) -> str:
        """A month written `YYYY-MM`, without its year."""
        return format_skeleton("MMM", date.fromisoformat(f"{text}-01"), locale=self.locale)

    def period(self, first: str, last: str) -> str:
        """The months from one day to another, both written `YYYY-MM-DD`."""
        start, end = date.fromisoformat(first), date.fromisoformat(last)
        return str(format_interval(start, end, "yMMMM", locale=self.locale))

    def moment(self, when: datetime) -> str:
        """A moment, to the minute, in UTC."""
        return f"{self._long(when.astimezone(UTC))}, {self.time(when)}"

    def _long(self, day: date) -> str:
        """A day in full; French counts the first of a month, which CLDR does not know."""
        written = str(format_date(day, "long", locale=self.locale))
        return f"1er {written[2:]}" if self.code == "fr" and day.day == 1 else written

    def time(self, when: datetime) -> str:
        """The time of day, in UTC."""
        return f"{format_datetime(when.astimezone(UTC), 'HH:mm', locale=self.locale)} UTC"


@lru_cache(maxsize=8_192)
def _decimal(value: float, pattern: str, locale: Locale) -> str:
    """A number under a pattern; not one of minus zero, which is the same as zero to a cache."""
    return format_decimal(value, format=pattern, locale=locale)


@lru_cache(maxsize=8_192)
def _percent(value: float, pattern: str, locale: Locale) -> str:
    return format_percent(value, format=pattern, locale=locale)


@cache
def language(code: str) -> Language:
    """One of the languages that pages are written in."""
    return Language(code, Locale.parse(LOCALES[code]), _texts(code))


def _texts(code: str) -> gettext.NullTranslations:
    if code == DEFAULT:
        return gettext.NullTranslations()
    written, compiled = files("service.drawing").joinpath(f"messages/{code}.po"), io.BytesIO()
    with written.open("rb") as source:
        write_mo(compiled, read_po(source, locale=code, abort_invalid=True))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
