"""Frames as datums: equal, byte for byte, to records written one by one."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.ingest.avro_frames import encode_frame
from orchestration.ingest.contracts import ContractError, load_contracts
from orchestration.ingest.contracts.avro import derive_schema, encode_datum

CONTRACTS = load_contracts()
START = datetime(1970, 1, 1, tzinfo=UTC)
MICROS = timedelta(microseconds=1)

TEXT = st.text(st.characters(codec="utf-8"), max_size=80)
INSTANT = st.integers(-(2**50), 2**52).map(lambda count: START + count * MICROS)
NUMBER = st.none() | st.floats(allow_nan=False)
COUNT = st.integers(-(2**31), 2**31 - 1)

SENSOR_ROW = st.fixed_dictionaries(
    {"tenant_id": TEXT, "equipment_id": TEXT, "event_at": INSTANT, "temperature_c": NUMBER, "volt": NUMBER}
)
ORDER_ROW = st.fixed_dictionaries(
    {
        "tenant_id": TEXT,
        "equipment_id": TEXT,
        "event_at": INSTANT,
        "event_type": TEXT,
        "component": st.none() | TEXT,
        "description": st.none() | TEXT,
        "age_years": NUMBER,
    }
)
INSPECTION_ROW = st.fixed_dictionaries(
    {
        **dict.fromkeys(
            ("tenant_id", "inspection_id", "equipment_id", "quality_class", "product_code"), TEXT
        ),
        **dict.fromkeys(("inspected_count", "defect_count", "produced_count"), COUNT),
        "event_at": INSTANT,
    }
)
TYPES = {
    "event_at": pl.Datetime("us", "UTC"),
    **dict.fromkeys(("temperature_c", "volt", "age_years"), pl.Float64),
    **dict.fromkeys(("inspected_count", "defect_count", "produced_count"), pl.Int32),
}


@given(
    st.one_of(
        st.tuples(st.just("equipment-sensors"), st.lists(SENSOR_ROW, min_size=1, max_size=8)),
        st.tuples(st.just("maintenance-events"), st.lists(ORDER_ROW, min_size=1, max_size=8)),
        st.tuples(st.just("quality-metrics"), st.lists(INSPECTION_ROW, min_size=1, max_size=8)),
    )
)
def test_frame_and_records_are_the_same_bytes(case: tuple[str, list[dict[str, object]]]) -> None:
    """Forbids messages that only their own writer can read: lengths, nulls, signs, long texts."""
    topic, rows = case
    schema = derive_schema(CONTRACTS[topic])
    frame = pl.DataFrame(rows, schema={name: TYPES.get(name, pl.String) for name in rows[0]})
    assert encode_frame(schema, frame, b"\x00pre") == [b"\x00pre" + encode_datum(schema, row) for row in rows]


def test_no_rows_give_no_datums() -> None:
    """Forbids a crash on an hour in which nothing happened."""
    schema = derive_schema(CONTRACTS["equipment-sensors"])
    empty = pl.DataFrame(
        schema={"tenant_id": pl.String, "equipment_id": pl.String, "event_at": TYPES["event_at"]}
    )
    assert encode_frame(schema, empty) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pl.lit("hot").alias("temperature_c"), "column temperature_c is String; the contract says double"),
        (pl.lit(None, dtype=pl.String).alias("equipment_id"), "column equipment_id, row 0: null"),
        (pl.lit(1).alias("color"), "columns color are not in the contract"),
        (pl.col("event_at").dt.replace_time_zone(None), "column event_at is Datetime"),
    ],
)
def test_frame_that_breaks_its_contract_is_refused(change: pl.Expr, message: str) -> None:
    """Forbids bytes that landing would read as something else."""
    frame = pl.DataFrame(
        {"tenant_id": ["t"], "equipment_id": ["m"], "event_at": [START]},
        schema_overrides={"event_at": TYPES["event_at"]},
    )
    with pytest.raises(ContractError, match=message):
        encode_frame(derive_schema(CONTRACTS["equipment-sensors"]), frame.with_columns(change))


def test_missing_required_column_is_refused() -> None:
    """Forbids datums that are shifted by a field."""
    with pytest.raises(ContractError, match="column equipment_id is required and missing"):
        encode_frame(derive_schema(CONTRACTS["equipment-sensors"]), pl.DataFrame({"tenant_id": ["t"]}))
