"""What pages say of drivers, indicators and neighbours: in words of the page's language, and light with all of them."""

import random
import re
from math import log1p
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from issued import CONTRIBUTIONS, SCORES, Issuer, without_explanations
from test_pages import Page

from riskmodel.explanation import narrative
from riskmodel.indicators.panel import FAMILIES
from service.drawing import charts, labels
from service.drawing.language import LOCALES, language
from service.web import explained


@pytest.fixture
def home(tmp_path: Any) -> Issuer:
    return Issuer(tmp_path / "home")


@pytest.fixture
def issued(home: Issuer) -> dict[str, Any]:
    home.hold("real")
    return home.issue()


def _page(client: FlaskClient, path: str) -> Page:
    answer = client.get(path)
    assert answer.status_code == 200
    return Page(answer.text)


def test_the_country_page_says_what_drives_the_score(issued: dict[str, Any], client: FlaskClient) -> None:
    text = _page(client, "/country/MLI?lang=en").text
    told = text.split("What drives the score")[1].split("Twelve months ahead")[0]
    assert "81.4 against its own year." in told
    order = [told.index(said) for said in ("Intensity +4.0", "Spill-over −0.9", "Capital and sites 0.0", "People 0.0")]
    assert order == sorted(order)
    assert "Together +3.1 points" in told
    assert "The same against the region’s average 81.4 against the region." in told
    assert "Escalation, as the draws imply it 32.6 against its own year." in told
    assert "Together +3.1 percentage points" in told
    assert "Capital and sites: 0.0 points." in told
    assert "Association, not cause. An invented method." in told


def test_the_indicators_and_events_behind_a_family_are_named(issued: dict[str, Any], client: FlaskClient) -> None:
    english, french = (_page(client, f"/country/MLI?lang={lang}").text for lang in ("en", "fr"))
    assert "Deaths over 12 months: +2.6 ± 0.05" in english
    assert english.index("Deaths over 12 months: +2.6") < english.index("own deaths, month by month: +1.4")
    assert english.count("22 July 2022, Kati: 7 deaths event 424242") == 1
    assert "1 December 2022, Burkina Faso: 1 death event 17" in english
    assert "22 juillet 2022, Kati : 7 morts événement 424242" in french


def test_the_country_page_speaks_french_of_its_drivers(issued: dict[str, Any], client: FlaskClient) -> None:
    text = _page(client, "/country/MLI?lang=fr").text
    for said in (
        "Ce qui porte le score",
        "81.4 par rapport à sa propre année.",
        "Intensité +4,0",
        "Voisinage −0,9",
        "Association, et non cause. Une méthode inventée.",
        "Les morts du pays, mois par mois : +1,4",
        "Événements sous-jacents :",
    ):
        assert said in text, said
    assert "against" not in text


def test_indicators_are_written_as_people_read_them(issued: dict[str, Any], client: FlaskClient) -> None:
    english, french = (_page(client, f"/country/MLI?lang={lang}").rows for lang in ("en", "fr"))
    for row in (
        "↑ Deaths over 12 months 153 80",
        "· Months with 25 deaths 41.7% 0%",
        "↑ Events near the capital – a month is not covered 19 –",
        "↓ Distance of the deaths [km] 516.2 781",
        "↑ Deaths next door 0 3",
        "↑ Displaced persons – the data it needs are not in the archive – –",
    ):
        assert any(shown.startswith(row) for shown in english), row
    for row in (
        "· Mois comptant 25 morts 41,7 % 0 %",
        "↓ Éloignement des morts [km] 516,2 781",
        "↑ Personnes déplacées – les données nécessaires ne sont pas dans l’archive – –",
    ):
        assert any(shown.startswith(row) for shown in french), row
    quiet = _page(client, "/country/MRT?lang=en")
    assert quiet.rows[1] == "↑ Deaths over 12 months – a month is not covered – –"
    assert "Intensity 0 of 2 known" in quiet.text


