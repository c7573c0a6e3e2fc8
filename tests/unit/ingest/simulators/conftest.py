"""A simulated plant that the tests of this folder share: 120 days under the default seed."""

from datetime import timedelta

import pytest

from orchestration.ingest.simulators.clock import PLANT_START
from orchestration.ingest.simulators.plant import PlantSimulator, SimulatedWindow

DAYS = 120


@pytest.fixture(scope="package")
def plant() -> PlantSimulator:
    """The plant of the demo."""
    return PlantSimulator()


@pytest.fixture(scope="package")
def history(plant: PlantSimulator) -> SimulatedWindow:
    """Everything that it sends in its first 120 days."""
    return plant.window(PLANT_START, PLANT_START + timedelta(days=DAYS))
