"""When a challenger may take over: who decides, how soon after the last change, judged on how much time."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from ml.registry.promotions import Mode


@dataclass(frozen=True)
class PromotionRule:
    """How challengers of a plant are decided on.

    Attributes:
        mode: `MANAGED` promotes what wins beyond noise; `MANUAL` lets what wins wait for a person.
        cool_down: Least plant time between the data of two champions; promotions that follow each other
            within hours judge the same failures again.
        look_back: Length of the window, from the last common hour back, that both are compared on.
        drifted_since: Start of a drifted slice: the challenger must then win on the rows since, and must
            not lose on the rows before.
    """

    mode: Mode = "MANAGED"
    cool_down: timedelta = timedelta(hours=12)
    look_back: timedelta = timedelta(days=120)
    drifted_since: datetime | None = None
