"""Drift of single features: effect sizes over their own thresholds, with false discoveries held down.

Beside them the mission's z of the batch mean, and what tests for independent readings would have said.
Avoid verdicts: a drifted feature is a finding, not yet a reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ml.drift.calibration import Thresholds, calibrate
from ml.drift.effects import effects
from ml.drift.inline import DRIFT_Z

WINDOW_DAYS = 7
# Below that many readings nothing is said: the tail of a threshold is not known from less.
SMALLEST_REFERENCE = 21 * 24
SMALLEST_SHARE = 0.5
FALSE_DISCOVERIES = 0.1
SHAPE_NAMES = ("wasserstein", "psi", "jensen_shannon")


@dataclass(frozen=True)
class FeatureDrift:
    """One feature of one segment in one window.

    Attributes:
        segment: Machine model or machine; empty for the tenant.
        feature: Name.
        sizes: `location`, `wasserstein`, `psi`, `jensen_shannon`.
        thresholds: The same names.
        p_value: Of the location.
        batch_z: z of the window's mean in deviations of single readings.
        readings: Readings in the window.
        is_drifted: An effect is beyond its threshold, and it survives the false-discovery control.
        note: Why nothing was tested; empty where it was.
        score_effect: How far its move shifted the predictions, in log odds; None where unknown.
    """

    segment: str
    feature: str
    sizes: Mapping[str, float]
    thresholds: Mapping[str, float]
    p_value: float
    batch_z: float
    readings: int
    is_drifted: bool
    note: str = ""
    score_effect: float | None = None

    @property
    def is_far(self) -> bool:
        """The mission's rule: z of the batch mean above 5."""
        return self.batch_z > DRIFT_Z


def check_feature(
    segment: str,
    feature: str,
    reference: np.ndarray,
    window: np.ndarray,
    thresholds: Thresholds | None = None,
    alarms_per_month: float = 0.05,
) -> FeatureDrift:
    """Test one feature.

    Args:
        segment: Whose it is.
        feature: Its name.
        reference: Shape (n,), in the order of time, profile removed, NaN where missing.
        window: Shape (m,), the same.
        thresholds: Of this reference, where they were made before.
        alarms_per_month: Stated rate of false alarms where they were not.
    """
    usual, found = reference[~np.isnan(reference)], window[~np.isnan(window)]
    needed = max(24, int(SMALLEST_SHARE * len(window)))
    if len(usual) < SMALLEST_REFERENCE or len(found) < needed:
        note = (
            f"{len(usual)} readings in the reference and {len(found)} in the window; needed are "
            f"{SMALLEST_REFERENCE} and {needed}"
        )
        return FeatureDrift(segment, feature, {}, {}, 1.0, 0.0, len(found), False, note)
    if float(usual.std()) <= 0:
        is_other = bool((found != usual[0]).any())
        note = "constant in the reference"
        return FeatureDrift(segment, feature, {}, {}, 1.0, 0.0, len(found), is_other, note)
    limits = thresholds or calibrate(usual, len(window), alarms_per_month)
    measured = effects(usual, found[None])
    location, shapes = float(measured.location[0]), measured.shapes()[:, 0]
    sizes = {"location": location, **dict(zip(SHAPE_NAMES, map(float, shapes), strict=True))}
    bars = {"location": limits.location, **dict(zip(SHAPE_NAMES, limits.shapes, strict=True))}
    return FeatureDrift(
        segment=segment,
        feature=feature,
        sizes=sizes,
        thresholds=bars,
        p_value=limits.p_value(location),
        batch_z=abs(location),
        readings=len(found),
        is_drifted=any(abs(sizes[name]) > bars[name] for name in bars),
    )


def hold_down_false_discoveries(
    found: Sequence[FeatureDrift], rate: float = FALSE_DISCOVERIES
) -> list[FeatureDrift]:
    """Keep only those alarms of one check that hold at a false-discovery rate (Benjamini, Hochberg 1995).

    An effect beyond a shape threshold keeps its alarm: those thresholds are further out than any p-value
    of the location that this could ask for.
    """
    tested = sorted(one.p_value for one in found if not one.note)
    held = [p for rank, p in enumerate(tested, start=1) if p <= rate * rank / len(tested)]
    limit = max(held, default=-1.0)
    return [one if not one.is_drifted or _keeps(one, limit) else _dropped(one) for one in found]


def _keeps(one: FeatureDrift, limit: float) -> bool:
    by_shape = any(one.sizes.get(name, 0.0) > one.thresholds.get(name, np.inf) for name in SHAPE_NAMES)
    return bool(one.note) or by_shape or one.p_value <= limit


def _dropped(one: FeatureDrift) -> FeatureDrift:
    from dataclasses import replace

    return replace(one, is_drifted=False)
