"""Past moments as people write them: a day, or a moment with its offset from UTC."""

import re
from datetime import UTC, date, datetime, time, timedelta

WRITTEN = r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2}))?"
"""How a past moment is written, as a regular expression."""

WHOLE_SECOND = timedelta(seconds=1) - timedelta(microseconds=1)


def past(written: str, now: datetime) -> datetime:
    """The end of a day (UTC), or of a second, in the past. Raises ValueError with the rule that is broken."""
    if not re.fullmatch(WRITTEN, written, re.ASCII):
        raise ValueError("a day as YYYY-MM-DD, or a moment as YYYY-MM-DDThh:mm:ssZ")
    try:
        if "T" in written:
            end = datetime.fromisoformat(written).astimezone(UTC) + WHOLE_SECOND
        else:
            end = datetime.combine(date.fromisoformat(written), time.max, UTC)
    except (ValueError, OverflowError):
        raise ValueError("there is no such day or moment") from None
    if end >= now:
        yesterday = (now.astimezone(UTC) - timedelta(days=1)).date()
        raise ValueError(f"a moment that is past: {yesterday} is the last day that is over (UTC)")
    return end
