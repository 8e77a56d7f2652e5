"""A message as it is sent: with the address of its page, and a warning if its data are old by now."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from riskmodel.alerting.metrics import REGION_METRIC
from riskmodel.geography import WHOLE_REGION
from service.alerts import gsm7
from service.alerts.composition import SIMULATED, bilingual

OLD_DATA = {"en": "OLD DATA ({days} days)", "fr": "DONNÉES ANCIENNES ({days} jours)"}
"""What a message about old data begins with."""


BEFORE_ADDRESS = {"sms": "\n", "text": "\n", "full": "\n\n"}
"""What stands between a text and the address, by length."""


def at_sending(
    document: Mapping[str, Any], base_url: str | None, stale_after_days: int, now: datetime
) -> Mapping[str, Any]:
    """Return a message as it is sent at a moment: it says first that its data are old, and ends with its address.

    The address of the page that it is about is in `url` too, if the service has a public address: of a message about
    one alert, the signed one of this alert. An SMS ends with that of the country, which is shorter, if there is room.
    """
    data = dict(document["data"])
    if (days := _age(data, now)) is not None and days > stale_after_days:
        for length in data.keys() & {"headline", *BEFORE_ADDRESS}:
            data[length] = {language: _marked(text, days, length, language) for language, text in data[length].items()}
    if base_url is not None:
        short = bilingual(lambda language: f"{base_url}/{language}{_page(data)}")
        data["url"] = bilingual(lambda language: f"{base_url}/{language}{data.get('path', _page(data))}")
        for length in data.keys() & BEFORE_ADDRESS:
            addresses = short if length == "sms" else data["url"]
            data[length] = {
                language: _with_address(text, BEFORE_ADDRESS[length] + addresses[language], length)
                for language, text in data[length].items()
            }
    return {**document, "data": data}


def _with_address(text: str, address: str, length: str) -> str:
    return text if length == "sms" and len(text + address) > gsm7.SMS_LENGTH else text + address


def _page(data: Mapping[str, Any]) -> str:
    location = data.get("location_code", WHOLE_REGION)
    path = "/" if location == WHOLE_REGION else f"/country/{location}"
    return path if data.get("of_headline", True) else f"/{data['outcome']}{path}"


def _age(data: Mapping[str, Any], now: datetime) -> int | None:
    """Return how old the data of a message are [days]; None if it is about no data, or about just that."""
    days = [each["data_as_of"] for each in (data, *data.get("alerts", ())) if "data_as_of" in each]
    if not days or data.get("metric") == REGION_METRIC:
        return None
    return (now.date() - date.fromisoformat(max(days))).days


def _marked(text: str, days: int, length: str, language: str) -> str:
    mark, first = OLD_DATA[language].format(days=days), f"{SIMULATED[language]} – "
    if length == "sms":
        mark, first = gsm7.to_gsm7(mark), "SIMULATED - "
    begin = first if text.startswith(first) else ""
    marked = f"{begin}{mark} {'-' if length == 'sms' else '–'} {text.removeprefix(first)}"
    return gsm7.fitting(marked.split("\n")) if length == "sms" else marked
