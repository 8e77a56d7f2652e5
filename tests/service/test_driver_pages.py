"""Pages show drivers, indicators and neighbour effects in the page's language, and stay light with all of them."""

import csv
import random
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from html_page import get_page
from snapshot_documents import CONTRIBUTIONS, SCORES
from snapshots_support import SnapshotHome

from riskmodel.explanation import narrative
from riskmodel.indicators.panel import FAMILIES
from service.drawing.language import LOCALES
from service.web import driver_view
from service.web.neighbour_matrix import neighbour_matrix


@pytest.fixture
def home(tmp_path: Path) -> SnapshotHome:
    return SnapshotHome(tmp_path / "home")


@pytest.fixture
def issued(home: SnapshotHome) -> dict[str, Any]:
    home.add_ingests("real")
    return home.issue()


def test_the_country_page_shows_what_drives_the_score(issued: dict[str, Any], client: FlaskClient) -> None:
    text = get_page(client, "/country/MLI?lang=en").text
    section = text.split("What drives the score")[1].split("Forecast for the next twelve months")[0]
    assert "81.4 against its own year." in section
    families = ("Intensity +4.0", "Spill-over −0.9", "Capital and sites 0.0")
    assert "People" not in section
    positions = [section.index(family) for family in families]
    assert positions == sorted(positions)
    assert "Total +3.1 points" in section
    assert "Compared with the region’s average 81.4 against the region." in section
    assert "Escalation, from the forecast draws 32.6 against its own year." in section
    assert "Total +3.1 percentage points" in section
    assert "Capital and sites: 0.0 points." in section
    assert "These are associations, not causes. An invented method." in section


def test_the_country_page_shows_what_stands_out(issued: dict[str, Any], client: FlaskClient) -> None:
    text = get_page(client, "/country/MLI?lang=en").text
    section = text.split("What stands out")[1].split("What drives the score")[0]
    assert "Events near the capital: 19, the highest in five years. An escalation followed in 45 %" in section
    assert "23 July 2022, Kati: 2 deaths event 424243" in section
    assert "1 indicator could not be compared with its past." in section
    assert "Signals are observations." in section
    french = get_page(client, "/country/MLI?lang=fr").text
    assert "Ce qui ressort" in french
    assert "19, le niveau le plus élevé en cinq ans" in french
    assert "Nothing stands out against the country’s own past." in get_page(client, "/country/BFA?lang=en").text
    assert "the month is not covered by the data" in get_page(client, "/country/MRT?lang=en").text


def test_the_country_page_folds_all_but_five_signals(
    home: SnapshotHome, issued: dict[str, Any], client: FlaskClient
) -> None:
    mali = issued["countries"][0]
    mali["signals"] = mali["signals"] * 7
    home.replace(issued)
    section = get_page(client, "/country/MLI?lang=en").text.split("What stands out")[1]
    assert section.split("2 more signals")[0].count("Events near the capital: 19") == 5
    assert "2 autres signaux" in get_page(client, "/country/MLI?lang=fr").text


def test_signals_are_a_table_with_a_row_for_each_country(issued: dict[str, Any], client: FlaskClient) -> None:
    rows = list(csv.DictReader(client.get("/v1/signals.csv").text.splitlines()))
    assert len(rows) == len(issued["countries"])
    assert [(row["location_code"], row["value"]) for row in rows if row["indicator"]] == [("MLI", "19")]
    assert {row["location_code"]: row["reasons"] for row in rows}["MRT"] == "signals=value_unknown"
    assert client.get("/v1/signals/MLI").json["data"] == next(
        each for each in client.get("/v1/signals").json["data"] if each["location_code"] == "MLI"
    )


def test_the_indicators_and_events_behind_a_family_are_named(issued: dict[str, Any], client: FlaskClient) -> None:
    english, french = (get_page(client, f"/country/MLI?lang={lang}").text for lang in ("en", "fr"))
    assert "Deaths over 12 months: +2.6 ± 0.05" in english
    assert english.index("Deaths over 12 months: +2.6") < english.index("own deaths, month by month: +1.4")
    assert english.count("22 July 2022, Kati: 7 deaths event 424242") == 1
    assert "1 December 2022, Burkina Faso: 1 death event 17" in english
    assert "22 juillet 2022, Kati : 7 morts événement 424242" in french


