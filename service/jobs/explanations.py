"""The explanations of a snapshot: drivers and neighbour effects. Unchanged ones are taken from the snapshot before.

Explanations take most of the time of a recompute. Each is stored with a digest of all that it was computed from. If the
next snapshot has the same digest, it has the same explanation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np

from riskmodel import __version__
from riskmodel.assessment import EARLIER_ORIGINS, Assessment
from riskmodel.bundle import Bundle
from riskmodel.explanation import drivers, narrative, neighbour_effects
from riskmodel.explanation.drivers import BACKGROUNDS, HISTORY_MONTHS, TARGETS

Digests = dict[str, Any]
"""`neighbour_effects`: one digest; `drivers`: digests by country and background."""


@dataclass(frozen=True)
class Explanations:
    """What a snapshot says: `drivers` by country, None if it has no forecast; neighbour effects; and their digests."""

    drivers: Mapping[str, dict[str, Any] | None]
    neighbour_effects: dict[str, Any]
    digests: Digests


def explain(
    bundle: Bundle, assessed: Assessment, served: Mapping[str, Mapping[str, float]], before: Mapping[str, Any] | None
) -> Explanations:
    """Return the explanations of a region's scores.

    `served` has the targets of each country that is forecast, as the snapshot serves them [points]. `before` is the
    same outcome's part of the snapshot in service, if there is one.
    """
    digests = _digests(bundle, assessed, served)
    known: Digests = (before or {}).get("explanation_digests") or {"drivers": {}, "neighbour_effects": None}
    earlier = {country["location_code"]: country["drivers"] for country in (before or {}).get("countries", ())}
    reused = {
        (iso3, background)
        for iso3, by_background in digests["drivers"].items()
        for background, digest in by_background.items()
        if earlier.get(iso3) and known["drivers"].get(iso3, {}).get(background) == digest
    }
    computed = drivers.compute(bundle.model, assessed, lambda iso3, background: (iso3, background) not in reused)
    payloads: dict[str, dict[str, Any] | None] = dict.fromkeys(assessed.members)
    for iso3, targets in served.items():
        if (splits := computed[iso3]) is None:
            continue
        payload = narrative.drivers_payload(splits, assessed, iso3, targets, drivers.families_read(bundle.model))
        for background in BACKGROUNDS:
            if (iso3, background) in reused:
                for target in TARGETS:
                    payload[target] |= {b: s for b, s in earlier[iso3][target].items() if b == background}
        payloads[iso3] = payload
    if before is not None and known["neighbour_effects"] == digests["neighbour_effects"]:
        effects: dict[str, Any] = before["neighbour_effects"]
    else:
        effects = narrative.neighbour_effects_payload(neighbour_effects.compute(bundle.model, assessed))
    return Explanations(payloads, effects, digests)


def _digests(bundle: Bundle, assessed: Assessment, served: Mapping[str, Mapping[str, float]]) -> Digests:
    """Return the digests of everything that each explanation and its sentences are computed from."""
    panel = assessed.panel
    program = (__version__, bundle.digest, panel.outcome, panel.names)
    now, year = panel.values[:, -1], panel.values[:, -1 - EARLIER_ORIGINS :]
    history = panel.deaths[:, -HISTORY_MONTHS - EARLIER_ORIGINS :]
    region = (panel.iso3, now, history[:, -HISTORY_MONTHS:])
    by_country = {}
    for iso3, targets in served.items():
        row = panel.iso3.index(iso3)
        own = (program, iso3, dict(targets))
        by_country[iso3] = {
            "own_year": joblib.hash((*own, year[row], history[row])),
            "region": joblib.hash((*own, *region)),
        }
    inputs = assessed.inputs.last(neighbour_effects.NEIGHBOUR_MONTHS)
    events = inputs.events and dict(vars(inputs.events))
    surroundings = (inputs.iso3, inputs.months.astype(np.int64), dict(inputs.tables), events)
    expected = assessed.expected.since(inputs.months[0]).deaths[assessed.outcome]
    return {
        "drivers": by_country,
        "neighbour_effects": joblib.hash((program, assessed.members, region, surroundings, expected)),
    }
