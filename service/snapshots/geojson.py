"""Scores as GeoJSON (RFC 7946): one point per country, at its capital."""

from collections.abc import Mapping
from typing import Any

from riskmodel import geography


def scores(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return a scores payload as a feature collection. The payload's other keys stand next to `features`."""
    features = []
    for row in payload["data"]:
        place = geography.country(row["location_code"])
        features.append(
            {
                "type": "Feature",
                "id": row["location_code"],
                "geometry": {"type": "Point", "coordinates": [place.longitude, place.latitude]},
                "properties": {
                    **row,
                    "capital": place.capital,
                    **{key: payload[key] for key in ("outcome", "outcome_label", "simulated")},
                },
            }
        )
    return {"type": "FeatureCollection", "features": features, **{k: v for k, v in payload.items() if k != "data"}}