def test_the_country_page_shows_its_drivers_in_french(issued: dict[str, Any], client: FlaskClient) -> None:
    text = get_page(client, "/country/MLI?lang=fr").text
    for expected in (
        "Ce qui fait varier le score",
        "81.4 par rapport à sa propre année.",
        "Intensité +4,0",
        "Voisinage −0,9",
        "Ce sont des associations, et non des causes. Une méthode inventée.",
        "Les morts du pays, mois par mois : +1,4",
        "Événements associés :",
    ):
        assert expected in text, expected
    assert "against" not in text


def test_indicators_are_written_as_people_read_them(issued: dict[str, Any], client: FlaskClient) -> None:
    english, french = (get_page(client, f"/country/MLI?lang={lang}").rows for lang in ("en", "fr"))
    for row in (
        "↑ Deaths over 12 months 153 80",
        "· Months with 25 deaths 41.7% 0%",
        "↑ Events near the capital – a month is not covered 19 –",
        "↓ Distance of the deaths [km] 516.2 781",
        "↑ Deaths next door 0 3",
        "↑ Displaced persons – the required data are not in the archive – –",
    ):
        assert any(shown.startswith(row) for shown in english), row
    for row in (
        "· Mois comptant 25 morts 41,7 % 0 %",
        "↓ Éloignement des morts [km] 516,2 781",
        "↑ Personnes déplacées – les données nécessaires ne sont pas dans l’archive – –",
    ):
        assert any(shown.startswith(row) for shown in french), row
    quiet = get_page(client, "/country/MRT?lang=en")
    assert quiet.rows[1] == "↑ Deaths over 12 months – a month is not covered – –"
    assert "Intensity 0 of 2 known" in quiet.text


def test_directions_have_a_text_for_screen_readers(issued: dict[str, Any], client: FlaskClient) -> None:
    spans = get_page(client, "/country/MLI?lang=fr").attributes_of("span")
    texts = [span["aria-label"] for span in spans if span.get("role")]
    assert texts.count("va de pair avec plus de violence") == 4
    assert texts.count("va de pair avec moins de violence") == 1
    assert texts.count("pas de sens établi") == 1


def test_the_region_page_shows_neighbour_effects(issued: dict[str, Any], client: FlaskClient) -> None:
    page = get_page(client, "/?lang=en")
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
    assert "Une association, et non une cause." in get_page(client, "/?lang=fr").text


def test_each_country_s_main_factor_is_shown_under_its_score(issued: dict[str, Any], client: FlaskClient) -> None:
    rows = get_page(client, "/?lang=en").rows[1:9]
    assert ["main factor: Intensity +4.0" in row for row in rows] == [True] * 7 + [False]
    assert "principal facteur : Intensité +4,0" in get_page(client, "/?lang=fr").rows[1]


def test_what_is_not_computed_is_named_and_not_drawn(
    home: SnapshotHome, issued: dict[str, Any], client: FlaskClient
) -> None:
    assert get_page(client, "/").has_heading("neighbour-effects")
    issued["neighbour_effects"] = None
    mali, burkina = issued["countries"][0], issued["countries"][2]
    mali["drivers"], mali["reasons"]["drivers"] = None, "not_asked"
    del burkina["drivers"]["risk_score"]["own_year"], burkina["drivers"]["escalation_from_draws"]["own_year"]
    home.replace(issued)
    assert "not computed: switched off in the settings" in get_page(client, "/country/MLI?lang=en").text
    burkina_text = get_page(client, "/country/BFA?lang=en").text
    assert "against its own year" not in burkina_text
    assert "86.2 against the region." in burkina_text
    region = get_page(client, "/?lang=en")
    assert not region.has_heading("neighbour-effects")
    assert ["main factor" in row for row in region.rows[1:9]] == [False, False, *[True] * 5, False]


def test_the_model_of_the_escalation_probability_is_named_apart_from_the_draws_that_drivers_explain(
    issued: dict[str, Any], client: FlaskClient
) -> None:
    for lang, model, heading in (
        ("en", "model: average of draws and a regression", "Escalation, from the forecast draws"),
        ("fr", "modèle : moyenne des tirages et d’une régression", "Escalade, d’après les tirages de la prévision"),
    ):
        text = get_page(client, f"/country/MLI?lang={lang}").text
        assert model in text
        assert heading in text


