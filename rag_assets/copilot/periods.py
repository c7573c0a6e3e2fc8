"""Periods that questions and requests name, as instants of the plant's own clock.

Add a way of naming a period here. Avoid SQL: tools take the instants.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

DEFAULT_DAYS = 30
MAXIMUM_DAYS = 731
"""Two years: more would only read the whole table."""

_UNIT_HOURS = {"hour": 1, "day": 24, "week": 168, "month": 720, "quarter": 2184, "year": 8760}
_COUNTED = re.compile(
    r"\b(?:last|past|previous|latest|within the last)[\s_-]+(\d{1,4})[\s_-]*"
    r"(hour|day|week|month|quarter|year|h|d)s?\b",
    re.IGNORECASE,
)
_NAMED = re.compile(
    r"\b(?:last|past|this|previous)[\s_-]+(hour|day|week|month|quarter|year)\b", re.IGNORECASE
)
_ISO = r"(\d{4}-\d{2}-\d{2})"
_BETWEEN = re.compile(rf"\b(?:between|from)\s+{_ISO}\s+(?:and|to|until|through)\s+{_ISO}", re.IGNORECASE)
_SINCE = re.compile(rf"\bsince\s+{_ISO}", re.IGNORECASE)
_ON = re.compile(rf"\b(?:on|during)\s+{_ISO}", re.IGNORECASE)


@dataclass(frozen=True)
class Period:
    """After `starts_at`, up to and with `ends_at`; the period before it is equally long.

    Attributes:
        is_named: Whether the question named it, or it is the default.
    """

    starts_at: datetime
    ends_at: datetime
    is_named: bool = True

    @property
    def previous_starts_at(self) -> datetime:
        """Start of the equally long period before."""
        return self.starts_at - (self.ends_at - self.starts_at)

    @property
    def days(self) -> tuple[date, date]:
        """First and last calendar day (UTC) that lie in the period, for rows that count whole days.

        The day of the end counts although it is not over: what it has so far is the newest there is.

        >>> Period(datetime(2026, 11, 18, 6, tzinfo=UTC), datetime(2026, 11, 20, 6, tzinfo=UTC)).days
        (datetime.date(2026, 11, 19), datetime.date(2026, 11, 20))
        """
        first = self.starts_at.date()
        if self.starts_at != _midnight(first):
            first += timedelta(days=1)
        return first, (self.ends_at - timedelta(microseconds=1)).date()

    @property
    def previous_first_day(self) -> date:
        """First day of the equally many days before."""
        first, last = self.days
        return first - timedelta(days=(last - first).days + 1)


def read_period(text: str, now_at: datetime, default_days: float = DEFAULT_DAYS) -> Period:
    """The period that a text names, else the last `default_days` days.

    Args:
        text: A question, or a request's `time_range` such as `last_30_days`.
        now_at: The plant's clock.
        default_days: Where nothing is named.
    """
    explicit = _explicit(text, now_at)
    if explicit:
        return explicit
    hours = _hours(text, now_at)
    length = timedelta(hours=min(hours or default_days * 24, MAXIMUM_DAYS * 24))
    return Period(now_at - length, now_at, is_named=hours is not None)


def _explicit(text: str, now_at: datetime) -> Period | None:
    if between := _BETWEEN.search(text):
        first, last = _day(between.group(1)), _day(between.group(2))
        if first and last and first <= last:
            return Period(_midnight(first), _midnight(last + timedelta(days=1)))
    if since := _SINCE.search(text):
        first = _day(since.group(1))
        if first and _midnight(first) < now_at:
            return Period(_midnight(first), now_at)
    if on := _ON.search(text):
        day = _day(on.group(1))
        if day:
            return Period(_midnight(day), _midnight(day + timedelta(days=1)))
    if re.search(r"\byesterday\b", text, re.IGNORECASE):
        today = _midnight((now_at - timedelta(microseconds=1)).date())
        return Period(today - timedelta(days=1), today)
    return None


def _hours(text: str, now_at: datetime) -> float | None:
    if counted := _COUNTED.search(text):
        unit = {"h": "hour", "d": "day"}.get(counted.group(2).lower(), counted.group(2).lower())
        return max(1, int(counted.group(1))) * _UNIT_HOURS[unit]
    if named := _NAMED.search(text):
        return _UNIT_HOURS[named.group(1).lower()]
    if re.search(r"\btoday\b", text, re.IGNORECASE):
        since_midnight = now_at - _midnight((now_at - timedelta(microseconds=1)).date())
        return since_midnight / timedelta(hours=1)
    return None


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
