"""Changes of alerts as an Atom feed (RFC 4287), in English or French."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, tostring  # nosec B405  # writes, never parses

from riskmodel import geography
from riskmodel.outcomes import OUTCOME_LABELS
from service.alerts import cap
from service.alerts.published import PublishedChange
from service.snapshots.feeds import ATOM_NAMESPACE, add_text
from service.store.values import instant

MAX_ENTRIES = 100
"""How many changes the feed contains."""

TITLE = {"en": "Vigie – alerts of {} and its neighbours", "fr": "Vigie – alertes\xa0: {} et pays voisins"}

SUBTITLE = {
    "en": "Alerts come from forecasts. They say what is likely, not what has happened.",
    "fr": "Les alertes proviennent de prévisions. Elles disent ce qui est probable, et non ce qui s’est passé.",
}

SIMULATED = {"en": "SIMULATED: ", "fr": "SIMULATED (données simulées)\xa0: "}


def atom(
    changes: Sequence[PublishedChange],
    region: str,
    simulated: bool,
    quiet_since: str,
    site: str,
    *,
    language: str,
    query: str,
) -> bytes:
    """Return the feed of changes of alerts, newest first. Without a change, it was updated at `quiet_since`.

    `site` is the address of the service that links begin with, without a slash at its end, and `query` that of the
    request, with its question mark.
    """
    feed = Element("feed", {"xmlns": ATOM_NAMESPACE, "xml:lang": language})
    name = geography.country(region).name(language)
    prefix = SIMULATED[language] if simulated else ""
    add_text(feed, "id", f"urn:vigie:feed:alerts:{region}:{'simulated' if simulated else 'real'}:{language}{query}")
    add_text(feed, "title", prefix + TITLE[language].format(name))
    add_text(feed, "subtitle", SUBTITLE[language])
    add_text(feed, "updated", instant(changes[0].at) if changes else quiet_since)
    own = {"rel": "self", "type": "application/atom+xml", "href": f"{site}/feeds/alerts.atom{query}"}
    SubElement(feed, "link", own)
    SubElement(feed, "link", {"rel": "alternate", "type": "text/html", "href": f"{site}/{language}/"})
    add_text(SubElement(feed, "author"), "name", "Vigie")
    for change in changes:
        _add_entry(feed, change, site, language)
    written: bytes = tostring(feed, encoding="utf-8", xml_declaration=True)
    return written


def _add_entry(feed: Element, change: PublishedChange, site: str, language: str) -> None:
    facts = change.facts
    entry = SubElement(feed, "entry")
    add_text(entry, "id", f"urn:vigie:alert:{change.alert_id}:{change.number}:{language}")
    add_text(entry, "title", facts["headline"][language])
    for name in ("updated", "published"):
        add_text(entry, name, instant(change.at))
    alert = f"{site}/v1/alerts/{change.alert_id}"
    page = {"rel": "alternate", "type": "text/html", "href": f"{site}/{language}/alerts/{change.alert_id}"}
    SubElement(entry, "link", page)
    message = {"rel": "alternate", "type": cap.MEDIA_TYPE, "href": f"{alert}/cap.xml?change={change.number}"}
    SubElement(entry, "link", message)
    for term, label in (
        (facts["outcome"], OUTCOME_LABELS[facts["outcome"]][language]),
        (facts["rule"], facts["title"][language]),
        (facts["location_code"], facts["name"][language]),
    ):
        SubElement(entry, "category", {"term": term, "label": label})
    add_text(entry, "content", facts["text"][language])
