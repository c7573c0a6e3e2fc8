"""One digest for the content of a history, whatever the order of its rows.

Equal data give equal digests on any machine and polars version; measured values count to float32
precision, because a rebuilt average may differ in its last bits.
"""

import hashlib

import numpy as np
import polars as pl

from ml.features.history import PlantHistory

# Bump when the bytes below change, so that old and new digests cannot be taken for each other.
_FORM = b"opsgraph-history-1"


def history_digest(history: PlantHistory) -> str:
    """Hexadecimal digest (32 characters) of a history's rows, events, machines and incidents."""
    digest = hashlib.blake2b(_FORM, digest_size=16)
    digest.update(history.tenant_id.encode())
    for frame in (history.metrics, history.events, history.equipment, history.incidents):
        _update(digest, frame)
    return digest.hexdigest()


def _update(digest: "hashlib.blake2b", frame: pl.DataFrame) -> None:
    # Columns without a value are left out: another tenant's new metric is not a change of this one's data.
    columns = sorted(name for name in frame.columns if frame[name].null_count() < frame.height)
    ordered = frame.select(columns).with_columns(pl.selectors.float().cast(pl.Float32))
    keys = [name for name in columns if not frame.schema[name].is_float()]
    floats = [name for name in columns if frame.schema[name].is_float()]
    ordered = ordered.sort([*keys, *floats])
    digest.update(str(frame.height).encode())
    for name in columns:
        series = ordered[name]
        digest.update(name.encode())
        digest.update(np.packbits(series.is_null().to_numpy()).tobytes())
        digest.update(_bytes(series))


def _bytes(series: pl.Series) -> bytes:
    if series.dtype == pl.String:
        return "\x1f".join(series.fill_null("").to_list()).encode()
    if series.dtype == pl.Float32:
        return series.fill_null(0.0).to_numpy().astype("<f4").tobytes()
    return series.to_physical().cast(pl.Int64).fill_null(0).to_numpy().astype("<i8").tobytes()
