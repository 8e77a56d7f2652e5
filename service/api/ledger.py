"""The ledger at `/v1/ledger`: the chain of all that was issued, so that anybody can keep its head elsewhere."""

from typing import Any

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import BadRequest

from service import ledger, payloads
from service.api.reading import Reading, reading

resource = Blueprint("ledger", __name__)

PAGE, LONGEST = 100, 1000
"""How many entries a page has, and may have at most."""

GREATEST = 2**31 - 1
"""The greatest number that a database keeps."""


@resource.get("/v1/ledger")
def chain() -> Response:
    """The newest entries, or those before one."""
    limit, before = _asked("limit", LONGEST), _asked("before", GREATEST)
    with reading() as sight:
        entries = ledger.entries(sight.connection, before, limit or PAGE)
        more = bool(entries) and entries[-1]["id"] > 1
        further = f"/v1/ledger?before={entries[-1]['id']}" + (f"&limit={limit}" if limit else "") if more else None
        return jsonify({"data": entries, "next": further, **_meta(sight)})


def _asked(name: str, most: int) -> int | None:
    """A number that was asked for, or None. Ends the request where it is none, or out of range."""
    text = request.args.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) <= most):
        raise BadRequest(f"{name} is a whole number from 1 to {most}")
    return int(text)


def _meta(sight: Reading) -> dict[str, Any]:
    if (served := sight.find()) is not None:
        return payloads.meta(served)
    then = payloads.next_run_at(sight.connection, sight.settings)
    return payloads.no_meta(sight.settings, then, simulated=sight.simulated)
