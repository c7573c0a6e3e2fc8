"""Periods that questions and requests name, as instants of the plant's own clock.

Add a rule on what may be looked at here, and words in `period_words.py`. Avoid SQL: tools take the instants.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from rag_assets.copilot.period_words import read_span, unread_words

DEFAULT_DAYS = 30
MAXIMUM_DAYS = 731
"""Two years: more would only read the whole table."""

_EARLIEST, _LATEST = date(1990, 1, 1), date(2100, 1, 1)
UNDERSTOOD = (
    "last_30_days, last_2_weeks, last_90_minutes, today, yesterday, 3 days ago, since 2026-11-01, "
    "since Monday, on 2026-11-05, in October 2026, between 2026-11-01 and 2026-11-07"
)


class UnreadablePeriodError(ValueError):
    """A request's period is not understood, or is none that can be looked at."""


@dataclass(frozen=True)
class Period:
    """After `starts_at`, up to and with `ends_at`; the period before it is equally long.

    Attributes:
        is_named: Whether the question named it, or it is the default.
        problem: What of the period that was named is not looked at, in words; empty if all is.
    """

    starts_at: datetime
    ends_at: datetime
    is_named: bool = True
    problem: str = ""

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
        text: A question.
        now_at: The plant's clock.
        default_days: Where nothing is named, or what is named can't be looked at: then `problem` says so.
    """
    default = timedelta(days=min(default_days, MAXIMUM_DAYS))
    try:
        found = read_span(text, now_at)
    except (ValueError, OverflowError):
        return Period(now_at - default, now_at, True, "a day that it names does not exist")
    if found is None:
        unread = unread_words(text)
        problem = f"the period {unread!r} is not understood" if unread else ""
        return Period(now_at - default, now_at, is_named=False, problem=problem)
    words, (starts_at, ends_at) = found
    problem = _problem(words, starts_at, ends_at, now_at)
    if problem:
        return Period(now_at - default, now_at, True, problem)
    ends_at = min(ends_at, now_at)
    longest = timedelta(days=MAXIMUM_DAYS)
    if ends_at - starts_at > longest:
        shortened = f"{words!r} is longer than {MAXIMUM_DAYS} days: only the last of them are looked at"
        return Period(ends_at - longest, ends_at, True, shortened)
    return Period(starts_at, ends_at)


def read_time_range(text: str, now_at: datetime) -> Period:
    """The period of a request's `time_range`, such as `last_30_days`.

    Args:
        text: The field.
        now_at: The plant's clock.

    Raises:
        UnreadablePeriodError: It names none, or none that can be looked at.
    """
    period = read_period(text.replace("_", " "), now_at)
    if period.is_named and not period.problem:
        return period
    problem = period.problem or "no period is named"
    raise UnreadablePeriodError(
        f"time_range {text!r}: {problem}; what is understood, up to {MAXIMUM_DAYS} days: {UNDERSTOOD}"
    )


def _problem(words: str, starts_at: datetime, ends_at: datetime, now_at: datetime) -> str:
    if not (_midnight(_EARLIEST) <= starts_at and ends_at <= _midnight(_LATEST)):
        return f"{words!r} lies outside of {_EARLIEST.year} to {_LATEST.year}"
    if starts_at >= ends_at and starts_at < now_at:
        return f"{words!r} ends before it begins"
    if starts_at >= now_at:
        return f"{words!r} begins after the latest data, which are of {now_at:%Y-%m-%d %H:%M} UTC"
    return ""


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
