"""The declared list of features: name, source, unit, window and meaning of each.

Add a feature here and compute it in `windows` or `occurrences`; a test fails when the list and the
computed columns differ. Avoid values that depend on data: what a tenant has (metrics, error codes,
components, models) comes in through `FeatureSet`.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ml.features.metrics import Metric

ERROR_WINDOWS_H = (24, 48, 168)
# One year: with less, day of year only tells the folds' periods apart.
SEASON_NEEDS_DAYS = 365


@dataclass(frozen=True)
class FeatureSpec:
    """One feature.

    Attributes:
        name: Column name.
        source: Where the value comes from: `metric`, `error`, `maintenance`, `failure`, `equipment`
            or `calendar`.
        subject: Metric, error code, component or model that it is about; empty for totals.
        unit: Unit of the value; empty where the source states none.
        window: Window that it looks back over, for example `24h`; empty for none.
        description: What it says, in words.
    """

    name: str
    source: str
    subject: str
    unit: str
    window: str
    description: str


@dataclass(frozen=True)
class FeatureSet:
    """What the declared list is expanded over; it travels with the model that was trained on it.

    Attributes:
        metrics: Metrics with at least one value.
        error_codes: Error codes seen in training.
        components: Components replaced, maintained or failed in training.
        equipment_models: Machine models, one-hot encoded.
        has_season: Whether the history was long enough for the season to mean anything.
        dropped: What the tenant does not have, with the reason.
    """

    metrics: tuple[Metric, ...]
    error_codes: tuple[str, ...]
    components: tuple[str, ...]
    equipment_models: tuple[str, ...]
    has_season: bool
    dropped: tuple[tuple[str, str], ...] = ()

    @property
    def specs(self) -> tuple[FeatureSpec, ...]:
        """Every feature in column order."""
        return tuple(_expand(self))

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order: the columns of the model's input."""
        return tuple(spec.name for spec in self.specs)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary from which `from_json` makes an equal feature set."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "FeatureSet":
        """Rebuild a feature set that `to_json` wrote."""
        return cls(
            metrics=tuple(Metric(**metric) for metric in content["metrics"]),
            error_codes=tuple(content["error_codes"]),
            components=tuple(content["components"]),
            equipment_models=tuple(content["equipment_models"]),
            has_season=bool(content["has_season"]),
            dropped=tuple((str(name), str(reason)) for name, reason in content["dropped"]),
        )


def _expand(features: FeatureSet) -> Iterator[FeatureSpec]:
    for metric in features.metrics:
        yield from _of_metric(metric)
    if len(features.metrics) > 1:
        yield from _of_residuals(features.metrics)
    if features.metrics:
        # Which metric leads depends on the part that fails; that one leads is common to all parts, and
        # a few dozen failures are enough to learn it.
        yield FeatureSpec("largest_z_24h", "metric", "", "1", "31d", "Largest absolute z of all metrics.")
    yield from _of_errors(features.error_codes)
    yield from _of_work(features.components)
    yield FeatureSpec("age_years", "equipment", "", "years", "", "Age of the machine when registered.")
    for model in features.equipment_models:
        yield FeatureSpec(f"is_model_{model}", "equipment", model, "", "", f"The machine is a {model}.")
    if features.has_season:
        yield FeatureSpec("season_sin", "calendar", "", "", "", "Day of the year, sine.")
        yield FeatureSpec("season_cos", "calendar", "", "", "", "Day of the year, cosine.")


def _of_metric(metric: Metric) -> Iterator[FeatureSpec]:
    name, unit = metric.name, metric.unit

    def spec(suffix: str, window: str, description: str, in_unit: str = unit) -> FeatureSpec:
        return FeatureSpec(f"{name}_{suffix}", "metric", name, in_unit, window, description)

    for window in ("3h", "24h", "7d"):
        yield spec(f"mean_{window}", window, f"Mean over {window}.")
    for window in ("24h", "7d"):
        yield spec(f"std_{window}", window, f"Standard deviation of the hourly means over {window}.")
    yield spec("max_24h", "24h", "Highest reading of 24 h.")
    yield spec("min_24h", "24h", "Lowest reading of 24 h.")
    yield spec("trend_24h", "24h", "Mean of the last 12 h minus mean of the 12 h before.")
    yield spec("trend_7d", "7d", "Mean of the last 24 h minus mean of the 6 days before.")
    yield spec(
        "change_30d",
        "31d",
        "Mean of 24 h over the mean of the 30 days before it, minus 1.",
        in_unit="1",
    )
    yield spec(
        "z_24h",
        "31d",
        "Mean of 24 h less the 30 days before, in standard errors of the machine's own hourly means.",
        in_unit="1",
    )


def _of_residuals(metrics: tuple[Metric, ...]) -> Iterator[FeatureSpec]:
    for window in ("6h", "24h"):
        for metric in metrics:
            yield FeatureSpec(
                f"{metric.name}_residual_{window}",
                "metric",
                metric.name,
                "1",
                "31d",
                f"What the other metrics do not explain of {window}, in standard errors.",
            )
        yield FeatureSpec(
            f"largest_residual_{window}", "metric", "", "1", "31d", f"Largest absolute residual of {window}."
        )


def _of_errors(codes: tuple[str, ...]) -> Iterator[FeatureSpec]:
    for hours in ERROR_WINDOWS_H:
        window = f"{hours}h"
        yield FeatureSpec(f"errors_{window}", "error", "", "1", window, f"Errors in {hours} h.")
        for code in codes:
            yield FeatureSpec(
                f"errors_{code}_{window}", "error", code, "1", window, f"Errors {code} in {hours} h."
            )
    yield FeatureSpec("hours_since_error", "error", "", "h", "", "Hours since the last error of any code.")


def _of_work(components: tuple[str, ...]) -> Iterator[FeatureSpec]:
    yield FeatureSpec(
        "hours_since_maintenance", "maintenance", "", "h", "", "Hours since the last work on the machine."
    )
    for component in components:
        yield FeatureSpec(
            f"hours_since_{component}_replaced",
            "maintenance",
            component,
            "h",
            "",
            f"Hours since {component} was last replaced.",
        )
    yield FeatureSpec("failures_before", "failure", "", "1", "", "Failures of the machine so far.")
    yield FeatureSpec("hours_since_failure", "failure", "", "h", "", "Hours since the last failure.")
