"""Key events of `actors` and `spread`: one event of each category, new categories first."""

import numpy as np
import pytest
import worlds

from riskmodel.indicators.declaration import Family
from riskmodel.indicators.families import actors, spread


@pytest.mark.parametrize(("family", "attribute"), [(spread.FAMILY, "adm_1"), (actors.FAMILY, "dyad")])
def test_key_events_are_one_of_each_category_and_new_categories_come_first(family: Family, attribute: str) -> None:
    inputs = worlds.world(8, months=100, events=900)
    events = inputs.required_events
    category = getattr(events, attribute)
    assert family.key_events
    for row in range(len(inputs.iso3)):
        indices = family.key_events(inputs, row, 99)
        recent = [i for i in np.flatnonzero(events.recent(row, 99, 12)) if category[i] >= 0]
        before = set(category[(events.row == row) & (events.column >= 28) & (events.column < 88)].tolist())
        active = {int(category[i]) for i in recent}
        assert len(set(category[indices].tolist())) == indices.size == min(len(active), 5)
        assert set(category[indices[: len(active - before)]].tolist()) <= active - before
        for index in indices:
            assert index in recent
            assert events.deaths[index] == max(events.deaths[i] for i in recent if category[i] == category[index])
