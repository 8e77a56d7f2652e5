"""CONTRIBUTING.md tells newcomers where to change what: every file it names must exist."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_every_file_that_contributing_names_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:riskmodel|service|training|tests|docs)/[\w/.]*)`", text))
    assert len(named) > 25
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
