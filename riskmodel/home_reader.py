"""Read a home into pandas tables: deaths, events, indicators, forecasts and scores. For notebooks and scripts.

Nothing is written. Months are `datetime64`, the first day of the month. A value that is not known is NaN, and a column
says why. Every table has the column `simulated`; `DataFrame.attrs` says whether the data are SIMULATED, and the units.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from riskmodel import bundle, geography, hindcasts, signal_table
from riskmodel.assessment import region_origin, region_panel
from riskmodel.errors import BadInput
from riskmodel.events import table
from riskmodel.events.archive import Archive
from riskmodel.events.view import View
from riskmodel.explanation.signal_payload import NOTE
from riskmodel.explanation.signals import observe
from riskmodel.home import Home, default_home
from riskmodel.home_settings import region_of
from riskmodel.indicators.panel import FAMILIES
from riskmodel.moments import parse_past_moment
from riskmodel.months import Month, month
from riskmodel.outcomes import KINDS, OUTCOME_LABELS, OUTCOMES, CountryMonths, aligned, ranked
from riskmodel.reporting.release_class import RELEASE_CLASSES, UNKNOWN, UNSETTLED, release_classes
from riskmodel.scored_region import CountryForecast, ScoredRegion, model_of_view, score_region, score_table, timestamp

AsOf: TypeAlias = str | date | None
"""A past moment: a day (to its end, UTC) as text or date, or a moment with its offset from UTC. None is now."""
Countries: TypeAlias = str | Sequence[str] | None
"""ISO alpha-3 codes, one or several. None is what the method says."""

NOT_COVERED = "not_covered"
"""The reason of a country-month that no source covers."""
_NAME_COLUMNS = [name for name in table.SCHEMA.names if table.SCHEMA.field(name).type == table.NAMES]


def open_home(path: str | Path | None = None, *, region: str | None = None) -> "HomeReader":
    """Open a home for reading. The default is `VIGIE_HOME`, else the platform's folder for a user's data.

    `region` is the focal country of the region that is scored [ISO alpha-3]; the default is `VIGIE_REGION`, else that
    of the home's vigie.toml, else MLI. Raises BadInput if there is no home, or no such country.
    """
    home = Home(Path(path).expanduser() if path is not None else default_home())
    if not home.archive.is_dir():
        raise BadInput(
            f"{home.root} is no home with data: run `vigie up`, or `vigie ingest history`, or give the path of a home "
            "to open_home"
        )
    focal = region or os.environ.get("VIGIE_REGION") or region_of(home)
    return HomeReader(home, geography.region(focal).focal)


@dataclass(frozen=True)
class HomeReader:
    """A home, open for reading. `region` is the focal country of the region that is scored [ISO alpha-3].

    Each method reads the home as it is when it is called, or with `as_of` as it was known at a past moment. Methods
    raise BadInput, which says what to do, for a home without data or model and for unknown countries and outcomes.
    """

    home: Home
    region: str

    def deaths(
        self,
        outcome: str | None = None,
        *,
        countries: Countries = None,
        since: str | None = None,
        until: str | None = None,
        as_of: AsOf = None,
        shape: Literal["tidy", "wide"] = "tidy",
    ) -> pd.DataFrame:
        """Return the deaths of country-months as the archive reports them.

        `outcome` is `all`, `state_based`, `non_state` or `one_sided`; the default is `all` where it is known, else
        `state_based`. `countries` are all countries by default. `since` and `until` are months, YYYY-MM, included.

        Tidy: one row per country-month, with `deaths` [deaths], `reason` (`not_covered` where the deaths are NaN),
        `source`, `release_class` and `settled` (whether the figure is final; null where there is none). Wide: one row
        per month and one column per country [deaths].
        """
        view = self.view(as_of)
        observed = view.outcomes()
        outcome = _chosen(outcome or observed.default_outcome, KINDS)
        frame = _cut(observed, _codes(countries) or observed.iso3, since, until)
        deaths, source = frame.deaths[outcome], frame.source[outcome]
        facts = _facts(view, outcome, deaths="deaths")
        if shape == "wide":
            columns = pd.Index(frame.iso3, name="SIMULATED" if view.simulated else "iso3")
            return _with_attrs(pd.DataFrame(deaths.T, index=_month_index(frame.months), columns=columns), facts)
        classes = _classes(view, outcome, frame).ravel()
        labels = np.array([*(ingest.label for ingest in view.ingests), None], dtype=object)  # the last one is for −1
        names = np.array([*RELEASE_CLASSES, None], dtype=object)
        rows = pd.DataFrame(
            {
                **_country_months(frame.iso3, frame.months),
                "deaths": deaths.ravel(),
                "reason": pd.Series(NOT_COVERED, range(deaths.size)).where(np.isnan(deaths.ravel())),
                "source": labels[source.ravel()],
                "release_class": names[classes],
                "settled": pd.array(~np.isin(classes, UNSETTLED), dtype="boolean"),
                "outcome": outcome,
                "simulated": view.simulated,
            }
        )
        rows.loc[classes == UNKNOWN, "settled"] = pd.NA
        return _with_attrs(rows, facts)

    def events(
        self, countries: Countries = None, *, since: str | None = None, until: str | None = None, as_of: AsOf = None
    ) -> pd.DataFrame:
        """Return the events that count, each once, by day. `countries` are those of the region by default.

        `deaths` is the best estimate, between `deaths_low` and `deaths_high` [deaths]; `latitude` and `longitude` are
        in degrees; `date_prec` and `where_prec` are UCDP's precision codes, 1 the best; `flags` names what is odd
        about the row. A value that the source does not state is NaN. `attrs["not_covered"]` lists the country-months
        that no event file covers: there, no row does not mean no event. Raises BadInput if that is all of them.
        """
        view = self.view(as_of)
        observed = view.outcomes()
        frame = _cut(observed, _codes(countries) or self._members, since, until)
        covered = view.event_coverage(frame)
        if not covered.any():
            raise BadInput(
                f"no event file covers {', '.join(frame.iso3)} in these months: add one with `vigie ingest ucdp`, or "
                "run `vigie up --pull ucdp`. The deaths of months are in deaths()"
            )
        rows = view.events(table.SCHEMA.names).to_pandas()
        rows = rows.astype(dict.fromkeys(_NAME_COLUMNS, "str"))
        rows = rows.assign(**{name: pd.to_datetime(rows[name]) for name in ("date_start", "date_end")})
        first, end = (np.datetime64(when, "s") for when in (frame.months[0], frame.months[-1] + 1))
        inside = rows["iso3"].isin(frame.iso3) & (rows["date_start"] >= first) & (rows["date_start"] < end)
        rows = rows[inside].sort_values(["date_start", "event_id"], ignore_index=True)
        gaps = [
            f"{code} {when}"
            for code, row in zip(frame.iso3, covered, strict=True)
            for when in frame.months[~row].astype(str)
        ]
        facts = _facts(view, None, deaths="deaths", latitude="degrees", longitude="degrees")
        return _with_attrs(rows.assign(simulated=view.simulated), {**facts, "not_covered": gaps})

    def indicators(self, outcome: str | None = None) -> pd.DataFrame:
        """Return the declarations of the indicators, one row each, indexed by name.

        `unit`, `window` [months], `direction` (+1: higher values go with more violence, an association), `meaning`, and
        `missing`: what NaN means. `absent` is true where the archive does not have the data that an indicator needs.
        """
        view = self.view()
        outcome = self._outcome(view, outcome)
        absent = set(region_panel(view, self._members, outcome).absent)
        rows = [
            {
                "name": indicator.name,
                "family": family.name,
                "unit": indicator.unit,
                "window": indicator.window,
                "direction": indicator.direction,
                "meaning": indicator.meaning_for(outcome)["en"],
                "missing": indicator.missing["en"],
                "absent": indicator.name in absent,
                "simulated": view.simulated,
            }
            for family in FAMILIES
            for indicator in family.indicators
        ]
        return _with_attrs(pd.DataFrame(rows).set_index("name"), _facts(view, outcome, window="months"))

    def panel(
        self,
        outcome: str | None = None,
        *,
        since: str | None = None,
        until: str | None = None,
        as_of: AsOf = None,
        shape: Literal["tidy", "wide"] = "wide",
    ) -> pd.DataFrame:
        """Return the indicators of the region's countries, from deaths as they are reported.

        Wide: one row per country and month (the index), and one column per indicator, float32; `indicators()` says
        what NaN means in each. Tidy: one row per country, month and indicator, with `value`, `unit`, `family`, and
        `reason` where the value is NaN. A value at a month uses nothing after it.
        """
        view = self.view(as_of)
        outcome = self._outcome(view, outcome)
        panel = region_panel(view, self._members, outcome)
        start, stop = _bounds(panel.months, since, until)
        values, months = panel.values[:, start:stop], panel.months[start:stop]
        keys, facts = _country_months(panel.iso3, months), _facts(view, outcome)
        wide = pd.DataFrame(values.reshape(-1, len(panel.names)), columns=list(panel.names))
        wide = pd.concat([pd.DataFrame(keys), wide], axis=1)
        if shape == "wide":
            return _with_attrs(wide.assign(simulated=view.simulated).set_index(["iso3", "month"]), facts)
        declared = {each.name: each for family in FAMILIES for each in family.indicators}
        rows = wide.melt(["iso3", "month"], var_name="indicator", value_name="value")
        for column in ("family", "unit"):
            rows[column] = rows["indicator"].map({name: getattr(each, column) for name, each in declared.items()})
        missing = rows["indicator"].map({name: each.missing["en"] for name, each in declared.items()})
        rows["reason"] = missing.where(rows["value"].isna())
        return _with_attrs(rows.assign(outcome=outcome, simulated=view.simulated), facts)

    def forecast(self, country: str, outcome: str | None = None, *, as_of: AsOf = None) -> CountryForecast:
        """Return the forecast of a country, from the model in service. `as_of` is as in `scores`.

        `outcome` is `all` or `state_based`; the default is the headline, as on the page. A country outside of the
        home's region is forecast with its own region: itself and its neighbours.
        """
        [iso3] = _codes(country)
        view = self.view(as_of)
        focal = self.region if iso3 in self._members else iso3
        scored = self._scored(view, focal, outcome, as_of)
        facts = _facts(view, scored.outcome, expected="deaths", deaths="deaths")
        return CountryForecast(
            iso3=iso3,
            name=geography.country(iso3).name(),
            outcome=scored.outcome,
            origin=timestamp(scored.origin),
            simulated=view.simulated,
            model=scored.model,
            reason=scored.reason(iso3),
            quantiles=_with_attrs(scored.quantiles(iso3), facts),
            draws=_with_attrs(scored.draws(iso3), facts),
            observed=self.deaths(scored.outcome, countries=iso3, until=str(scored.origin), as_of=as_of),
        )

    def scores(self, outcome: str | None = None, *, as_of: AsOf = None) -> pd.DataFrame:
        """Return the scores of the region's countries, the highest risk first, computed from archive and model.

        With `as_of`, the data are those known at that moment. The model is one that was trained on just these data, if
        the home stores one: an as-of request to the service makes it. Else it is the model in service. That one can
        have learned from later months, and then `hindsight` is true. What was issued is at `/v1/scores?as_of=`, and
        `hindcasts` has scores of past months without hindsight.

        One row per country: `risk_score` [0-100] and `band`; `rung_1` to `rung_1000`, the probabilities of so many
        deaths within three months; `escalation_probability`, `onset_probability`; `expected_deaths` of the three
        months [deaths]. Where one is NaN, `reason`, `escalation_reason` or `onset_reason` says why.
        """
        view = self.view(as_of)
        scored = self._scored(view, self.region, outcome, as_of)
        return _with_attrs(scored.scores(), _facts(view, scored.outcome, risk_score="0-100", expected_deaths="deaths"))

    def hindcasts(self, outcome: str | None = None) -> pd.DataFrame:
        """Return what Vigie would have reported at past month-ends: the stored hindcasts of the region.

        One row per country and origin, oldest first, with the columns of `scores`. `data_basis` is `as_known` (the
        figures that were published then) or `final_figures`. The model never learned from a month after the origin.
        Raises BadInput where none is stored, and Refused for a damaged file.
        """
        view = self.view()
        outcome = self._outcome(view, outcome)
        found = hindcasts.stored(self.home, self.region, simulated=view.simulated, outcome=outcome)
        if not found:
            raise BadInput(
                f"no hindcasts of {OUTCOME_LABELS[outcome]['en']} in the region of {self.region} are stored: run "
                "`vigie hindcast`"
            )
        parts = []
        for origin, path in found.items():
            hindcast = hindcasts.load(path)
            facts = {
                "basis": "hindcast",
                "data_basis": hindcast.data_basis,
                "model_origin": timestamp(hindcast.model_origin),
                "outcome": outcome,
                "simulated": hindcast.simulated,
            }
            parts.append(score_table(hindcast.countries, origin, facts))
        rows = pd.concat(parts, ignore_index=True)
        return _with_attrs(rows, _facts(view, outcome, risk_score="0-100", expected_deaths="deaths"))

    def signals(
        self,
        countries: Countries = None,
        *,
        outcome: str | None = None,
        since: str | None = None,
        until: str | None = None,
        as_of: AsOf = None,
    ) -> pd.DataFrame:
        """Return what stands out against a country's own past: observations, neither forecasts nor causes.

        `countries` are those of the region by default. With `since`, each month from it on; without, the newest one (or
        `until`). `outcome` is that of the deaths that are counted.

        One row per country, month and signal, the most telling first: the count `value` [`unit`] of the last `months`,
        `earlier` counts, `since` when it has stood out, `event_ids`, and `sentence`. `escalation_share` is how often an
        escalation followed within six months of such a signal, `escalation_share_without` how often without it;
        `month_25_share`, a month of 25 deaths. `attrs["note"]` says in which years; a NaN has its reason beside it. A
        country without a signal has one row, without `indicator`: nothing stands out, or it is unknown and `reason`
        says why. `not_compared` lists the indicators that could not be compared with their past.
        """
        view = self.view(as_of)
        outcome = self._outcome(view, outcome)
        members = _codes(countries) or self._members
        known = view.outcomes().months
        known = known[known <= region_origin(view, members, outcome)]
        start, stop = _bounds(known, since, until)
        found = observe(view, members).of(outcome)
        payloads = [each for when in known[start if since else stop - 1 : stop] for each in found.at(when)]
        unknown = {(each["location_code"], each["month"]): each["not_compared"] for each in payloads}
        rows = pd.DataFrame(signal_table.rows(payloads), columns=list(signal_table.COLUMNS))
        keys = zip(rows["location_code"], rows["month"], strict=True)
        rows["not_compared"] = [[each["indicator"] for each in unknown[key]] for key in keys]
        reasons = rows.pop("reasons")
        of = {"reason": "signals", "escalation_reason": "escalation", "month_25_reason": "month_25"}
        for column, name in of.items():
            rows[column] = pd.Series([each.get(name) for each in reasons], dtype="str")
        rows = rows.astype({"month": "datetime64[s]", "since": "datetime64[s]"})
        rows = rows.assign(outcome=outcome, simulated=view.simulated)
        facts = {**_facts(view, outcome, months="months"), "note": NOTE["en"]}
        return _with_attrs(rows.rename(columns={"location_code": "iso3"}), facts)

    def view(self, as_of: AsOf = None) -> View:
        """Return what the archive says, for functions of the domain. Raises BadInput if it has no data."""
        archive = Archive(self.home.archive)
        view = archive.view(_moment(as_of))
        if view.ingests:
            return view
        if as_of is not None and (ingests := archive.ingests()):
            first = min(ingest.known_since for ingest in ingests)[:10]
            raise BadInput(f"nothing of this archive was known on {as_of}: its first data are known since {first}")
        raise BadInput(f"the archive {self.home.archive} is empty: load data with `vigie ingest`, or run `vigie up`")

    @property
    def _members(self) -> tuple[str, ...]:
        return geography.region(self.region).members

    def _outcome(self, view: View, outcome: str | None) -> str:
        """Return a forecast outcome that the view knows; by default the headline."""
        if outcome is not None:
            return _chosen(outcome, OUTCOMES)
        origins = {each: view.origin(self._members, each) for each in OUTCOMES}
        known = ranked({each: str(origin) for each, origin in origins.items() if origin is not None})
        return known[0] if known else view.outcomes().default_outcome

    def _scored(self, view: View, focal: str, outcome: str | None, as_of: AsOf) -> ScoredRegion:
        champions = bundle.champions(self.home.models, simulated=view.simulated)
        if outcome is not None:
            champions = {each: path for each, path in champions.items() if each == _chosen(outcome, OUTCOMES)}
        if not champions:
            of = f" of {OUTCOME_LABELS[outcome]['en']}" if outcome else ""
            kind = "SIMULATED" if view.simulated else "real"
            raise BadInput(f"there is no model{of} trained on {kind} data: run `vigie train`, or `vigie up`")
        members = geography.region(focal).members
        origins = {each: view.origin(members, each) for each in champions}
        known = ranked({each: str(origin) for each, origin in origins.items() if origin is not None})
        chosen = known[0] if known else next(iter(champions))
        origin = region_origin(view, members, chosen)
        path = (as_of is not None and model_of_view(self.home, view, chosen, origin)) or champions[chosen]
        return score_region(view, focal, path, origin, _moment(as_of))


def _moment(as_of: AsOf) -> datetime | None:
    if as_of is None:
        return None
    text = as_of.isoformat(timespec="seconds") if isinstance(as_of, datetime) else str(as_of)
    try:
        return parse_past_moment(text, datetime.now(UTC))
    except ValueError as wrong:
        raise BadInput(f"as_of={text!r}: {wrong}") from None


def _chosen(outcome: str, known: Sequence[str]) -> str:
    if outcome not in known:
        raise BadInput(f"{outcome!r} is no outcome: {', '.join(known)}")
    return outcome


def _codes(countries: Countries) -> tuple[str, ...]:
    """Return ISO alpha-3 codes, each once. Raises BadInput for an unknown one."""
    listed = (countries,) if isinstance(countries, str) else tuple(countries or ())
    return tuple(dict.fromkeys(geography.country(code).iso3 for code in listed))


def _month(text: str | None, name: str) -> Month | None:
    try:
        return None if text is None else month(text)
    except ValueError as wrong:
        raise BadInput(f"{name}: {wrong}") from None


def _bounds(months: NDArray[np.datetime64], since: str | None, until: str | None) -> tuple[int, int]:
    """Return the slice of sorted months from `since` to `until`. Raises BadInput where it is empty."""
    first, last = _month(since, "since"), _month(until, "until")
    start = 0 if first is None else int(np.searchsorted(months, first))
    stop = len(months) if last is None else int(np.searchsorted(months, last, side="right"))
    if start >= stop:
        wanted = f"{since or months[0]} to {until or months[-1]}"
        raise BadInput(f"there are no months from {wanted}: the archive has {months[0]} to {months[-1]}")
    return start, stop


def _cut(observed: CountryMonths, iso3: tuple[str, ...], since: str | None, until: str | None) -> CountryMonths:
    start, stop = _bounds(observed.months, since, until)
    frame = observed.including(iso3).only(iso3)
    return frame.since(observed.months[start]).until(observed.months[stop - 1])


def _classes(view: View, outcome: str, frame: CountryMonths) -> NDArray[np.int8]:
    """Return the release classes of the country-months of a frame that was cut from the view's outcomes."""
    observed = view.outcomes()
    return aligned(release_classes(view, outcome), observed.iso3, observed.months, frame, UNKNOWN)


def _month_index(months: NDArray[np.datetime64]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(months.astype("datetime64[s]"), name="month")


def _country_months(iso3: Sequence[str], months: NDArray[np.datetime64]) -> dict[str, NDArray[Any]]:
    """Return the key columns of a rectangle, month within country."""
    return {
        "iso3": np.repeat(np.array(iso3, dtype=object), len(months)),
        "month": np.tile(months.astype("datetime64[s]"), len(iso3)),
    }


def _facts(view: View, outcome: str | None, **units: str) -> dict[str, Any]:
    return {"simulated": view.simulated, **({"outcome": outcome} if outcome else {}), "units": units}


def _with_attrs(frame: pd.DataFrame, facts: dict[str, Any]) -> pd.DataFrame:
    frame.attrs.update(facts)
    return frame
