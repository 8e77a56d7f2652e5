"""A client generated from the OpenAPI document has every schema, and its call of every operation works."""

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from snapshots_support import ALERT, SILENCE, TASK

from riskmodel.home import Home
from service.cli.app import create_app

DOCS = Path(__file__).resolve().parents[2] / "docs" / "api.md"
PATH_VALUES = {"iso3": "MLI", "number": 1, "a": 1, "b": 2, "id": TASK, "alert_id": ALERT, "silence_id": SILENCE}
BODIES = {
    "/v1/whatif": {"location_code": "MLI", "deaths": 2},
    "/v1/alerts/{alert_id}/ack": {"note": "called the desk"},
    "/v1/silences": {"rule": "an-old-rule", "hours": 8, "reason": "an exercise"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("client")


@pytest.fixture(scope="module")
def document(folder: Path) -> dict[str, Any]:
    described: dict[str, Any] = create_app(Home(folder / "home")).test_client().get("/openapi.json").json
    return described


@pytest.fixture(scope="module")
def client(folder: Path, document: dict[str, Any]) -> Iterator[ModuleType]:
    """The package that openapi-python-client generates with the configuration of the guide."""
    (folder / "openapi.json").write_text(json.dumps(document))
    (configuration,) = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (folder / "config.yml").write_text(f"{configuration}post_hooks: []\n")
    generated = subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--path", "openapi.json"),
            *("--config", "config.yml", "--meta", "none", "--output-path", "vigie_client", "--fail-on-warning"),
        ],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert generated.returncode == 0, generated.stdout + generated.stderr
    with pytest.MonkeyPatch.context() as environment:
        environment.syspath_prepend(str(folder))
        yield importlib.import_module("vigie_client")
    for name in [name for name in sys.modules if name.split(".")[0] == "vigie_client"]:
        del sys.modules[name]


def test_every_schema_becomes_a_class(client: ModuleType, document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert {schema["title"] for schema in schemas.values()} == schemas.keys(), "each name is unique"
    models = importlib.import_module("vigie_client.models")
    assert [name for name in schemas if not hasattr(models, name)] == []


def test_the_call_of_every_operation_works(
    client: ModuleType, document: dict[str, Any], live_server: tuple[str, str]
) -> None:
    url, key = live_server
    with client.AuthenticatedClient(base_url=url, token=key, timeout=30) as connection:
        for path, operations in document["paths"].items():
            for entry in operations.values():
                (tag,) = entry["tags"]
                module = importlib.import_module(f"vigie_client.api.{tag}.{entry['operationId']}")
                in_path = [each["name"] for each in entry["parameters"] if each["in"] == "path"]
                arguments: dict[str, Any] = {name: PATH_VALUES[name] for name in in_path}
                if "requestBody" in entry:
                    schema = entry["requestBody"]["content"]["application/json"]["schema"]["$ref"].split("/")[-1]
                    model = getattr(importlib.import_module("vigie_client.models"), schema)
                    arguments["body"] = model.from_dict(BODIES[path])
                response = module.sync_detailed(client=connection, **arguments)
                assert response.status_code in (200, 201, 202), path
                assert response.parsed is not None, path
                content_type = response.headers["Content-Type"].partition(";")[0]
                if content_type.endswith("json"):
                    assert response.parsed.to_dict() == json.loads(response.content), path
                elif content_type == "application/vnd.apache.parquet":
                    assert response.parsed.payload.read() == response.content
                else:
                    assert response.parsed == response.content.decode(), path


def test_a_client_without_a_key_reads_and_is_refused_to_write(client: ModuleType, live_server: tuple[str, str]) -> None:
    scores = importlib.import_module("vigie_client.api.scores.scores_scores")
    recompute = importlib.import_module("vigie_client.api.tasks.tasks_recompute")
    with client.Client(base_url=live_server[0]) as connection:
        assert scores.sync(client=connection).data[0].location_code == "BFA"
        refused = recompute.sync_detailed(client=connection)
        assert (refused.status_code, refused.parsed.type_) == (401, "urn:vigie:problem:key-needed")
