"""The model card: its contents, as Markdown and as well-formed HTML."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from riskmodel.home import Home
from training import registry

Vigie = Callable[..., Any]


class TagChecker(HTMLParser):
    """Collects the tags; fails where a tag is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "rect", "line", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "line", "circle"):
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)


def test_the_card_has_data_skill_calibration_service_and_limits(
    home: Home, vigie: Vigie, workshop: Path, in_service: Callable[[], str]
) -> None:
    vigie("train", "--model", "promoted:seer")
    without_backtest = vigie("card").out.split()
    text = Path(without_backtest[0]).read_text(encoding="utf-8")
    assert "How good it is on past years is not known: no back-test of this configuration and code is stored" in text
    assert "Run vigie backtest --windows 2018:2022" in text
    assert text.index("## In short") < text.index("## What it is")
    assert "the first model" in text
    vigie("train", "--model", "promoted:zero")
    zero = next(name for name in registry.model_names(home.models) if name != in_service())
    vigie("promote", zero, "--force", "to see <what> happens | here")
    backtested = vigie("backtest", "--windows", "2006:2009", "--model", "promoted:zero", "--scope", "world").out
    vigie("backtest", "--rolling", "2008", "--model", "promoted:zero")
    done = vigie("card", zero, "--out", workshop / "cards")
    assert done.code == 0, done.err
    markdown, page = (Path(path) for path in done.out.split())
    assert (markdown.name, page.name) == (f"{zero}.md", f"{zero}.html")
    text, html = markdown.read_text(encoding="utf-8"), page.read_text(encoding="utf-8")
    tags = TagChecker()
    tags.feed(html)
    assert tags.open == []
    assert tags.seen.count("svg") == 6
    assert "http" not in html.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "to see &lt;what&gt; happens | here" in html
    assert r"to see \<what> happens | here" in text
    for part in (
        "8 countries, 2000-01 to 2009-12: 960 country-months",
        "2006-2009, 8 countries: worse on ",
        "than repeating the last twelve months (conflictology12)",
        "The region of MLI, 8 countries: ",
        "% interval held",
        "It entered service on ",
        "It does NOT fulfil what the gate asks of every model, on all countries, windows 2006, 2007, 2008, 2009",
        "indicators: it reads 0 of the 137 that Vigie computes",
        "Past years",
        "As issued month by month",
        "Mali",
        "past the gate, by force",
        "| conflictology12 | IGN | better |",
        "The region of MLI, 8 countries",
        "escalation, h24",
        "escalation, served",
        "probability of escalation from: draws (",
        "| forecaster | in 50 % | 90 % interval | in 90 % | 90 % interval |",
        "lower is better",
        "a negative difference is a lower loss",
        "Leads 1-3:",
        "No thresholds yet: they are chosen on 3 earlier windows",
        "## Limits",
    ):
        assert part.lower() in text.lower(), part
    crps = re.search(r"all +zero +(\S+)", backtested) or re.search(r"zero +(\S+)", backtested.split("\nall")[1])
    assert crps is not None
    assert f"| all zero | {crps[1]} |" in text
    assert all(line.count(" | ") > 0 for line in text.splitlines() if line.startswith("| "))
