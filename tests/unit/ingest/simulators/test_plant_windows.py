"""Windows of the simulated plant: exact, composable, in the order of what becomes known."""

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from orchestration.ingest.contracts import load_contracts
from orchestration.ingest.simulators.clock import PLANT_START
from orchestration.ingest.simulators.plant import (
    MAINTENANCE,
    SENSORS,
    TOPICS,
    PlantSimulator,
    SimulatedWindow,
    SimulatorConfig,
)


def minutes(count: int) -> timedelta:
    """So many minutes."""
    return timedelta(minutes=count)


def test_same_seed_gives_the_same_messages_and_another_seed_does_not() -> None:
    """Forbids a hidden source of randomness, and a seed that is ignored."""
    end = PLANT_START + timedelta(days=2)
    one, two, other = (PlantSimulator(seed).window(PLANT_START, end) for seed in (3, 3, 4))
    for topic in TOPICS:
        assert_frame_equal(one.frames[topic], two.frames[topic])
    assert not one.frames[SENSORS].equals(other.frames[SENSORS])


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(0, 5 * 24 * 60), min_size=3, max_size=3, unique=True))
def test_two_windows_are_the_long_one(plant: PlantSimulator, cuts: list[int]) -> None:
    """Forbids a message that is lost or sent twice where one run stops and the next begins."""
    a, b, c = (PLANT_START + minutes(cut) for cut in sorted(cuts))
    whole, first = plant.window(a, c), plant.window(a, b)
    second = PlantSimulator().window(b, c)  # another process
    for topic in TOPICS:
        assert_frame_equal(whole.frames[topic], pl.concat([first.frames[topic], second.frames[topic]]))
        assert whole.duplicates[topic] == first.duplicates[topic] + second.duplicates[topic]
        assert whole.late[topic] == first.late[topic] + second.late[topic]


def test_a_late_window_alone_is_the_same_as_within_the_history(history: SimulatedWindow) -> None:
    """Forbids "one more hour" that differs from what the long run would have sent."""
    start = PLANT_START + timedelta(days=77, hours=5, minutes=20)
    end = start + timedelta(hours=30)
    alone = PlantSimulator().window(start, end)
    inside = pl.col("known_at").is_between(start, end, closed="left")
    for topic in TOPICS:
        assert_frame_equal(alone.frames[topic], history.frames[topic].filter(inside))


def test_messages_come_in_the_order_in_which_they_become_known(history: SimulatedWindow) -> None:
    """Forbids late messages that are sent in time, and knowledge of the future."""
    for frame in history.frames.values():
        assert frame["known_at"].is_sorted()
        assert (frame["known_at"] > frame["event_at"]).all()
        assert history.start <= frame["known_at"].min() and frame["known_at"].max() < history.end
    delays = history.frames[SENSORS].select(pl.col("known_at") - pl.col("event_at")).to_series()
    assert delays.max() < timedelta(hours=12)


def test_shares_of_late_and_repeated_messages(history: SimulatedWindow) -> None:
    """Forbids faults of delivery that are absent or drown the data.

    Of n = 228,000 messages 1 % repeat and 2 % are late; their standard errors are 0.02 and 0.03
    percentage points, the bounds are more than 5 of them wide.
    """
    sensors = history.frames[SENSORS]
    assert history.duplicates[SENSORS] / sensors.height == pytest.approx(0.01, abs=0.001)
    assert history.late[SENSORS] / sensors.height == pytest.approx(0.02, abs=0.002)
    kept = sensors.unique(["equipment_id", "event_at"])
    assert sensors.height - kept.height == history.duplicates[SENSORS]
    # A repeat differs from the first message in when it became known, and in nothing else.
    assert sensors.drop("known_at").unique().height == kept.height


def test_no_faults_of_delivery_when_told_so() -> None:
    """Forbids shares that are ignored."""
    plant = PlantSimulator(config=SimulatorConfig(tenant_id="other", late_share=0.0, duplicate_share=0.0))
    window = plant.window(PLANT_START, PLANT_START + timedelta(days=2))
    assert sum(window.duplicates.values()) == sum(window.late.values()) == 0
    assert window.frames[SENSORS]["tenant_id"].unique().to_list() == ["other"]


def test_every_machine_is_registered_before_its_first_reading(history: SimulatedWindow) -> None:
    """Forbids readings of machines that no dimension knows: a late register would orphan hours of rows."""
    orders = history.frames[MAINTENANCE].filter(pl.col("event_type") == "registration")
    assert orders["equipment_id"].n_unique() == 20
    assert orders["known_at"].max() < PLANT_START + minutes(5)


def test_messages_keep_their_contracts(history: SimulatedWindow) -> None:
    """Forbids a simulator whose ordinary messages are dead letters."""
    contracts = load_contracts()
    for topic, frame in history.frames.items():
        fields = {field.name: field for field in contracts[topic].fields}
        assert set(frame.columns) - {"known_at"} <= set(fields)
        for field in fields.values():
            if field.is_required:
                assert frame[field.name].null_count() == 0, field.name
            if field.enum:
                assert set(frame[field.name]) <= set(field.enum), field.name
            bounds = field.minimum, field.maximum
            if field.name in frame.columns and frame[field.name].dtype.is_numeric() and None not in bounds:
                assert frame[field.name].drop_nulls().is_between(*bounds).all(), field.name


def test_a_window_before_the_start_is_refused(plant: PlantSimulator) -> None:
    """Forbids days that no state exists for."""
    with pytest.raises(ValueError, match="No such window"):
        plant.window(PLANT_START - minutes(1), PLANT_START)
    with pytest.raises(ValueError, match="No such window"):
        plant.window(PLANT_START, PLANT_START)
