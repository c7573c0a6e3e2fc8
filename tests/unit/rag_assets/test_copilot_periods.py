"""Periods as people name them, and what is said where one is not understood."""

from datetime import UTC, datetime, timedelta

import pytest

from rag_assets.copilot.periods import MAXIMUM_DAYS, UnreadablePeriodError, read_period, read_time_range

NOW = datetime(2026, 11, 20, 6, tzinfo=UTC)
"""A Friday."""


def _at(month: int, day: int, year: int = 2026) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "starts_at", "ends_at"),
    [
        ("errors of the last two weeks", NOW - timedelta(days=14), NOW),
        ("over the last couple of days", NOW - timedelta(days=2), NOW),
        ("last_90_minutes", NOW - timedelta(minutes=90), NOW),
        ("in the past twenty-four hours", NOW - timedelta(days=30), NOW),  # not understood, and said so
        ("downtime in October", _at(10, 1), _at(11, 1)),
        ("downtime in November", _at(11, 1), NOW),
        ("downtime in December", _at(12, 1, 2025), _at(1, 1)),
        ("downtime in October 2025", _at(10, 1, 2025), _at(11, 1, 2025)),
        ("downtime in 2026-10", _at(10, 1), _at(11, 1)),
        ("uptime in 2025", _at(1, 1, 2025), _at(1, 1)),
        ("between August and October", _at(8, 1), _at(11, 1)),
        ("from November to January 2026", _at(11, 1, 2025), _at(2, 1)),
        ("failures on 3 March 2026", _at(3, 3), _at(3, 4)),
        ("failures on March 3, 2026", _at(3, 3), _at(3, 4)),
        ("failures on the 3rd of March", _at(3, 3), _at(3, 4)),
        ("failures on 3 December", _at(12, 3, 2025), _at(12, 4, 2025)),
        ("since Monday", _at(11, 16), NOW),
        ("since Friday", _at(11, 20), NOW),
        ("on Friday", _at(11, 13), _at(11, 14)),
        ("last Wednesday", _at(11, 18), _at(11, 19)),
        ("since October", _at(10, 1), NOW),
        ("since 3 November", _at(11, 3), NOW),
        ("two days ago", _at(11, 18), _at(11, 19)),
        ("2 weeks ago", NOW - timedelta(days=14), NOW - timedelta(days=7)),
        ("the day before yesterday", _at(11, 18), _at(11, 19)),
        ("since yesterday", _at(11, 19), NOW),
        ("2026-11-01/2026-11-03", _at(11, 1), _at(11, 4)),
        ("between 2026-11-18 and 2026-12-31", _at(11, 18), NOW),
    ],
)
def test_a_period_is_the_one_that_was_named(text: str, starts_at: datetime, ends_at: datetime) -> None:
    """Forbids the last 30 days in place of a period that people name in words."""
    period = read_period(text.replace("_", " "), NOW)

    assert (period.starts_at, period.ends_at) == (starts_at, ends_at)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("errors in the past twenty-four hours", "twenty-four hours"),
        ("errors of last night", "last night"),
        ("errors since the weekend", "weekend"),
        ("errors until Monday", "Monday"),
        ("errors on 5.11.2026", "5.11.2026"),
        ("errors in calendar week 46", "week 46"),
        ("errors in Q3 2026", "Q3"),
        ("errors in the first week of November", "of November"),
        ("errors in the last 3 shifts", "last 3 shifts"),
        ("errors over the weekend", "weekend"),
        ("errors a few days ago", "days ago"),
        ("errors since 2027-01-01", "after the latest data"),
        ("errors between 2026-11-05 and 2026-11-01", "ends before"),
        ("errors on 2026-13-45", "does not exist"),
        ("errors on 30 February 2026", "does not exist"),
        ("errors since 1000-01-01", "1990"),
        ("errors between 2026-01-01 and 9999-12-31", "does not exist"),
        ("errors between 2026-01-01 and 2999-12-31", "2100"),
        ("errors since 2020-01-01", str(MAXIMUM_DAYS)),
        ("errors of the last 9 years", str(MAXIMUM_DAYS)),
    ],
)
def test_a_period_that_is_not_looked_at_is_said(text: str, said: str) -> None:
    """Forbids another period than the named one without a word, and a crash over a far one."""
    period = read_period(text, NOW)

    assert said in period.problem
    assert period.ends_at - period.starts_at <= timedelta(days=MAXIMUM_DAYS)
    with pytest.raises(UnreadablePeriodError, match="last_30_days"):
        read_time_range(text.removeprefix("errors ").removeprefix("of the "), NOW)


@pytest.mark.parametrize("text", ["garbage", "", "all", "30", "next_week"])
def test_a_requests_period_has_to_be_one(text: str) -> None:
    """Forbids that a mistyped field is answered with the default."""
    with pytest.raises(UnreadablePeriodError, match="no period is named"):
        read_time_range(text, NOW)


@pytest.mark.parametrize(
    "text",
    [
        "How is it since the last maintenance?",
        "It may fail next week, may it?",
        "The pump hums since it was changed",
        "Which machines fail in the next 7 days?",
        "Turn the valve on and march on",
        "What happened before the failure?",
    ],
)
def test_words_that_name_no_period_are_left_alone(text: str) -> None:
    """Forbids a note about a period where none is named."""
    period = read_period(text, NOW)

    assert (period.is_named, period.problem) == (False, "")
    assert period.starts_at == NOW - timedelta(days=30)
