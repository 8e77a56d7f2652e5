"""The Atom feed at `/feeds/scores.atom`, for feed readers."""

from flask import Blueprint, Response

from service.api.endpoints import OutcomeQuery, endpoint
from service.http.links import public_site
from service.http.problems import Problem
from service.http.request_context import request_session
from service.snapshots import feeds

resource = Blueprint("feeds", __name__)

ATOM_MEDIA_TYPE = "application/atom+xml"


@endpoint(
    resource,
    "/feeds/scores.atom",
    "Follow snapshots and bands as an Atom feed",
    ATOM_MEDIA_TYPE,
    query=OutcomeQuery,
    problems=("no-data", "no-outcome"),
)
def scores(query: OutcomeQuery) -> Response:
    """Return the feed of the newest snapshots."""
    with request_session() as session:
        if session.simulated is None:
            raise Problem("no-data")
        session.find_served(query.outcome)  # an outcome that is not there is a problem, and not an empty feed
        realm = (session.connection, session.settings.region, session.simulated)
        feed = feeds.scores(*realm, session.now, public_site(), query.outcome)
        return Response(feed, content_type=f"{ATOM_MEDIA_TYPE}; charset=utf-8")
