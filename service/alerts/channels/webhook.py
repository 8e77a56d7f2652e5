"""Channel to a receiver of webhooks, signed as Standard Webhooks specifies."""

from datetime import UTC, datetime

from standardwebhooks import Webhook

from service.alerts.channels.attempt import Outgoing, post_json
from service.outbound import Session
from service.settings import WebhookRoute
from service.store.values import canonical


class WebhookChannel:
    """Posts messages as signed JSON."""

    def __init__(self, route: WebhookRoute, session: Session) -> None:
        self._url, self._session = str(route.url), session
        self._webhook = Webhook(route.secret.get_secret_value())

    def send(self, message: Outgoing, now: datetime) -> None:
        """POST a message. Raises DeliveryError."""
        body = canonical(dict(message.document))
        now = now.astimezone(UTC)
        headers = {
            "webhook-id": message.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(message.id, now, body),
        }
        post_json(self._session, self._url, headers, body, now)
