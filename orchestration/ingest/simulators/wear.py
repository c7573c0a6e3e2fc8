"""Wear of every component: from fitting, through its first signs, to the threshold at which it fails.

Causal: the threshold and the onset of the signs are drawn when a component is fitted; load does the
rest. Add laws of wear here. Avoid the calendar of repairs and visits: that is in `life`.
"""

import numpy as np

from orchestration.ingest.simulators.clock import Bools, Floats, Ints
from orchestration.ingest.simulators.draws import CycleDraws, draw_cycle
from orchestration.ingest.simulators.fleet import COMPONENTS, FLEET, Component

_ABSENT_LIFE_DAYS = 1e9  # a component that the model does not have
_LOAD_EXPONENT = 1.3
_FIRST_WEAR = 0.9  # components of a running plant are anywhere in their life, but not about to fail
_LUBRICATED: Bools = np.array([component is not Component.CONTROLLER for component in COMPONENTS])
_LUBRICATION = 0.9
_STEEPNESS = 1.5  # decay accelerates: half of the sign shows in the last 37 % of the way


class ComponentWear:
    """Wear state of all components: arrays of shape (machines, components)."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        shape = (len(FLEET), len(COMPONENTS))
        self._life_days: Floats = np.array(
            [
                [machine.model.life_days.get(component, _ABSENT_LIFE_DAYS) for component in COMPONENTS]
                for machine in FLEET
            ]
        )
        pace = [1.0 + 0.01 * (machine.age_years - 6.0) for machine in FLEET]
        usual_load = [machine.model.usual_load for machine in FLEET]
        self._pace: Floats = np.array(pace)
        self._usual_load: Floats = np.array(usual_load)
        self._cycle: Ints = np.zeros(shape, dtype=np.int64)
        self._wear: Floats = np.zeros(shape)
        self._threshold: Floats = np.ones(shape)
        self._onset_share: Floats = np.ones(shape)
        self._gain: Floats = np.ones(shape)
        self._has_codes: Bools = np.zeros(shape, dtype=bool)
        self._onset_s: Ints = np.full(shape, -1, dtype=np.int64)
        for machine, component in np.ndindex(*shape):
            draws = self._fit(machine, component)
            self._wear[machine, component] = _FIRST_WEAR * draws.worn * draws.threshold

    def cycle(self, machine: int, component: int) -> CycleDraws:
        """What was drawn when the fitted component was put in."""
        return draw_cycle(self._seed, machine, component, int(self._cycle[machine, component]))

    def onset_s(self, machine: int, component: int) -> int | None:
        """Second of plant time of the first signs, None before them."""
        onset = int(self._onset_s[machine, component])
        return onset if onset >= 0 else None

    def share_of_life(self) -> Floats:
        """Share of life used, 1 is failure: (n, c)."""
        return self._wear / self._threshold

    def progress_of_signs(self) -> Floats:
        """0 until the onset, 1 at failure: (n, c)."""
        return np.clip((self.share_of_life() - self._onset_share) / (1.0 - self._onset_share), 0.0, 1.0)

    def signs(self, now_s: int) -> tuple[Floats, Floats]:
        """Strength of the signs, and the part of it that controllers notice: two arrays (n, c)."""
        progress = self.progress_of_signs()
        self._onset_s[(progress > 0.0) & (self._onset_s < 0)] = now_s
        return progress**_STEEPNESS * self._gain, np.where(self._has_codes, progress, 0.0)

    def advance(self, load: Floats, heat: Floats, hours: Floats) -> dict[int, tuple[int, float]]:
        """Add an hour's wear.

        Args:
            load: Mean load of the hour, (n,).
            heat: Factor of the hall's warmth, (n,).
            hours: Share of the hour that each machine was up, (n,).

        Returns:
            For each machine with a component over its threshold: that component (the first, if
            there are several) and the share of the hour that had passed.
        """
        rate = (load / self._usual_load) ** _LOAD_EXPONENT * self._pace * heat * hours / 24.0
        step = rate[:, None] / self._life_days
        left = self._threshold - self._wear
        self._wear += step
        failed: dict[int, tuple[int, float]] = {}
        for machine in np.flatnonzero(((step >= left) & (step > 0.0)).any(axis=1)):
            passed = np.clip(left[machine], 0.0, None) / np.maximum(step[machine], 1e-300)
            component = int(np.argmin(passed))
            failed[int(machine)] = component, float(passed[component])
        return failed

    def replace(self, machine: int, component: int) -> None:
        """Fit a new component: no wear, a new threshold."""
        self._cycle[machine, component] += 1
        self._fit(machine, component)

    def lubricate(self, machine: int) -> None:
        """Scheduled care: takes a tenth of the wear of everything that moves."""
        self._wear[machine, _LUBRICATED] *= _LUBRICATION

    def _fit(self, machine: int, component: int) -> CycleDraws:
        draws = self.cycle(machine, component)
        at = machine, component
        self._wear[at] = 0.0
        self._threshold[at] = draws.threshold
        self._onset_share[at] = 1.0 - draws.lead_days / (float(self._life_days[at]) * draws.threshold)
        self._gain[at] = draws.gain
        self._has_codes[at] = draws.has_codes
        self._onset_s[at] = -1
        return draws