def test_directions_are_told_to_those_who_do_not_see_arrows(issued: dict[str, Any], client: FlaskClient) -> None:
    aria_labels = [tag["aria-label"] for tag in _page(client, "/country/MLI?lang=fr").named("span") if tag.get("role")]
    assert aria_labels.count("va de pair avec plus de violence") == 4
    assert aria_labels.count("va de pair avec moins de violence") == 1
    assert aria_labels.count("aucun sens affirmé") == 1


def test_the_region_page_shows_what_goes_with_a_neighbour(issued: dict[str, Any], client: FlaskClient) -> None:
    page = _page(client, "/?lang=en")
    points = {(pair["from"], pair["to"]): pair["points"] for pair in issued["neighbour_effects"]["pairs"]}
    (mali,) = [row for row in page.rows if row.startswith("Mali MLI")]
    assert mali.split()[2:] == [
        "–" if points["MLI", to] is None else f"{points['MLI', to]:.1f}".replace("-", "−")
        for to in (country["location_code"] for country in issued["countries"])
        if to != "MLI"
    ]
    (senegal,) = [row for row in page.rows if row.startswith("Senegal SEN")]
    assert len(senegal.split()) == 2 + sum(one == "SEN" for one, _ in points)
    assert "An association, not a cause." in page.text
    assert "–: unknown (not forecast)." in page.text
    assert "Une association, et non une cause." in _page(client, "/?lang=fr").text


def test_each_country_s_leading_family_stands_by_its_score(issued: dict[str, Any], client: FlaskClient) -> None:
    rows = _page(client, "/?lang=en").rows[1:9]
    assert ["mainly Intensity +4.0" in row for row in rows] == [True] * 7 + [False]
    assert "surtout Intensité +4,0" in _page(client, "/?lang=fr").rows[1]


@pytest.mark.parametrize("lang", LOCALES)
def test_pages_of_a_snapshot_of_before_explanations_have_none(
    home: Issuer, issued: dict[str, Any], client: FlaskClient, lang: str
) -> None:
    home.replace(without_explanations(issued))
    for path in ("/", "/country/MLI", "/country/MRT"):
        page = _page(client, f"{path}?lang={lang}")
        assert not page.named("details")
        assert not [tag for tag in page.named("h2") if tag.get("id") in ("drivers", "indicators", "neighbour-effects")]
        assert not re.search("mainly|surtout", page.text)


def test_what_is_not_computed_is_said_and_not_drawn(home: Issuer, issued: dict[str, Any], client: FlaskClient) -> None:
    issued["neighbour_effects"] = None
    mali, burkina = issued["countries"][0], issued["countries"][2]
    mali["drivers"], mali["reasons"]["drivers"] = None, "not_asked"
    del burkina["drivers"]["risk_score"]["own_year"], burkina["drivers"]["escalation_from_draws"]
    home.replace(issued)
    assert "not computed: the settings switch it off" in _page(client, "/country/MLI?lang=en").text
    partly = _page(client, "/country/BFA?lang=en").text
    assert "against its own year" not in partly
    assert "86.2 against the region." in partly
    assert not [tag for tag in _page(client, "/").named("h2") if tag.get("id") == "neighbour-effects"]


def test_whose_word_escalation_is_stands_beside_it_and_is_not_mixed_up_with_what_drivers_are_of(
    home: Issuer, issued: dict[str, Any], client: FlaskClient
) -> None:
    for lang, said_by, heading in (
        ("en", "said by: draws and regression", "Escalation, as the draws imply it"),
        ("fr", "selon : les tirages et une régression", "Escalade, selon les tirages"),
    ):
        shown = _page(client, f"/country/MLI?lang={lang}").text.replace("\xa0", " ")
        assert said_by in shown
        assert heading in shown
    mali = issued["countries"][0]
    for name in ("escalation_model", "escalation_from_draws", "onset_model"):
        del mali[name]
    mali["drivers"]["escalation_probability"] = mali["drivers"].pop("escalation_from_draws")
    home.replace(issued)
    older = _page(client, "/country/MLI?lang=en").text
    assert "said by" not in older
    assert "as the draws imply it" not in older
    assert older.count("against its own year.") == 2


