from datetime import UTC, datetime
from typing import Any

import pytest

from rag_assets.sources import insights

NOW = datetime(2026, 1, 15, tzinfo=UTC)
WINDOW = {"now": NOW, "since": datetime(2026, 1, 8, tzinfo=UTC)}
MACHINE = insights._Machine("plant", "M1", None, "HX-500", None, NOW)


def week(is_this_week: bool, **means: float | None) -> dict[str, Any]:
    return {"tenant_id": "plant", "equipment_id": "M1", "is_this_week": is_this_week, **means}


@pytest.mark.parametrize(
    ("this", "before", "said"),
    [
        (None, None, "no readings this week; no event."),
        (None, {"heat": 50.0}, "no readings this week, though there were some the week before; no event."),
        ({"heat": None}, {"heat": None}, "no readings this week; no event."),
        ({"heat": 50.0}, None, "nothing to compare with: no readings the week before; no event."),
        ({"heat": 50.0, "hum": None}, {"heat": 50.0, "hum": 2.0}, "no hum this week; no event."),
        # 52 / 50 is 4 %, 55 / 50 is 10 %.
        ({"heat": 52.0}, {"heat": 50.0}, "no metric's mean moved by 5 % or more; no event."),
        ({"heat": 55.0}, {"heat": 50.0}, "heat +10.0%; no event."),
    ],
)
def test_a_silent_machine_is_no_good_news(
    this: dict[str, float | None] | None, before: dict[str, float | None] | None, said: str
) -> None:
    """Forbids that a machine which sends nothing reads like one on which nothing changed."""
    weeks = {key: week(key, **means) for key, means in ((True, this), (False, before)) if means is not None}

    found = insights._document(MACHINE, weeks, [], WINDOW)

    assert f"M1 (HX-500): {said}" in found.content
    assert ("## Readings" in found.content) == bool(this and this["heat"] is not None)
