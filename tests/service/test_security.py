"""The promises of docs/security.md name their tests, pages have no scripts, and CI audits code and dependencies."""

import ast
import os
import re
import subprocess
from pathlib import Path

import pytest
from html_page import BROWSER
from snapshot_documents import NOW
from snapshots_support import SnapshotHome

from service.cli.app import create_app
from service.settings import Limits, Settings

ROOT = Path(__file__).resolve().parents[2]
SECURITY_PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def test_every_promise_names_tests_that_exist() -> None:
    promises = re.split(r"^(\d+)\. ", SECURITY_PAGE.split("## Promises")[1].split("\n## ")[0], flags=re.MULTILINE)[1:]
    assert list(map(int, promises[::2])) == list(range(1, len(promises[::2]) + 1))
    for number, promise in zip(promises[::2], promises[1::2], strict=True):
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", promise)
        assert named, f"promise {number} names no test"
        for file, test in named:
            assert test in functions(ROOT / file), f"promise {number}: {file} has no {test}"
    assert SECURITY_PAGE.count("::test_") == len(re.findall(r"`tests/[\w/]+\.py::test_\w+`", SECURITY_PAGE))


def functions(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_access_setting_is_documented_with_its_default() -> None:
    rows = dict(re.findall(r"^\| (`[^|]*`) \| ([^|]*) \|", SECURITY_PAGE, flags=re.MULTILINE))
    documented: dict[str, str] = {}
    for names, defaults in rows.items():
        pairs = zip(re.findall(r"`([\w.]+)`", names), defaults.split(", "), strict=True)
        documented.update(pairs)
    expected = {f"limits.{name}": str(value).lower() for name, value in Limits().model_dump().items()}
    assert {name: documented[name] for name in documented if name.startswith("limits.")} == expected
    others = {
        "base_url",
        "root_path",
        "public_tasks",
        "allowed_hosts",
        "public_read",
        "trusted_proxies",
        "cors_origins",
        "hsts_seconds",
        "allow_private_webhooks",
    }
    assert {name for name in documented if not name.startswith("limits.")} == others <= Settings.model_fields.keys()


@pytest.mark.parametrize("path", ["/", "/?lang=fr", "/scorecard", "/country/MLI", "/country/MRT", "/country/XYZ"])
def test_no_page_has_scripts_inline_styles_or_links_to_other_hosts(tmp_path: Path, path: str) -> None:
    """The content security policy blocks them, so a page that needs one would be broken."""
    home = SnapshotHome(tmp_path / "home")
    home.add_ingests("real")
    home.issue()
    text = create_app(home.home, clock=lambda: NOW).test_client().get(path, headers=BROWSER).text
    assert "<!doctype html>" in text
    unwanted = (
        r"<script|<style|\sstyle\s*=|\son\w+\s*=|javascript:|<iframe|<form(?! class=\"as-of\" method=\"get\")|<base"
    )
    assert re.findall(unwanted, text, re.IGNORECASE) == []
    assert [src for src in re.findall(r"(?:src|href)=\"([^\"]+)", text) if "//" in src] == []


@pytest.mark.parametrize(
    ("report", "pip_audit_exit", "exit_code", "message"),
    [
        ("", 0, 0, "audited: no known vulnerability in 2 packages"),
        ("Name ID\nflask CVE-0000-1\n", 1, 1, "CVE-0000-1"),
        ("", 1, 0, "NOT AUDITED: no advisories here"),
    ],
)
def test_the_audit_fails_on_a_known_vulnerability_and_says_if_it_could_not_check(
    tmp_path: Path, report: str, pip_audit_exit: int, exit_code: int, message: str
) -> None:
    (tmp_path / "pip").write_text("#!/bin/sh\nprintf 'flask==3\\ngranian==2\\n'\n")
    audit = (
        f'#!/bin/sh\nwhile [ $# -gt 0 ]; do [ "$1" = --output ] && out=$2; shift; done\n'
        f"printf '{report}' >\"$out\"\necho 'no advisories here' >&2\nexit {pip_audit_exit}\n"
    )
    (tmp_path / "pip-audit").write_text(audit)
    for name in ("pip", "pip-audit"):
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    result = subprocess.run([ROOT / ".ci" / "audit"], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == exit_code, result.stderr
    assert message in result.stdout


def test_ci_runs_both_audits() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert re.search(r"^bandit .*riskmodel training service$", script, re.MULTILINE)
    assert re.search(r"^\.ci/audit$", script, re.MULTILINE)