def test_explanations_from_outside_cannot_become_markup(
    home: Issuer, issued: dict[str, Any], client: FlaskClient
) -> None:
    bad, drivers = "<script>alert(1)</script>", issued["countries"][0]["drivers"]
    drivers["method"]["en"] = drivers["risk_score"]["own_year"]["sentence"]["en"] = bad
    drivers["events"]["intensity"][0]["where"] = bad
    issued["neighbour_effects"]["note"]["en"] = bad
    issued["indicator_families"][0]["title"]["en"] = bad
    issued["indicator_families"][0]["indicators"][0]["meaning"]["en"] = bad
    home.replace(issued)
    for path in ("/?lang=en", "/country/MLI?lang=en"):
        html = client.get(path).text
        assert "<script" not in html
        assert html.count("&lt;script&gt;") >= 2


@pytest.mark.parametrize("lang", LOCALES)
def test_pages_stay_light_with_all_indicators(
    home: Issuer, issued: dict[str, Any], client: FlaskClient, lang: str
) -> None:
    home.replace(_in_full(issued))
    for path, most in (("/", 8_000), ("/country/MLI", 25_000)):
        answer = client.get(f"{path}?lang={lang}", headers={"Accept-Encoding": "gzip"})
        assert answer.status_code == 200
        assert len(answer.data) < most, path
    shown = client.get(f"/country/MLI?lang={lang}").text
    assert shown.count("<td>") > 2 * sum(len(family.indicators) for family in FAMILIES)


def _in_full(issued: dict[str, Any]) -> dict[str, Any]:
    """The same with all that Vigie declares, invented values and three indicators told of each family."""
    rng, declared = random.Random(4), narrative.declared("state_based")
    names = [indicator["name"] for family in declared for indicator in family["indicators"]]
    for family in declared:
        for indicator in family["indicators"]:
            indicator["absent"] = rng.random() < 0.1
    for country in (country for country in issued["countries"] if country["drivers"]):
        for key in ("indicators", "indicators_before"):
            country[key] = {name: None if rng.random() < 0.1 else round(rng.uniform(0, 7), 4) for name in names}
        for target in ("risk_score", "escalation_from_draws"):
            for split in country["drivers"][target].values():
                split["families"] = [_told(family, rng) for family in declared]
        events = [
            {"event_id": str(number), "date": "2022-07-22", "iso3": "MLI", "deaths": number % 60, "where": "Kati"}
            for number in rng.sample(range(400_000, 500_000), 5)
        ]
        country["drivers"]["events"] = {family["name"]: events for family in declared}
    return {**issued, "indicator_families": declared}


