"""Words for periods, as people write them, read into instants of the plant's own clock.

Add a way of naming a period here, and to `UNREAD` if it can only be recognised. Avoid what is done with a
period that was not understood (`periods.py`).
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

Span = tuple[datetime, datetime]

_UNIT_HOURS = {
    "minute": 1 / 60, "min": 1 / 60, "m": 1 / 60, "hour": 1, "h": 1, "day": 24, "d": 24, "week": 168,
    "fortnight": 336, "month": 720, "quarter": 2184, "year": 8760,
}  # fmt: skip
_WORDS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty"
)
_NUMBERS = {word: number for number, word in enumerate(_WORDS.split(), start=1)} | {
    "a": 1, "an": 1, "couple of": 2, "a couple of": 2, "thirty": 30, "sixty": 60, "ninety": 90,
}  # fmt: skip
_MONTHS = [
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
]
_WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]

_COUNT = rf"(\d{{1,4}}|{'|'.join(sorted(_NUMBERS, key=len, reverse=True))})"
_UNIT = r"(minute|min|hour|day|week|fortnight|month|quarter|year|h|d)s?"
_MONTH = rf"(?:{'|'.join(_MONTHS)}|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)"
_WEEKDAY = rf"(?:{'|'.join(_WEEKDAYS)})"
_ISO = r"\d{4}-\d{2}-\d{2}"
_ORDINAL = r"\d{1,2}(?:st|nd|rd|th)?"
_YEAR = r"(?:,?\s\d{4})?"
_NAMED_DAY = rf"{_ORDINAL}\s(?:of\s)?{_MONTH}\b{_YEAR}|{_MONTH}\s{_ORDINAL}\b{_YEAR}"
_DAY = rf"({_ISO}|{_NAMED_DAY})"
_JOINT = r"(?:\s(?:and|to|until|till|through)\s|\s?(?:/|\.\.|–)\s?)"


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _whole_day(day: date) -> Span:
    return _midnight(day), _midnight(day + timedelta(days=1))


def _today(now_at: datetime) -> date:
    """The day that is still going on; at midnight that is the one before."""
    return (now_at - timedelta(microseconds=1)).date()


def _day(text: str, now_at: datetime) -> date:
    """A day; one without a year is the latest that has begun.

    Raises:
        ValueError: There is no such day.
        OverflowError: It is out of the calendar.
    """
    if re.fullmatch(_ISO, text):
        return date.fromisoformat(text)
    words = re.findall(r"\d+|[a-z]+", text.lower())
    month = next(_month(word) for word in words if word[:3] in {name[:3] for name in _MONTHS})
    numbers = [int(word) for word in words if word.isdigit()]
    if len(numbers) > 1:
        return date(numbers[1], month, numbers[0])
    day = date(_today(now_at).year, month, numbers[0])
    return day if day <= _today(now_at) else day.replace(year=day.year - 1)


def _month(word: str) -> int:
    return 1 + next(place for place, name in enumerate(_MONTHS) if name[:3] == word[:3].lower())


def _first_of(month: str, year: str | None, now_at: datetime) -> date:
    today = _today(now_at)
    if year:
        return date(int(year), _month(month), 1)
    first = date(today.year, _month(month), 1)
    return first if first <= today else first.replace(year=first.year - 1)


def _next_month(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1)


def _weekday(name: str, latest: date) -> date:
    return latest - timedelta(days=(latest.weekday() - _WEEKDAYS.index(name.lower())) % 7)


def _number(text: str) -> int:
    return int(text) if text.isdigit() else _NUMBERS[text.lower()]


def _between(match: re.Match[str], now_at: datetime) -> Span:
    return _midnight(_day(match[1], now_at)), _midnight(_day(match[2], now_at) + timedelta(days=1))


def _between_months(match: re.Match[str], now_at: datetime) -> Span:
    last = _first_of(match[3], match[4], now_at)
    first = _first_of(match[1], match[2] or str(last.year), now_at)
    if first > last and not match[2]:
        first = first.replace(year=first.year - 1)
    return _midnight(first), _midnight(_next_month(last))


def _in_month(match: re.Match[str], now_at: datetime) -> Span:
    return _month_of(_first_of(match[1], match[2], now_at))


def _month_of(first: date) -> Span:
    return _midnight(first), _midnight(_next_month(first))


def _ago(match: re.Match[str], now_at: datetime) -> Span:
    """A calendar day for days, else one unit: "two weeks ago" is the seven days that began then."""
    count, unit = max(1, _number(match[1])), match[2].lower()
    if unit in {"day", "d"}:
        return _whole_day(_today(now_at) - timedelta(days=count))
    length = timedelta(hours=_UNIT_HOURS[unit])
    return now_at - count * length, now_at - (count - 1) * length


def _last_counted(match: re.Match[str], now_at: datetime) -> Span:
    return now_at - timedelta(hours=max(1, _number(match[1])) * _UNIT_HOURS[match[2].lower()]), now_at


_Reader = Callable[[re.Match[str], datetime], Span]
_RULES: tuple[tuple[re.Pattern[str], _Reader], ...] = (
    (_pattern(rf"\b(?:between|from)\s{_DAY}{_JOINT}{_DAY}"), _between),
    (_pattern(rf"\b({_ISO}){_JOINT}({_ISO})"), _between),
    (
        _pattern(rf"\b(?:between|from)\s({_MONTH})\b(?:\s(\d{{4}}))?{_JOINT}({_MONTH})\b(?:\s(\d{{4}}))?"),
        _between_months,
    ),
    (_pattern(rf"\bsince\s{_DAY}"), lambda match, now_at: (_midnight(_day(match[1], now_at)), now_at)),
    (
        _pattern(rf"\bsince\s(?:last\s|this\s)?({_WEEKDAY})\b"),
        lambda match, now_at: (_midnight(_weekday(match[1], _today(now_at))), now_at),
    ),
    (
        _pattern(rf"\bsince\s(?:the\s(?:beginning|start)\sof\s)?({_MONTH})\b(?:\s(\d{{4}}))?"),
        lambda match, now_at: (_midnight(_first_of(match[1], match[2], now_at)), now_at),
    ),
    (
        _pattern(r"\bsince\syesterday\b"),
        lambda _, now_at: (_midnight(_today(now_at) - timedelta(days=1)), now_at),
    ),
    (_pattern(rf"\b{_COUNT}\s{_UNIT}\sago\b"), _ago),
    (
        _pattern(r"\bday\sbefore\syesterday\b"),
        lambda _, now_at: _whole_day(_today(now_at) - timedelta(days=2)),
    ),
    (_pattern(r"\byesterday\b"), lambda _, now_at: _whole_day(_today(now_at) - timedelta(days=1))),
    (
        _pattern(rf"\b(?:on|during|of|at)\s(?:the\s)?{_DAY}"),
        lambda match, now_at: _whole_day(_day(match[1], now_at)),
    ),
    (
        _pattern(rf"\b(?:in|during|for|last)\s({_MONTH})\b(?:\s(\d{{4}}))?(?!\s?\d)"),
        _in_month,
    ),
    (
        _pattern(rf"\b(?:on|last)\s(?:last\s)?({_WEEKDAY})\b"),
        lambda match, now_at: _whole_day(_weekday(match[1], _today(now_at) - timedelta(days=1))),
    ),
    (
        _pattern(r"\b(?:in|during|for)\s(?:the\syear\s)?((?:19|20)\d{2})\b(?!-)"),
        lambda match, _: (_midnight(date(int(match[1]), 1, 1)), _midnight(date(int(match[1]) + 1, 1, 1))),
    ),
    (
        _pattern(r"\b((?:19|20)\d{2})-(0[1-9]|1[0-2])\b(?!-)"),
        lambda match, _: _month_of(date(int(match[1]), int(match[2]), 1)),
    ),
    (_pattern(rf"\b(?:last|past|previous|latest)\s{_COUNT}\s?{_UNIT}\b"), _last_counted),
    (
        _pattern(r"\b(?:last|past|this|previous)\s(hour|day|week|fortnight|month|quarter|year)\b"),
        lambda match, now_at: (now_at - timedelta(hours=_UNIT_HOURS[match[1].lower()]), now_at),
    ),
    (_pattern(r"\btoday\b"), lambda _, now_at: (_midnight(_today(now_at)), now_at)),
)
"""How a period is named → its instants; the first that is found counts."""

UNREAD = _pattern(
    rf"\b(?:since|until|till|before|after|on|in|from|during|of)\s(?:last\s|this\s|early\s|late\s|mid-?\s?)?(?:{_MONTH}|{_WEEKDAY})\b"
    rf"|\b(?:since|until|before|after|on)\s(?:the\s)?(?:{_DAY}|\d{{1,2}}(?:st|nd|rd|th)\b)"
    r"|\bsince\s(?:last\s|this\s|the\s)?(?:morning|noon|midnight|night|evening|weekend|christmas|easter|new\syear|beginning|start)\b"
    r"|\b\S{1,20}\s(?:minutes?|hours?|days?|weeks?|months?|quarters?|years?)\sago\b"
    r"|\b(?:last|past|previous|this)\s(?:night|evening|morning|afternoon|weekend|shift|spring|summer|autumn|winter|decade)\b"
    r"|\b(?:last|past|previous)\s(?:\S{1,20}\s){1,2}(?:minutes|hours|days|weeks|months|quarters|years|shifts)\b"
    r"|\b(?:on|at|over|during)\s(?:the\s|last\s|this\s)?weekend\b"
    r"|\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b|\b\d{4}-\d{2}-\d{2}\b"
    r"|\b(?:calendar\s)?week[\s-]\d{1,2}\b|\bq[1-4]\b(?:\s\d{4})?"
)
"""Words that name a time which no rule reads."""


def read_span(text: str, now_at: datetime) -> tuple[str, Span] | None:
    """The period that a text names: its words, and its instants as they are written.

    Raises:
        ValueError: It names a day that does not exist.
        OverflowError: It names a day out of the calendar.
    """
    plain = " ".join(text.split())
    for pattern, read in _RULES:
        match = pattern.search(plain)
        if match:
            return match.group(), read(match, now_at)
    return None


def unread_words(text: str) -> str:
    """The first words of a text that name a time which is not understood; empty if there are none."""
    match = UNREAD.search(" ".join(text.split()))
    return match.group() if match else ""
