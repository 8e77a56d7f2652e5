"""Every indicator on small tables of events, as `docs/indicators.md` shows them."""

from pathlib import Path

import numpy as np
import pytest
from spec import Case, cases, page

from riskmodel.indicators.panel import FAMILIES, INDICATORS

CASES = [case for family in FAMILIES for case in cases(family.name)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_an_indicator_has_the_values_of_the_page(case: Case, tmp_path: Path) -> None:
    for label, value, expected in case.values(tmp_path):
        np.testing.assert_allclose(value, expected, rtol=2e-3, atol=1e-4, err_msg=label)


def test_every_indicator_has_a_known_value_other_than_zero() -> None:
    known = {row["indicator"] for case in CASES for row in case.expected if row["value"] not in ("?", "0")}
    assert {indicator.name for indicator in INDICATORS} - known == set()


def test_the_page_is_up_to_date() -> None:
    written = Path(__file__).parents[2] / "docs" / "indicators.md"
    assert written.read_text(encoding="utf-8") == page(), "python tests/riskmodel/spec.py > docs/indicators.md"