def _told(family: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    top = rng.sample(family["indicators"], 3)
    sentence = {
        lang: "; ".join(
            f"{indicator['meaning'][lang]}: {rng.randrange(999)} ({rng.randrange(999)})" for indicator in top
        )
        for lang in LOCALES
    }
    parts = [
        {"name": indicator["name"], "contribution": round(rng.gauss(0, 2), 2), "standard_error": round(rng.random(), 3)}
        for indicator in top
    ]
    return {"family": family["name"], "contribution": rng.gauss(0, 3), "sentence": sentence, "indicators": parts}


def test_units_of_all_declared_indicators_have_words() -> None:
    shown = {one.unit for family in FAMILIES for one in family.indicators if one.scale == "number"}
    assert shown - labels.UNITS.keys() == set()
    assert labels.UNITS.keys() - shown == set()


def test_the_family_that_leads_is_the_greatest_of_either_sign() -> None:
    def leading(**contributions: float) -> Any:
        families = [{"family": name, "contribution": points} for name, points in contributions.items()]
        found = explained.leading({"drivers": {"risk_score": {"own_year": {"families": families}}}})
        return found and found["family"]

    assert leading(**CONTRIBUTIONS) == "intensity"
    assert leading(intensity=1.0, capital=-2.0) == "capital"
    assert leading(intensity=0.04, capital=0.0) is None
    assert explained.leading({"drivers": None}) is None
    assert explained.leading({}) is None


def test_the_matrix_is_shaded_by_sign_and_size(issued: dict[str, Any]) -> None:
    issued["neighbour_effects"]["pairs"] = [
        {"from": "MLI", "to": "BFA", "points": 3.0, "share": 0.1},
        {"from": "MLI", "to": "NER", "points": 0.5, "share": 0.1},
        {"from": "BFA", "to": "MLI", "points": -1.5, "share": -0.1},
        {"from": "BFA", "to": "NER", "points": 0.04, "share": 0.0},
        {"from": "SEN", "to": "MRT", "points": None, "share": None, "reason": "not_forecast"},
    ]
    issued["neighbour_effects"]["all"] = []
    matrix = explained.matrix(issued)
    assert matrix is not None
    cells = {
        (one, to): cell
        for one, row in matrix.rows
        for to, cell in zip(matrix.members, row, strict=True)
        if cell.bordering
    }
    assert {pair: cell.shade for pair, cell in cells.items()} == {
        ("MLI", "BFA"): "more-3",
        ("MLI", "NER"): "more-1",
        ("BFA", "MLI"): "less-2",
        ("BFA", "NER"): "",
        ("SEN", "MRT"): "",
    }
    assert matrix.members == tuple(country["location_code"] for country in issued["countries"])
    assert set(matrix.members) == SCORES.keys()
    assert matrix.reasons == ("not_forecast",)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=12))
def test_bars_are_as_long_as_their_values_and_begin_at_the_axis(values: list[float]) -> None:
    drawn = charts.bars(values)
    unit = 100 / max(max([0, *values]) - min([0, *values]), 1)
    for value, bar in zip(values, drawn.bars, strict=True):
        assert bar.width == pytest.approx(abs(value) * unit, abs=1e-9)
        assert (bar.x if value >= 0 else bar.x + bar.width) == pytest.approx(drawn.axis, abs=1e-9)
        assert -1e-9 <= bar.x <= bar.x + bar.width <= 100 + 1e-9
        assert bar.adds == (value > 0)


@pytest.mark.parametrize(
    ("value", "scale", "english", "french"),
    [
        (round(log1p(3), 4), "log1p", "3", "3"),
        (round(log1p(12345), 4), "log1p", "12,345", "12\u202f345"),
        (round(log1p(2.4), 4), "log1p", "2.4", "2,4"),
        (0.0, "log1p", "0", "0"),
        (0.001, "log1p", "< 0.1", "< 0,1"),
        (0.0538, "share", "5.4%", "5,4\xa0%"),
        (0.0, "share", "0%", "0\xa0%"),
        (1.0, "share", "100%", "100\xa0%"),
        (0.0001, "share", "< 0.1%", "< 0,1\xa0%"),
        (-1.234, "number", "−1.23", "−1,23"),
        (516.25, "number", "516.2", "516,2"),
        (-0.001, "number", "0", "0"),
    ],
)
def test_a_value_is_written_for_its_scale(value: float, scale: str, english: str, french: str) -> None:
    assert language("en").measured(value, scale) == english
    assert language("fr").measured(value, scale) == french


def test_points_have_their_sign_and_nothing_has_none() -> None:
    assert [language("fr").signed(points) for points in (4.02, -0.94, 0.04, -0.04)] == ["+4,0", "−0,9", "0,0", "0,0"]
    assert [language("en").whole_percent(share) for share in (0.034, -0.021, -0.001)] == ["3%", "−2%", "0%"]
