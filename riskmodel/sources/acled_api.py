"""ACLED's API under one account: log-in, and all rows of a query page by page, proved complete."""

import itertools
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from riskmodel.errors import SourceUnavailable
from riskmodel.sources.client import Client
from riskmodel.sources.responses import Rejected, Unauthorised

_NOTHING_ENTERED = "nothing of this pull was taken in; try again later"


class AcledApi:
    """A session. A token that expires during a pull is renewed, once.

    `last_visible_day` is the last day of which ACLED shows this account single events; None if it sees all.
    """

    def __init__(self, client: Client, base: str, username: str, password: str, page_rows: int) -> None:
        self.last_visible_day: date | None = None
        self._client, self._base, self._page_rows = client, base, page_rows
        self._credentials = {"username": username, "password": password, "grant_type": "password", "client_id": "acled"}
        self._renewed = False
        self._token = self._log_in(self._credentials)

    def rows(self, endpoint: str, filters: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Yield all rows of a query, page after page until an empty one.

        Raises SourceUnavailable if pages are lost or repeated, or if their rows are not as many as ACLED counts.
        """
        subject = filters.get("country", "deletions")
        seen: set[tuple[str, str]] = set()
        received, page_size, total = 0, 0, None
        for number in itertools.count(1):
            page = self._page(endpoint, filters, number)
            rows, place = page["data"], f"ACLED ({subject}, page {number})"
            count, announced = as_int(page.get("count")), as_int(page.get("total_count"))
            if count is not None and count != len(rows):
                raise SourceUnavailable(f"{place} says it has {count:,} rows and has {len(rows):,}; {_NOTHING_ENTERED}")
            if None not in (announced, total) and announced != total:
                raise SourceUnavailable(
                    f"{place} counts {announced:,} rows in all, the page before {total:,}; {_NOTHING_ENTERED}"
                )
            total = announced if total is None else total
            if not rows:
                break
            # Only the last page can be shorter. ACLED can send smaller pages than requested: the first one shows it.
            if received % (page_size or 1) or (page_size and len(rows) > page_size):
                raise SourceUnavailable(
                    f"{place}: not all pages have {page_size:,} rows: some were lost; {_NOTHING_ENTERED}"
                )
            keys = {(_event_id(row, place), str(row.get("deleted_timestamp"))) for row in rows}
            # Deletions can overlap from page to page. Events cannot, and no page can come twice.
            repeated = len(keys) < len(rows) or bool(keys & seen) if endpoint == "acled" else keys & seen == keys
            if repeated:
                raise SourceUnavailable(f"{place}: rows came twice: a page was repeated; {_NOTHING_ENTERED}")
            page_size, received = page_size or len(rows), received + len(rows)
            seen |= keys
            yield from rows
        if total is not None and total != received:
            raise SourceUnavailable(
                f"ACLED ({subject}) counts {total:,} rows, sent {received:,}: some were lost; {_NOTHING_ENTERED}"
            )
        # Without a total, an empty page after full ones can be a lost one: the next page shows that.
        if (
            total is None
            and received
            and not received % page_size
            and self._page(endpoint, filters, number + 1)["data"]
        ):
            raise SourceUnavailable(
                f"ACLED ({subject}): page {number} is empty, the next is not: one was lost; {_NOTHING_ENTERED}"
            )

    def _page(self, endpoint: str, filters: Mapping[str, str], number: int) -> dict[str, Any]:
        page = self._get(endpoint, {**filters, "limit": str(self._page_rows), "page": str(number)})
        restrictions = page.get("data_query_restrictions")
        recency = restrictions.get("date_recency") if isinstance(restrictions, dict) else None
        limit = recency.get("date") if isinstance(recency, dict) else None
        if isinstance(limit, str):
            try:
                self.last_visible_day = date.fromisoformat(limit[:10])
            except ValueError:
                raise SourceUnavailable(f"ACLED says that this account sees events up to {limit!r}: no date") from None
        return page

    def _get(self, endpoint: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        """Return one response of an endpoint, its envelope checked."""
        url = f"{self._base}/api/{endpoint}/read"
        try:
            response = self._request(url, parameters)
        except Unauthorised:
            if self._renewed:
                raise SourceUnavailable(f"ACLED took back its access token twice in one pull ({url})") from None
            self._renewed = True
            self._renew_token()
            try:
                response = self._request(url, parameters)
            except Unauthorised:
                raise SourceUnavailable(
                    f"ACLED lets this account log in and does not let it read {url}: it has access to aggregated data "
                    "only, or its profile or the consent to ACLED's terms is not complete (acleddata.com, myACLED)"
                ) from None
        if not isinstance(response, dict) or not isinstance(response.get("data"), list):
            raise SourceUnavailable(f"ACLED ({url}) answered without a list of rows")
        if response.get("success") is False:
            raise SourceUnavailable(f"ACLED ({url}) refused: {_first_message(response)}")
        return response

    def _request(self, url: str, parameters: Mapping[str, str]) -> Any:
        headers = {"Authorization": f"Bearer {self._token['access_token']}"}
        return self._client.get_json(url, params={"_format": "json", **parameters}, headers=headers)

    def _log_in(self, form: Mapping[str, str]) -> dict[str, Any]:
        try:
            token = self._client.post_form(f"{self._base}/oauth/token", form)
        except (Rejected, Unauthorised):
            raise SourceUnavailable(
                f"ACLED does not accept this user name and password at {self._base}; the name is the e-mail address of "
                "your myACLED account"
            ) from None
        if not isinstance(token, dict) or not isinstance(token.get("access_token"), str):
            raise SourceUnavailable(f"ACLED ({self._base}) answered the log-in without an access token")
        return token

    def _renew_token(self) -> None:
        refresh = self._token.get("refresh_token")
        if isinstance(refresh, str):
            form = {"refresh_token": refresh, "grant_type": "refresh_token", "client_id": "acled"}
            try:
                self._token = self._log_in(form)
            except SourceUnavailable:
                self._token = self._log_in(self._credentials)
        else:
            self._token = self._log_in(self._credentials)


def as_int(value: object) -> int | None:
    """Return a whole number that came as a number or as text; None for anything else."""
    try:
        return int(str(value))
    except ValueError:
        return None


def _event_id(row: object, place: str) -> str:
    if not isinstance(row, dict) or not row.get("event_id_cnty"):
        raise SourceUnavailable(f"{place}: a row has no event_id_cnty; {_NOTHING_ENTERED}")
    return str(row["event_id_cnty"])


def _first_message(response: Mapping[str, Any]) -> str:
    messages = response.get("messages") or response.get("error") or ["it did not say why"]
    return str(messages[0] if isinstance(messages, list) else messages)[:200]
