"""The simulated plant's machines: models, components, how long each lives and what its decay looks like.

Add a machine, a model or a component here. Avoid behaviour over time: that is in `wear` and `signals`.
The figures are engineering judgement for machines of this size; no maker's data went into them.
"""

from dataclasses import dataclass
from enum import StrEnum


class Component(StrEnum):
    """What wears out and is replaced."""

    SPINDLE_BEARING = "spindle_bearing"
    HYDRAULIC_PUMP = "hydraulic_pump"
    DRIVE_BELT = "drive_belt"
    IMPELLER_SEAL = "impeller_seal"
    COOLING_FAN = "cooling_fan"
    CONTROLLER = "controller"


COMPONENTS = tuple(Component)
METRICS = ("temperature_c", "vibration_mm_s", "pressure_bar", "rotation_rpm", "power_kw")


@dataclass(frozen=True)
class Signs:
    """What a component adds to the readings just before it fails, at gain 1.

    Attributes:
        temperature_c: Rise in kelvin.
        vibration: Relative rise.
        pressure: Relative rise (negative: drop).
        rotation: Relative rise (negative: slip).
        power: Relative rise.
    """

    temperature_c: float = 0.0
    vibration: float = 0.0
    pressure: float = 0.0
    rotation: float = 0.0
    power: float = 0.0

    def of_metrics(self) -> tuple[float, ...]:
        """The effects in the order of `METRICS`."""
        return (self.temperature_c, self.vibration, self.pressure, self.rotation, self.power)


SIGNS = {
    Component.SPINDLE_BEARING: Signs(temperature_c=9.0, vibration=1.3, power=0.05),
    Component.HYDRAULIC_PUMP: Signs(temperature_c=6.0, vibration=0.20, pressure=-0.20, power=0.05),
    Component.DRIVE_BELT: Signs(temperature_c=5.0, vibration=0.90, rotation=-0.10, power=0.16),
    Component.IMPELLER_SEAL: Signs(vibration=0.50, pressure=-0.25, power=0.06),
    Component.COOLING_FAN: Signs(temperature_c=26.0, power=0.08),
    # A failing controller drives its machine badly and talks badly: little to see for a model.
    Component.CONTROLLER: Signs(temperature_c=7.0, power=0.25),
}


@dataclass(frozen=True)
class MachineModel:
    """A maker's model: nominal readings at full load, lives of its components, its error codes.

    Attributes:
        name: Maker's name of the model.
        life_days: Mean life of each component at the model's usual load.
        error_codes: Codes that a decaying component may raise, the most likely first.
        temperature_rise_c: Bearing temperature above ambient at full load.
        nominal: Vibration, pressure (None without a sensor), rotation and power at full load.
        usual_load: Mean load over a week, which makes `life_days` mean days.
        firmware_version: Controller firmware at registration.
        cycle_s: Ideal seconds per unit of each product; empty for machines that make no parts.
    """

    name: str
    life_days: dict[Component, float]
    error_codes: dict[Component, tuple[str, ...]]
    temperature_rise_c: float
    nominal: tuple[float, float | None, float, float]
    usual_load: float
    firmware_version: str
    cycle_s: dict[str, float]

    @property
    def has_pressure(self) -> bool:
        """Whether the model carries a pressure sensor."""
        return self.nominal[1] is not None


_HX_500 = MachineModel(
    name="HX-500",
    life_days={
        Component.SPINDLE_BEARING: 46.0,
        Component.HYDRAULIC_PUMP: 70.0,
        Component.COOLING_FAN: 85.0,
        Component.CONTROLLER: 220.0,
    },
    error_codes={
        Component.SPINDLE_BEARING: ("E102", "E101"),
        Component.HYDRAULIC_PUMP: ("E201", "E202"),
        Component.COOLING_FAN: ("E101",),
        Component.CONTROLLER: ("E501",),
    },
    temperature_rise_c=28.0,
    nominal=(1.8, 60.0, 8000.0, 22.0),
    usual_load=0.50,
    firmware_version="4.1",
    cycle_s={"P-1001": 90.0, "P-1002": 120.0},
)
_HP_300 = MachineModel(
    name="HP-300",
    life_days={
        Component.HYDRAULIC_PUMP: 34.0,
        Component.COOLING_FAN: 75.0,
        Component.CONTROLLER: 220.0,
    },
    error_codes={
        Component.HYDRAULIC_PUMP: ("E201", "E202"),
        Component.COOLING_FAN: ("E202",),
        Component.CONTROLLER: ("E501",),
    },
    temperature_rise_c=32.0,
    nominal=(1.2, 180.0, 1480.0, 45.0),
    usual_load=0.65,
    firmware_version="2.6",
    cycle_s={"P-2001": 20.0, "P-2002": 30.0},
)
_CV_120 = MachineModel(
    name="CV-120",
    life_days={
        Component.DRIVE_BELT: 32.0,
        Component.COOLING_FAN: 75.0,
        Component.CONTROLLER: 220.0,
    },
    error_codes={
        Component.DRIVE_BELT: ("E301", "E302"),
        Component.COOLING_FAN: ("E302",),
        Component.CONTROLLER: ("E501",),
    },
    temperature_rise_c=18.0,
    nominal=(2.2, None, 90.0, 7.5),
    usual_load=0.68,
    firmware_version="1.9",
    cycle_s={},
)
_CP_80 = MachineModel(
    name="CP-80",
    life_days={
        Component.IMPELLER_SEAL: 32.0,
        Component.COOLING_FAN: 75.0,
        Component.CONTROLLER: 220.0,
    },
    error_codes={
        Component.IMPELLER_SEAL: ("E402", "E401"),
        Component.COOLING_FAN: ("E302",),
        Component.CONTROLLER: ("E501",),
    },
    temperature_rise_c=22.0,
    nominal=(2.6, 6.0, 2900.0, 15.0),
    usual_load=0.78,
    firmware_version="3.0",
    cycle_s={},
)


@dataclass(frozen=True)
class Machine:
    """One machine of the plant.

    Attributes:
        equipment_id: Identifier in every message.
        equipment_name: Name on the machine.
        plant_id: Plant that it stands in.
        model: Its model.
        age_years: Age at registration; older machines wear a little faster.
    """

    equipment_id: str
    equipment_name: str
    plant_id: str
    model: MachineModel
    age_years: float


def _series(
    prefix: str, first: int, ages: tuple[float, ...], model: MachineModel, name: str
) -> tuple[Machine, ...]:
    """Number machines from `first`; the first half (rounded up) stands in the northern plant."""
    north = (len(ages) + 1) // 2
    return tuple(
        Machine(
            equipment_id=f"{prefix}-{first + index}",
            equipment_name=f"{name} {first + index}",
            plant_id="plant-north" if index < north else "plant-south",
            model=model,
            age_years=age,
        )
        for index, age in enumerate(ages)
    )


PLANTS = ("plant-north", "plant-south")
FLEET: tuple[Machine, ...] = (
    *_series("CNC-A", 101, (3.0, 7.5, 1.2, 9.0, 4.4, 6.1), _HX_500, "Machining centre"),
    *_series("PRS-B", 201, (12.0, 8.3, 5.0, 15.5, 2.2), _HP_300, "Hydraulic press"),
    *_series("CNV-C", 301, (6.0, 6.0, 10.5, 3.8), _CV_120, "Conveyor"),
    *_series("PMP-D", 401, (4.0, 11.0, 2.5, 7.0, 9.2), _CP_80, "Coolant pump"),
)
