"""Read a past moment that a person has written: a day, or a time with its offset from UTC."""

import re
from datetime import UTC, date, datetime, time, timedelta

MOMENT_PATTERN = r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2}))?"
"""How a past moment is written, as a regular expression."""

LAST_MICROSECOND = timedelta(seconds=1) - timedelta(microseconds=1)


def parse_past_moment(text: str, now: datetime) -> datetime:
    """Return the end of the day (UTC), or of the second, that `text` names. Raises ValueError with the broken rule."""
    if not re.fullmatch(MOMENT_PATTERN, text, re.ASCII):
        raise ValueError("a day as YYYY-MM-DD, or a moment as YYYY-MM-DDThh:mm:ssZ")
    try:
        if "T" in text:
            end = datetime.fromisoformat(text).astimezone(UTC) + LAST_MICROSECOND
        else:
            end = datetime.combine(date.fromisoformat(text), time.max, UTC)
    except (ValueError, OverflowError):
        raise ValueError("there is no such day or moment") from None
    if end >= now:
        yesterday = (now.astimezone(UTC) - timedelta(days=1)).date()
        raise ValueError(f"a moment that is past: {yesterday} is the last day that is over (UTC)")
    return end
