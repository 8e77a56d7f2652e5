"""Countries at `/v1/countries`: those of the region, with their names, capitals and neighbours."""

from flask import Blueprint

from riskmodel import geography
from service.api.endpoints import OutcomeQuery, Payload, endpoint
from service.api.shared_schemas import CountryRef, LocalizedText, Meta, described
from service.api.tabular import as_csv
from service.http.request_context import request_session

resource = Blueprint("countries", __name__)


class Country(CountryRef):
    """A country of the region."""

    name: LocalizedText
    capital: str
    latitude: float = described("of the capital [degrees, WGS 84]")
    longitude: float = described("of the capital [degrees, WGS 84]")
    neighbours: list[str] = described("ISO alpha-3 codes of the neighbours by land, in the region or not")
    focal: bool = described("true: the region is this country and its neighbours")
    served: bool = described("true: the country has a score in the snapshot in service")
    reasons: dict[str, str] = described("why the country has no score")


class CountriesResponse(Meta):
    """The countries of the region: the focal country first, then by name."""

    data: list[Country]


def _rows(payload: Payload) -> list[dict[str, object]]:
    return [{**row, "name_fr": row["name"]["fr"]} for row in payload["data"]]


COUNTRY_COLUMNS = [
    *("location_code", "location_name", "name_fr", "capital", "latitude", "longitude", "neighbours", "focal", "served"),
    "reasons",
]


@endpoint(
    resource,
    "/v1/countries",
    "List the countries of the region",
    CountriesResponse,
    query=OutcomeQuery,
    formats=[as_csv(_rows, COUNTRY_COLUMNS)],
    problems=("no-outcome",),
)
def countries(query: OutcomeQuery) -> Payload:
    """Return the countries of the region. There need not be a snapshot."""
    with request_session() as session:
        view = session.find_served(query.outcome)
        scored = {row["location_code"]: row for row in view.countries} if view else {}
        region = geography.region(session.settings.region)
        rows = []
        for place in map(geography.country, region.members):
            row = scored.get(place.iso3, {"risk_score": None, "reasons": {}})
            has_score = row["risk_score"] is not None
            reasons = {} if has_score else {"served": row["reasons"].get("risk_score", "no_snapshot")}
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
                    "served": has_score,
                    "reasons": reasons,
                }
            )
        return {"data": rows, **session.meta(view)}
