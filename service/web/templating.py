"""The template environment of each language, and the functions that templates need beyond it."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from riskmodel.geography import WHOLE_REGION
from service.drawing import charts, labels
from service.drawing.language import LOCALES, language, sentence_case
from service.web import driver_view

BAND_SHADES = 6
"""Number of shades in the style sheet for bands."""


@cache
def environment(code: str) -> Environment:
    """Return the template environment of one language. An undefined name is an error, so that tests find typos."""
    page_language = language(code)
    templates = Environment(
        loader=PackageLoader("service.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    templates.install_gettext_translations(page_language.translations, newstyle=True)  # type: ignore[attr-defined]  # the i18n extension adds it
    templates.filters.update(number=page_language.number, month=page_language.month, sentence_case=sentence_case)
    templates.globals.update(
        language=page_language,
        languages=[language(other) for other in LOCALES],
        labels=labels,
        charts=charts,
        driver_view=driver_view,
        WHOLE_REGION=WHOLE_REGION,
        static_url=static_url,
        band_shade=band_shade,
        parse_time=datetime.fromisoformat,
    )
    return templates


@cache
def static_url(name: str) -> str:
    """Return the path of a static file. It contains a digest of the content, so that browsers can cache it forever."""
    content = files("service.web").joinpath("static", name).read_bytes()
    return f"/static/{name}?{hashlib.sha256(content).hexdigest()[:12]}"


def band_shade(band: str | None, bands: Mapping[str, float]) -> str:
    """Return the CSS class of a band. Shades are spread evenly over the bands, whose number operators choose."""
    if band is None:
        return "shade-none"
    ranks = sorted(bands, key=lambda name: bands[name])
    return f"shade-{round(ranks.index(band) * (BAND_SHADES - 1) / max(1, len(ranks) - 1))}"
