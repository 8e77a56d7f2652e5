"""What `actors` and `spread` share: of each part of a country one event, the new parts first."""

import numpy as np
import pytest
import worlds

from riskmodel.indicators import actors, spread
from riskmodel.indicators.declaration import Family


@pytest.mark.parametrize(("family", "of"), [(spread.FAMILY, "adm_1"), (actors.FAMILY, "dyad")])
def test_behind_it_stands_one_event_of_each_part_the_new_ones_first(family: Family, of: str) -> None:
    inputs = worlds.world(8, months=100, events=900)
    events = inputs.reported
    part = getattr(events, of)
    assert family.key_events
    for row in range(len(inputs.iso3)):
        places = family.key_events(inputs, row, 99)
        lately = [i for i in np.flatnonzero(events.recent(row, 99, 12)) if part[i] >= 0]
        before = set(part[(events.row == row) & (events.column >= 28) & (events.column < 88)].tolist())
        touched = {int(part[i]) for i in lately}
        assert len(set(part[places].tolist())) == places.size == min(len(touched), 5)
        assert set(part[places[: len(touched - before)]].tolist()) <= touched - before
        for place in places:
            assert place in lately
            assert events.deaths[place] == max(events.deaths[i] for i in lately if part[i] == part[place])
