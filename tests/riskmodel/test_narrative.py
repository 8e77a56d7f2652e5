"""Narrative: sentences that state what was computed, in English and in French."""

import re
from dataclasses import replace

import numpy as np
import pytest

from riskmodel.assessment import Assessment
from riskmodel.explanation import drivers, narrative
from riskmodel.forecasting.pool import Pool
from riskmodel.indicators.panel import FAMILIES, INDICATORS


def test_what_is_told_is_what_was_computed_in_both_languages(pool: Pool, assessment: Assessment) -> None:
    found = drivers.drivers(pool, assessment)["MLI"]
    score = found["own_year"]["risk_score"].value
    told = narrative.drivers_told(found, assessment, "MLI", dict.fromkeys(drivers.TARGETS, score))
    split = told["risk_score"]["own_year"]
    assert [family["family"] for family in split["families"]] == [family.name for family in FAMILIES]
    assert sum(family["contribution"] for family in split["families"]) == pytest.approx(split["difference"], abs=0.1)
    assert split["rounding"] == 0
    assert split["sentence"]["en"].startswith("Mali: risk score ")
    assert "points associated with: " in split["sentence"]["en"]
    assert split["sentence"]["fr"].startswith("Mali\xa0: score de risque de ")
    capital = next(family for family in split["families"] if family["family"] == "capital")
    assert capital["contribution"] == 0
    assert capital["sentence"]["en"].startswith("Capital and sites: 0.0 points (this model does not read it")
    assert "unknown" in capital["sentence"]["en"]
    assert "inconnu" in capital["sentence"]["fr"]
    assert told["events"] == {}


def test_points_are_counted_and_french_punctuation_is_bound_to_what_it_follows(
    pool: Pool, assessment: Assessment
) -> None:
    split = drivers.drivers(pool, assessment)["MLI"]["own_year"]
    one = {target: replace(split[target], value=1.0, average=2.0) for target in drivers.TARGETS}
    told = narrative.drivers_told({"own_year": one}, assessment, "MLI", dict.fromkeys(drivers.TARGETS, 1.0))
    risk, escalation = (told[target]["own_year"]["sentence"] for target in drivers.TARGETS)
    assert "1.0 point below" in risk["en"]
    assert "1,0 point au-dessous" in risk["fr"]
    assert "1.0 percentage point below" in escalation["en"]
    assert "de 1,0\xa0%, 1,0 point de pourcentage au-dessous" in escalation["fr"]
    texts = [risk["fr"], told["method"]["fr"]]
    texts += [one["missing"]["fr"] for family in narrative.declared("state_based") for one in family["indicators"]]
    texts += [family["sentence"]["fr"] for family in told["risk_score"]["own_year"]["families"]]
    assert not [text for text in texts if re.search(" [:;%?!]|\\d \\d", text)]


def test_numbers_are_written_as_the_language_writes_them() -> None:
    assert narrative.number(1234.56, "en") == "1,234.6"
    assert narrative.number(-0.04, "en", signed=True) == "0.0"
    assert narrative.number(2.5, "en", signed=True) == "+2.5"
    assert narrative.number(-2.5, "fr", signed=True) == "−2,5"
    log, share = (next(i for i in INDICATORS if i.scale == scale) for scale in ("log1p", "share"))
    assert narrative.value(log, float(np.log1p(19)), "en") == "19"
    assert narrative.value(share, 0.054, "en") == "5.4%"
    assert narrative.value(share, 0.054, "fr").replace("\xa0", " ").replace("\u202f", " ") == "5,4 %"
    assert narrative.value(log, float("nan"), "fr") == "inconnu"
