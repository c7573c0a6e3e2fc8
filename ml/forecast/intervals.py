"""Prediction intervals from errors that were really made: split conformal, renewed at each origin.

An error counts once its step has passed, so nothing after an origin is used. Errors of the last weeks only:
seasons change how wrong a forecast is, and quantiles of a mild season undercover the next harsh one.

Source of the method: Papadopoulos and others, Inductive Confidence Machines for Regression, ECML 2002; the
running form after Gibbs and Candès, Adaptive Conformal Inference Under Distribution Shift, NeurIPS 2021.
"""

from bisect import bisect_left, insort

import numpy as np

from ml.forecast.series import Values

NOMINAL = 0.9
# Each origin that passes moves the share that is asked for by this times its miss.
LEARNING_RATE = 0.02


def half_widths(errors: Values, nominal: float = NOMINAL) -> Values:
    """Half width of the interval per step ahead.

    Args:
        errors: Errors of past forecasts, shape (origins, steps), NaN where not known.
        nominal: Share of values that the interval is to hold.

    Returns:
        Shape (steps,): the conformal quantile of the absolute errors.
    """
    count = np.isfinite(errors).sum(axis=0).min()
    share = min(nominal * (1.0 + 1.0 / max(int(count), 1)), 1.0)
    # The quantile that skips NaN goes column by column in Python: ten times the cost.
    quantile = np.quantile if np.isfinite(errors).all() else np.nanquantile
    widths: Values = quantile(np.abs(errors), share, axis=0)
    # A step that was observed at no origin takes the widest of the others.
    return np.where(np.isfinite(widths), widths, np.nanmax(widths))


def running_half_widths(errors: Values, spacing: int, memory: int, nominal: float = NOMINAL) -> Values:
    """Half widths at each origin from the errors that had passed by then.

    Args:
        errors: Shape (origins, steps), in time order; the origins are `spacing` steps apart.
        spacing: Steps between origins.
        memory: Origins whose errors count.
        nominal: Share of values that the intervals are to hold.

    Returns:
        Shape (origins, steps); NaN for origins without `memory / 4` passed errors.
    """
    origins, steps = errors.shape
    found = np.full(errors.shape, np.nan)
    absolute = np.abs(errors)
    for step in range(steps):
        lag = -(-(step + 1) // spacing)  # origins until this step has passed
        share = nominal
        known: list[float] = []  # ascending; a sorted window costs a microsecond, a quantile anew sixty
        for origin in range(lag, origins):
            passed = float(absolute[origin - lag, step])
            if np.isfinite(passed):
                insort(known, passed)
                width = found[origin - lag, step]
                if np.isfinite(width):
                    share += LEARNING_RATE * (float(passed > width) - (1.0 - nominal))
                    share = min(max(share, 0.5), 1.0)
            forgotten = float(absolute[origin - lag - memory, step]) if origin - lag >= memory else np.nan
            if np.isfinite(forgotten):
                del known[bisect_left(known, forgotten)]
            if len(known) >= memory / 4:
                found[origin, step] = known[min(int(np.ceil(share * len(known))), len(known)) - 1]
    return found
