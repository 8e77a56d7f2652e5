"""Quiet hours: whether a moment is in them, and when they end. They follow the clock on the wall of a time zone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from service.settings import QuietHours


def end_of(hours: QuietHours, zone: ZoneInfo, now: datetime) -> datetime | None:
    """Return when the quiet hours end that `now` is in, in UTC; None outside of quiet hours."""
    wall = now.astimezone(zone)
    started_today = wall.time() >= hours.start
    if hours.start < hours.end:
        is_quiet, ends_tomorrow = started_today and wall.time() < hours.end, False
    else:
        is_quiet, ends_tomorrow = started_today or wall.time() < hours.end, started_today
    if not is_quiet:
        return None
    day = wall.date() + timedelta(days=ends_tomorrow)
    # When clocks are set back, the end is shown twice; the other time is past. When they are set forward over it, the
    # first reading is the one after the change.
    ends = [datetime.combine(day, hours.end, zone).replace(fold=fold).astimezone(UTC) for fold in (0, 1)]
    return min(end for end in ends if end > now)
