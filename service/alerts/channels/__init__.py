"""Channels that send a message, one module for each type of route; and the heartbeat to a monitor outside.

A call returns within a deadline or raises DeliveryError. A channel knows the message and the receiver; it knows no
rule, no state and no database. Errors and log lines are single lines without control characters, whatever a server
answers. They never contain a key, a password or a URL, which can hold a token.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence

from service.alerts.channels.alertmanager import AlertmanagerChannel
from service.alerts.channels.apprise import AppriseChannel
from service.alerts.channels.attempt import Channel
from service.alerts.channels.email import EmailChannel
from service.alerts.channels.webhook import WebhookChannel
from service.outbound import Session
from service.settings import AppriseRoute, EmailRoute, Network, Route, WebhookRoute

for _name in ("httpx2", "httpcore2"):  # they log whole URLs, and a receiver's URL can contain a token
    logging.getLogger(_name).setLevel(logging.WARNING)


@contextlib.contextmanager
def opened(route: Route, allowed: Sequence[Network | str] = ()) -> Iterator[Channel]:
    """Open the channel of a route. It connects with the first message.

    `allowed` lists the private networks and host names that a request can go to.
    """
    if isinstance(route, EmailRoute):
        yield EmailChannel(route)
        return
    if isinstance(route, AppriseRoute):
        yield AppriseChannel(route, allowed)
        return
    with Session(allowed) as session:
        if isinstance(route, WebhookRoute):
            yield WebhookChannel(route, session)
        else:
            yield AlertmanagerChannel(route, session)