def test_explanations_are_escaped(home: SnapshotHome, issued: dict[str, Any], client: FlaskClient) -> None:
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
    home: SnapshotHome, issued: dict[str, Any], client: FlaskClient, lang: str
) -> None:
    home.replace(with_all_indicators(issued))
    for path, largest in (("/", 8_000), ("/country/MLI", 25_000)):
        response = client.get(f"{path}?lang={lang}", headers={"Accept-Encoding": "gzip"})
        assert response.status_code == 200
        assert len(response.data) < largest, path
    html = client.get(f"/country/MLI?lang={lang}").text
    assert html.count("<td>") > 2 * sum(len(family.indicators) for family in FAMILIES)


def with_all_indicators(issued: dict[str, Any]) -> dict[str, Any]:
    """Return the snapshot with all indicators that Vigie declares, invented values, and three drivers a family."""
    rng, declared = random.Random(4), narrative.families_payload("state_based")
    names = [indicator["name"] for family in declared for indicator in family["indicators"]]
    for family in declared:
        for indicator in family["indicators"]:
            indicator["input_missing"] = rng.random() < 0.1
    for country in (country for country in issued["countries"] if country["drivers"]):
        for key in ("indicators", "indicators_before"):
            country[key] = {name: None if rng.random() < 0.1 else round(rng.uniform(0, 7), 4) for name in names}
        for target in ("risk_score", "escalation_from_draws"):
            for split in country["drivers"][target].values():
                split["families"] = [contribution_of(family, rng) for family in declared]
        events = [
            {"event_id": str(number), "date": "2022-07-22", "iso3": "MLI", "deaths": number % 60, "where": "Kati"}
            for number in rng.sample(range(400_000, 500_000), 5)
        ]
        country["drivers"]["events"] = {family["name"]: events for family in declared}
    return {**issued, "indicator_families": declared}


def contribution_of(family: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    top = rng.sample(family["indicators"], 3)
    sentence = {
        lang: "; ".join(
            f"{indicator['meaning'][lang]}: {rng.randrange(999)} ({rng.randrange(999)})" for indicator in top
        )
        for lang in LOCALES
    }
    indicators = [
        {"name": indicator["name"], "contribution": round(rng.gauss(0, 2), 2), "standard_error": round(rng.random(), 3)}
        for indicator in top
    ]
    return {
        "family": family["name"],
        "contribution": rng.gauss(0, 3),
        "sentence": sentence,
        "indicators": indicators,
        "other_indicators": 0.12,
    }


def test_the_main_family_has_the_largest_contribution_of_either_sign() -> None:
    def main_family(**contributions: float) -> Any:
        families = [{"family": name, "contribution": points} for name, points in contributions.items()]
        family = driver_view.main_family({"drivers": {"risk_score": {"own_year": {"families": families}}}})
        return family and family["family"]

    assert main_family(**CONTRIBUTIONS) == "intensity"
    assert main_family(intensity=1.0, capital=-2.0) == "capital"
    assert main_family(intensity=0.04, capital=0.0) is None
    assert driver_view.main_family({"drivers": {"risk_score": {}}}) is None
    assert driver_view.main_family({"drivers": None}) is None


def test_the_neighbour_matrix_is_shaded_by_sign_and_size(issued: dict[str, Any]) -> None:
    issued["neighbour_effects"]["pairs"] = [
        {"from": "MLI", "to": "BFA", "points": 3.0, "share": 0.1},
        {"from": "MLI", "to": "NER", "points": 0.5, "share": 0.1},
        {"from": "BFA", "to": "MLI", "points": -1.5, "share": -0.1},
        {"from": "BFA", "to": "NER", "points": 0.04, "share": 0.0},
        {"from": "SEN", "to": "MRT", "points": None, "share": None, "reason": "not_forecast"},
    ]
    issued["neighbour_effects"]["all"] = []
    matrix = neighbour_matrix(issued)
    assert matrix is not None
    cells = {
        (source, target): cell
        for source, row in matrix.rows
        for target, cell in zip(matrix.members, row, strict=True)
        if cell.bordering
    }
    assert {pair: cell.shade for pair, cell in cells.items()} == {
        ("MLI", "BFA"): "increase-3",
        ("MLI", "NER"): "increase-1",
        ("BFA", "MLI"): "decrease-2",
        ("BFA", "NER"): "",
        ("SEN", "MRT"): "",
    }
    assert matrix.members == tuple(country["location_code"] for country in issued["countries"])
    assert set(matrix.members) == SCORES.keys()
    assert matrix.reasons == ("not_forecast",)
