"""Countries at `/v1/countries`: those of the region, with their names, capitals and neighbours."""

from flask import Blueprint

from riskmodel import geography
from service.api.openapi import Payload, offers
from service.api.schemas import Called, Meta, Texts, key
from service.api.tabular import as_csv
from service.http.request_context import request_session

resource = Blueprint("countries", __name__)


class Country(Called):
    """A country of the region."""

    name: Texts
    capital: str
    latitude: float = key("of the capital [degrees, WGS 84]")
    longitude: float = key("of the capital [degrees, WGS 84]")
    neighbours: list[str] = key("by land, ISO alpha-3, of the region or not")
    focal: bool = key("the region is this country and its neighbours")
    served: bool = key("it has a score in the snapshot in service")
    reasons: dict[str, str] = key("why it is not served")


class Countries(Meta):
    """The region's countries, the focal one first, then by name."""

    data: list[Country]


def _rows(payload: Payload) -> list[dict[str, object]]:
    return [{**row, "name_fr": row["name"]["fr"]} for row in payload["data"]]


COLUMNS = [
    *("location_code", "location_name", "name_fr", "capital", "latitude", "longitude", "neighbours", "focal", "served"),
    "reasons",
]


@offers(resource, "/v1/countries", "The countries of the region", Countries, forms=[as_csv(_rows, COLUMNS)])
def countries() -> Payload:
    """The region's countries, also where nothing is computed yet."""
    with request_session() as session:
        served = session.find_served()
        scored = {row["location_code"]: row for row in served.countries} if served else {}
        region = geography.region(session.settings.region)
        rows = []
        for place in map(geography.country, region.members):
            row = scored.get(place.iso3, {"risk_score": None, "reasons": {}})
            known = row["risk_score"] is not None
            reasons = {} if known else {"served": row["reasons"].get("risk_score", "no_snapshot")}
            rows.append(
                {
                    "location_code": place.iso3,
                    "location_name": place.name(),
                    "name": {"en": place.name("en"), "fr": place.name("fr")},
                    "capital": place.capital,
                    "latitude": place.latitude,
                    "longitude": place.longitude,
                    "neighbours": list(place.neighbours),
                    "focal": place.iso3 == region.focal,
                    "served": known,
                    "reasons": reasons,
                }
            )
        return {"data": rows, **session.meta(served)}
