"""Narrative: sentences that state what was computed, in English and in French."""

import re
from dataclasses import replace

import numpy as np
import pytest

from riskmodel.assessment import Assessment
from riskmodel.explanation import drivers, narrative
from riskmodel.forecasting.pool import Pool
from riskmodel.indicators.panel import INDICATORS


def test_sentences_state_what_was_computed_in_both_languages(pool: Pool, assessment: Assessment) -> None:
    splits = drivers.compute(pool, assessment)["MLI"]
    score = splits["own_year"]["risk_score"].value
    served, read = dict.fromkeys(drivers.TARGETS, score), drivers.families_read(pool)
    payload = narrative.drivers_payload(splits, assessment, "MLI", served, read)
    split = payload["risk_score"]["own_year"]
    assert [family["family"] for family in split["families"]] == ["intensity", "spillover"]  # what the model reads
    assert sum(family["contribution"] for family in split["families"]) == pytest.approx(split["difference"], abs=0.1)
    assert split["rounding"] == 0
    assert split["sentence"]["en"].startswith("Mali (state-based conflict): risk score ")
    assert "points associated with: " in split["sentence"]["en"]
    assert split["sentence"]["fr"].startswith("Mali (conflits impliquant un État)\xa0: score de risque de ")
    assert payload["events"] == {}


def test_plurals_and_french_spaces_follow_the_language(pool: Pool, assessment: Assessment) -> None:
    split = drivers.compute(pool, assessment)["MLI"]["own_year"]
    one = {target: replace(split[target], value=1.0, average=2.0) for target in drivers.TARGETS}
    served, read = dict.fromkeys(drivers.TARGETS, 1.0), drivers.families_read(pool)
    payload = narrative.drivers_payload({"own_year": one}, assessment, "MLI", served, read)
    risk, escalation = (payload[target]["own_year"]["sentence"] for target in drivers.TARGETS)
    assert "1.0 point below" in risk["en"]
    assert "1,0 point au-dessous" in risk["fr"]
    assert "1.0 percentage point below" in escalation["en"]
    assert "de 1,0\xa0%, 1,0 point de pourcentage au-dessous" in escalation["fr"]
    texts = [risk["fr"], payload["method"]["fr"]]
    texts += [
        one["missing"]["fr"] for family in narrative.families_payload("state_based") for one in family["indicators"]
    ]
    texts += [family["sentence"]["fr"] for family in payload["risk_score"]["own_year"]["families"]]
    assert not [text for text in texts if re.search(" [:;%?!]|\\d \\d", text)]


def test_numbers_follow_the_language() -> None:
    assert narrative.format_number(1234.56, "en") == "1,234.6"
    assert narrative.format_number(-0.04, "en", signed=True) == "0.0"
    assert narrative.format_number(2.5, "en", signed=True) == "+2.5"
    assert narrative.format_number(-2.5, "fr", signed=True) == "−2,5"
    log, share = (next(i for i in INDICATORS if i.scale == scale) for scale in ("log1p", "share"))
    assert narrative.format_value(log, float(np.log1p(19)), "en") == "19"
    assert narrative.format_value(share, 0.054, "en") == "5.4%"
    assert narrative.format_value(share, 0.054, "fr").replace("\xa0", " ").replace("\u202f", " ") == "5,4 %"
    assert narrative.format_value(log, float("nan"), "fr") == "inconnu"
