"""Alert rules and histories of readings, drawn by Hypothesis."""

from typing import Any

from hypothesis import strategies as st

from riskmodel.alerting.rule import Rule


def rule(**changed: Any) -> Rule:
    return Rule.model_validate(
        {
            "name": "very-high-risk",
            "title": {"en": "Risk is very high", "fr": "Le risque est très élevé"},
            "metric": "risk_score",
            "fire_at": 70,
            "clear_at": 65,
            "severity": "warning",
            "route": "duty",
            **changed,
        }
    )


drawn_rules = st.builds(
    lambda fire, gap, n, cool_down: rule(
        **{"fire_at": fire, "clear_at": max(fire - gap, 1), "for": n, "cool_down": cool_down, "countries": ["MLI"]}
    ),
    st.integers(5, 90),
    st.integers(0, 20),
    st.integers(1, 4),
    st.sampled_from((0, 0, 3)),
)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, float | None]]:
    """Readings whose origin mostly stays or advances, and sometimes goes back (a release that covers less)."""
    steps = draw(st.lists(st.tuples(st.sampled_from((0, 0, 1, 1, 1, 3, -1)), st.none() | st.integers(0, 100))))
    month, history = 24, []
    for step, value in steps:
        month += step
        history.append((origin_of(month), value))
    return history


def origin_of(month: int) -> str:
    """Origin (YYYY-MM) of a month counted from January 2000."""
    return f"{2000 + month // 12}-{month % 12 + 1:02}"
