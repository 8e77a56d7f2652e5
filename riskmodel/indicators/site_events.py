"""Events at airports and larger towns of their own country, by straight distance on the globe.

The family `capital` declares the indicators that are computed here.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from riskmodel import geography, windows
from riskmodel.indicators.inputs import Indices, Inputs
from riskmodel.windows import Rectangle

SITE_RADIUS = 10  # [km] from an airport or the centre of a town
SEPARATE_SITES = 25  # [km] between two sites; one event can be at both of two nearer ones
EXACT_DAY = 1  # UCDP's date_prec
SITE_KINDS = ("airport", "town")


def _sites_with_rows(inputs: Inputs) -> tuple[geography.Sites, Indices]:
    """All sites, and the row of each one's country; -1 if it is not among the inputs' countries."""
    sites = geography.sites()
    row_of = {code: row for row, code in enumerate(inputs.iso3)}
    return sites, np.array([row_of.get(code, -1) for code in sites.iso3.tolist()], dtype=np.intp)


def _coordinates_by_country(
    latitude: NDArray[np.float64], longitude: NDArray[np.float64], row: Indices
) -> NDArray[np.float64]:
    """Unit vectors with a fourth coordinate that separates countries by more than the diameter of the globe.

    One tree then finds the sites of an event's own country only.
    """
    return np.column_stack([geography.unit_vectors(latitude, longitude), 4.0 * row])


def events_at_sites(inputs: Inputs, located: Indices) -> tuple[Indices, Indices]:
    """Return pairs of an event, among some located ones, and a site of its country within `SITE_RADIUS`."""
    events = inputs.required_events
    sites, row = inputs.cached(_sites_with_rows)
    known = np.flatnonzero(row >= 0)
    if not (known.size and located.size):
        return np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp)
    site_tree = cKDTree(_coordinates_by_country(sites.latitude[known], sites.longitude[known], row[known]))
    coordinates = _coordinates_by_country(events.latitude[located], events.longitude[located], events.row[located])
    radius = geography.chord(SITE_RADIUS)
    near = np.isfinite(site_tree.query(coordinates, distance_upper_bound=radius)[0])
    # Many events have the same coordinate, and building a balanced tree of equal points takes very long.
    event_tree = cKDTree(coordinates[near], balanced_tree=False)
    pairs = event_tree.sparse_distance_matrix(site_tree, radius, output_type="ndarray")
    return located[near][pairs["i"]], known[pairs["j"]]


def _all_events_at_sites(inputs: Inputs) -> tuple[Indices, Indices]:
    return events_at_sites(inputs, np.flatnonzero(inputs.required_events.located))


def _known(inputs: Inputs, kinds: tuple[str, ...], months: int) -> NDArray[np.bool_]:
    """Where the events of the window are covered and the country has a site of some kinds."""
    sites, row = inputs.cached(_sites_with_rows)
    has_site = np.isin(np.arange(len(inputs.iso3)), row[np.isin(sites.kind, kinds)])
    return has_site[:, None] & windows.throughout(inputs.required_events.covered, months)


def log_events_at_sites(inputs: Inputs, *, kind: str, months: int) -> Rectangle:
    """Return log(1 + the located events at sites of a kind over the last months)."""
    events = inputs.required_events
    event, site = inputs.cached(_all_events_at_sites)
    at_kind = np.zeros(events.row.size, dtype=bool)
    at_kind[event[geography.sites().kind[site] == kind]] = True
    number = np.log1p(windows.total(events.count(at_kind), months))
    return np.where(_known(inputs, (kind,), months), number, np.nan)


def log_sites_with_events(inputs: Inputs, *, months: int) -> Rectangle:
    """Return log(1 + the sites with a located event over the last months)."""
    events = inputs.required_events
    event, site = inputs.cached(_all_events_at_sites)
    used, index = np.unique(site, return_inverse=True)
    monthly = np.zeros((used.size, events.covered.shape[1]))
    monthly[index, events.column[event]] = 1
    number = np.zeros(events.covered.shape)
    np.add.at(number, inputs.cached(_sites_with_rows)[1][used], windows.total(monthly, months) > 0)
    return np.where(_known(inputs, SITE_KINDS, months), np.log1p(number), np.nan)


def log_days_at_several_sites(inputs: Inputs, *, months: int) -> Rectangle:
    """Return log(1 + the days of the last months with events at sites `SEPARATE_SITES` km or more apart)."""
    events = inputs.required_events
    event, site = inputs.cached(_all_events_at_sites)
    exact = events.date_prec[event] == EXACT_DAY
    event, site = event[exact], site[exact]
    visits = np.column_stack([events.row[event], events.column[event], events.day[event], site])
    row, column, day, site = np.unique(visits, axis=0).T
    sites = geography.sites()
    several = np.zeros(day.size, dtype=bool)
    # Visits are sorted by country and day: compare each with the next one, then with the one after it, and so on until
    # no pair is of the same country and day.
    step = 1
    while (same := (row[step:] == row[:-step]) & (day[step:] == day[:-step])).any():
        one, other = site[step:][same], site[:-step][same]
        km = geography.distance(
            sites.latitude[one], sites.longitude[one], sites.latitude[other], sites.longitude[other]
        )
        several[step:][same] |= km >= SEPARATE_SITES
        step += 1
    days = np.unique(np.column_stack([row, column, day])[several], axis=0)
    monthly = np.zeros(events.covered.shape)
    np.add.at(monthly, (days[:, 0], days[:, 1]), 1)
    number = np.log1p(windows.total(np.where(events.covered, monthly, np.nan), months))
    return np.where(_known(inputs, SITE_KINDS, months), number, np.nan)
