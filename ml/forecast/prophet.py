"""Prophet as one candidate among others.

It is fitted anew at each origin, so it is only asked for where a second per fit is affordable, and it serves
only where it wins.
"""

# Prophet has no type information.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from ml.forecast.candidates import Origins
from ml.forecast.series import Values


@dataclass(frozen=True)
class ProphetCandidate:
    """Prophet with its own choice of seasonalities.

    Attributes:
        start: Instant of the series' first value.
        step: Time between values.
        memory: Values that a fit sees at most.
    """

    start: datetime
    step: timedelta
    memory: int = 2000

    @property
    def name(self) -> str:
        """Name of the library."""
        return "prophet"

    @property
    def context(self) -> int:
        """Two values make a trend."""
        return 2

    def fit(self, values: Values, horizon: int) -> "ProphetCandidate":
        """Nothing is learned ahead of an origin: each forecast fits on what is known at it."""
        return self

    def forecast(self, values: Values, origins: Origins, horizon: int) -> Values:
        """See `ml.forecast.candidates.Fitted.forecast`; one fit per origin."""
        return np.stack([self._from(values[: int(origin)], horizon) for origin in origins])

    def _from(self, known: Values, horizon: int) -> Values:
        # Both report on the terminal what concerns nobody here: chains that end, and that plots are absent.
        for logger in ("cmdstanpy", "prophet.plot"):
            logging.getLogger(logger).setLevel(logging.CRITICAL)
        from prophet import Prophet

        first = max(len(known) - self.memory, 0)
        naive_start = self.start.replace(tzinfo=None)
        instants = [naive_start + step * self.step for step in range(first, len(known) + horizon)]
        model = Prophet(uncertainty_samples=0)
        model.fit(pd.DataFrame({"ds": instants[:-horizon], "y": known[first:]}))
        ahead = model.predict(pd.DataFrame({"ds": instants[-horizon:]}))
        return ahead["yhat"].to_numpy(dtype=np.float64)
