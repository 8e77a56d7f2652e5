"""The feed at `/feeds/scores.atom`, for whoever follows scores with a reader of news."""

from flask import Blueprint, Response

from service.api.openapi import offers
from service.http.problems import Problem
from service.http.request_context import request_session
from service.snapshots import feeds

resource = Blueprint("feeds", __name__)

ATOM = "application/atom+xml"


@offers(resource, "/feeds/scores.atom", "Snapshots and changed bands, as an Atom feed", ATOM, problems=("no-data",))
def scores() -> Response:
    """The newest snapshots of the realm in service."""
    with request_session() as session:
        if session.simulated is None:
            raise Problem("no-data")
        text = feeds.scores(session.connection, session.settings.region, session.simulated, session.now)
        return Response(text, content_type=f"{ATOM}; charset=utf-8")
