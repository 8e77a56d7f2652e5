"""The HTML body of an e-mail, with a chart of the country as a PNG image.

The body says what the plain text says, line by line. It loads nothing from elsewhere, and sets few colours, so that
mail programs can show it in dark mode.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from riskmodel.months import month
from service.alerts.at_sending import OLD_DATA
from service.alerts.composition import SIMULATED
from service.alerts.facts import QUANTILES
from service.drawing import charts
from service.drawing.language import language as language_of

COLOURS = {"severe": "#a9281f", "warning": "#c65f25", "info": "#1d4a68"}
ENDED_COLOUR = "#6f9288"
ENDED_TYPES = ("alert.resolved", "alert.corrected", "alert.expired", "alert.rule_changed")

CHART_SCALE = 2.0
"""Pixels of the image for each pixel of the page: sharp on screens with a high resolution."""

OPEN = {"en": "Open in Vigie", "fr": "Ouvrir dans Vigie"}

CAPTIONS = {
    "en": "Deaths a month since {first}; each line is ten times the one below. Bars: reported (the last one is "
    "{last}), pale where a figure can still change. Blue: forecast, with the range of 9 cases out of 10.",
    "fr": "Morts par mois depuis {first}\xa0; chaque ligne vaut dix fois celle du dessous. Barres\xa0: morts signalés "
    "(le dernier mois\xa0: {last}), plus clair là où un chiffre peut encore changer. Bleu\xa0: prévision, avec "
    "l’étendue de 9 cas sur 10.",
}
ALTERNATIVES = {
    "en": "Chart of deaths a month. Last month: {last}. Forecast for the next month: {low} to {high}.",
    "fr": "Graphique des morts par mois. Dernier mois\xa0: {last}. Prévision du mois suivant\xa0: {low} à {high}.",
}

UNKNOWN = {"en": "unknown", "fr": "inconnu"}

_OLD = {language: re.escape(text).replace(r"\{days\}", r"\d+") for language, text in OLD_DATA.items()}

_LABEL = re.compile(r"^([^:]{1,90}?\xa0?:) ")


class Block(NamedTuple):
    """A sentence, or a list with a heading, which can be empty."""

    sentence: str
    heading: str = ""
    items: Sequence[str] = ()


class Caption(NamedTuple):
    """What is under the chart, and what stands for it where images are not shown."""

    text: str
    alt: str


def html(document: Mapping[str, Any], language: str, chart_cid: str | None = None) -> str:
    """Return the body of a message as it is sent. `chart_cid` is the content id of the chart, if there is one."""
    data = document["data"]
    headline, *lines = data["full"][language].splitlines()
    url = data["url"][language] if "url" in data else None
    blocks = _blocks(line for line in lines if line and line != url)
    simulated, rest = _mark(headline, re.escape(SIMULATED[language]))
    old, rest = _mark(rest, _OLD[language])
    kind, rest = _mark(rest, r"[^–]+")
    lead = blocks.pop(0).sentence if blocks and blocks[0].sentence else None
    return (
        _environment(language)
        .get_template("email.html")
        .render(
            headline=headline,
            simulated=simulated,
            old=old,
            kind=kind,
            title=rest,
            lead=lead,
            blocks=blocks,
            colour=ENDED_COLOUR if document["type"] in ENDED_TYPES else COLOURS[data.get("severity", "info")],
            url=url,
            open=OPEN[language],
            sent=language_of(language).date_time(datetime.fromisoformat(document["timestamp"])),
            chart_cid=chart_cid,
            caption=_caption(data, language) if chart_cid else None,
            text=_with_label,
        )
    )


def chart_png(document: Mapping[str, Any], language: str) -> bytes | None:
    """Return the chart of the country that a message is about; None without such a country, or without resvg-py."""
    chart = _chart(document["data"])
    if chart is None:
        return None
    try:
        import resvg_py
    except ImportError:
        return None
    svg = _environment(language).get_template("chart.svg").render(chart=chart, height=charts.CHART_HEIGHT)
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=CHART_SCALE))


def _mark(headline: str, pattern: str) -> tuple[str, str]:
    """Split what a headline begins with, up to its first dash, from the rest; it is empty if it is something else."""
    found = re.match(f"({pattern}) – ", headline)
    return (found[1], headline[found.end() :]) if found else ("", headline)


def _blocks(lines: Iterable[str]) -> list[Block]:
    blocks: list[Block] = []
    for line in lines:
        if line.startswith("- "):
            if not blocks or blocks[-1].sentence:
                blocks.append(Block(""))
            blocks[-1] = blocks[-1]._replace(items=[*blocks[-1].items, line.removeprefix("- ")])
        elif line.endswith(":"):
            blocks.append(Block("", heading=line.rstrip(":\xa0")))
        else:
            blocks.append(Block(line))
    return blocks


def _with_label(line: str) -> Markup:
    """Return a line with what is before its first colon in bold."""
    label = _LABEL.match(line)
    if label is None:
        return escape(line)
    return Markup("<strong>{}</strong> {}").format(label[1], line[label.end() :])


def _chart(data: Mapping[str, Any]) -> charts.CountryChart | None:
    country = _country(data)
    return charts.country_chart(country, charts.axis_top([country])) if country else None


def _country(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the months of the country that a message is about, as the charts read them."""
    found = data.get("facts", {}).get("chart")
    if not found or all(deaths is None for deaths in found["deaths"]):
        return None
    first, origin = month(found["first"]), month(data["origin"])
    observed = [
        {"month": str(first + i), "deaths": deaths, **({"expected_final": deaths} if unsettled else {})}
        for i, (deaths, unsettled) in enumerate(zip(found["deaths"], found["unsettled"], strict=True))
    ]
    forecast = [
        {"month": str(origin + lead), **dict(zip(QUANTILES, quantiles, strict=True))}
        for lead, quantiles in enumerate(zip(*(found[each] for each in QUANTILES), strict=True), start=1)
    ]
    return {"observed": observed, "forecast": forecast}


def _caption(data: Mapping[str, Any], language: str) -> Caption:
    found, page_language = data["facts"]["chart"], language_of(language)
    last = UNKNOWN[language] if found["deaths"][-1] is None else page_language.deaths(found["deaths"][-1])
    alternative = ALTERNATIVES[language].format(
        last=last,
        low=page_language.deaths(found["p05"][0]) if found["p05"] else UNKNOWN[language],
        high=page_language.deaths(found["p95"][0]) if found["p95"] else UNKNOWN[language],
    )
    caption = CAPTIONS[language].format(first=page_language.month(found["first"]), last=last)
    return Caption(caption, alternative)


@cache
def _environment(language: str) -> Environment:
    templates = Environment(
        loader=PackageLoader("service.alerts"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals["language"] = language_of(language)
    return templates
