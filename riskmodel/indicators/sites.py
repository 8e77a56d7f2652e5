"""Which events happened at or near airports and towns: their own country's, by straight distance on the globe.

It knows no family and no words; what is counted here is declared in `capital`.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from riskmodel import geography
from riskmodel.indicators import windows
from riskmodel.indicators.inputs import Inputs, Places, Rectangle

AT_SITE = 10  # [km] from an airport or the centre of a town
APART = 25  # [km] between two sites, more than one event can touch at once
_EXACT_DAY = 1  # UCDP's date_prec


def _own(inputs: Inputs) -> tuple[geography.Sites, Places]:
    """All sites, and the row of each one's country; -1 where it is none of these."""
    sites = geography.sites()
    row = {code: place for place, code in enumerate(inputs.iso3)}
    return sites, np.array([row.get(code, -1) for code in sites.iso3.tolist()], dtype=np.intp)


def _apart_by_country(
    latitude: NDArray[np.float64], longitude: NDArray[np.float64], row: Places
) -> NDArray[np.float64]:
    """Places with a fourth coordinate, in which countries are further apart than the Earth is wide."""
    return np.column_stack([geography.unit_vectors(latitude, longitude), 4.0 * row])


def touching(inputs: Inputs, of: Places) -> tuple[Places, Places]:
    """Pairs of an event, among some that are located, and a site of its country that it was at or near."""
    events = inputs.reported
    sites, row = inputs.once(_own)
    own = np.flatnonzero(row >= 0)
    if not (own.size and of.size):
        return np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp)
    here = cKDTree(_apart_by_country(sites.latitude[own], sites.longitude[own], row[own]))
    places = _apart_by_country(events.latitude[of], events.longitude[of], events.row[of])
    near = np.isfinite(here.query(places, distance_upper_bound=geography.chord(AT_SITE))[0])
    # Events pile up on few places, and a balanced tree of like points takes for ever.
    there = cKDTree(places[near], balanced_tree=False)
    pairs = there.sparse_distance_matrix(here, geography.chord(AT_SITE), output_type="ndarray")
    return of[near][pairs["i"]], own[pairs["j"]]


def _all_touched(inputs: Inputs) -> tuple[Places, Places]:
    """Pairs of a located event and a site that it was at or near."""
    return touching(inputs, np.flatnonzero(inputs.reported.located))


def _known(inputs: Inputs, kinds: tuple[str, ...], months: int) -> NDArray[np.bool_]:
    """Where the events of a window are known, and the country has a site of some kind."""
    sites, row = inputs.once(_own)
    has = np.isin(np.arange(len(inputs.iso3)), row[np.isin(sites.kind, kinds)])
    return has[:, None] & windows.throughout(inputs.reported.told, months)


def at_sites(inputs: Inputs, *, kind: str, months: int) -> Rectangle:
    events = inputs.reported
    event, site = inputs.once(_all_touched)
    at_one = np.zeros(events.row.size, dtype=bool)
    at_one[event[geography.sites().kind[site] == kind]] = True
    summed = np.log1p(windows.total(events.count(at_one), months))
    return np.where(_known(inputs, (kind,), months), summed, np.nan)


def touched(inputs: Inputs, *, months: int) -> Rectangle:
    events = inputs.reported
    event, site = inputs.once(_all_touched)
    touched, place = np.unique(site, return_inverse=True)
    seen = np.zeros((touched.size, events.told.shape[1]))
    seen[place, events.column[event]] = 1
    summed = np.zeros(events.told.shape)
    np.add.at(summed, inputs.once(_own)[1][touched], windows.total(seen, months) > 0)
    return np.where(_known(inputs, ("airport", "town"), months), np.log1p(summed), np.nan)


def several_at_once(inputs: Inputs, *, months: int) -> Rectangle:
    events = inputs.reported
    event, site = (
        pair[events.date_prec[inputs.once(_all_touched)[0]] == _EXACT_DAY] for pair in inputs.once(_all_touched)
    )
    touches = np.column_stack([events.row[event], events.column[event], events.day[event], site])
    row, column, day, site = np.unique(touches, axis=0).T
    sites = geography.sites()
    several = np.zeros(day.size, dtype=bool)
    step = 1
    while (same := (row[step:] == row[:-step]) & (day[step:] == day[:-step])).any():
        one, other = site[step:][same], site[:-step][same]
        km = geography.distance(
            sites.latitude[one], sites.longitude[one], sites.latitude[other], sites.longitude[other]
        )
        several[step:][same] |= km >= APART
        step += 1
    days = np.unique(np.column_stack([row, column, day])[several], axis=0)
    monthly = np.zeros(events.told.shape)
    np.add.at(monthly, (days[:, 0], days[:, 1]), 1)
    summed = np.log1p(windows.total(np.where(events.told, monthly, np.nan), months))
    return np.where(_known(inputs, ("airport", "town"), months), summed, np.nan)
