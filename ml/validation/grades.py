"""Which sensors of a machine are fit for training and scoring, and what the model does without the others.

Avoid statistics: the signs come from `sensor_faults` and `peer_signs`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np
import psycopg

from ml.validation.peer_signs import peer_signs
from ml.validation.readings import Readings
from ml.validation.sensor_faults import Sign, own_signs

DEGRADED_FROM = 0.75


class Grade(StrEnum):
    """How good a sensor is."""

    GOOD = "GOOD"
    DEGRADED = "DEGRADED"
    BAD = "BAD"
    ABSENT = "ABSENT"


WITHOUT_IT: Mapping[Grade, str] = {
    Grade.GOOD: "used as it is",
    Grade.DEGRADED: "used; look at it before it fails",
    Grade.BAD: "not to be used: the model takes its features as missing and decides by the other sensors",
    Grade.ABSENT: "never reported here: the model has no such feature for this machine",
}


@dataclass(frozen=True)
class SensorGrade:
    """One sensor's grade.

    Attributes:
        equipment_id: Machine.
        metric: Sensor.
        as_of: Instant that it was graded at.
        grade: How good it is.
        problems: What is wrong, strongest first: `problem`, `strength`, `words`.
    """

    equipment_id: str
    metric: str
    as_of: datetime
    grade: Grade
    problems: tuple[Mapping[str, str | float], ...]

    @property
    def is_usable(self) -> bool:
        """Whether training and scoring may read it."""
        return self.grade in (Grade.GOOD, Grade.DEGRADED)

    @property
    def without_it(self) -> str:
        """What follows for the model."""
        return WITHOUT_IT[self.grade]


def grade_sensors(equipment_id: str, readings: Readings, as_of: datetime) -> list[SensorGrade]:
    """Grade every sensor of a machine on its window against its reference."""
    signs = sorted([*own_signs(readings), *peer_signs(readings)], key=lambda sign: -sign.strength)
    return [
        _graded(
            equipment_id,
            metric,
            as_of,
            readings.values[:, column],
            [s for s in signs if s.metric in (metric, "")],
        )
        for column, metric in enumerate(readings.metrics)
    ]


def _graded(
    equipment_id: str, metric: str, as_of: datetime, values: np.ndarray, signs: Sequence[Sign]
) -> SensorGrade:
    strongest = max((sign.strength for sign in signs), default=0.0)
    if np.isnan(values).all():
        grade = Grade.ABSENT
    elif strongest >= 1.0:
        grade = Grade.BAD
    else:
        grade = Grade.DEGRADED if strongest >= DEGRADED_FROM else Grade.GOOD
    problems = tuple(
        {"problem": str(sign.problem), "strength": round(float(sign.strength), 2), "words": sign.words}
        for sign in signs
        if sign.strength >= DEGRADED_FROM
    )
    return SensorGrade(equipment_id, metric, as_of, grade, problems)


def store_grades(connection: psycopg.Connection, tenant_id: str, grades: Iterable[SensorGrade]) -> None:
    """Write grades; the same machine, sensor and instant again replaces them."""
    rows = [
        (
            tenant_id,
            one.equipment_id,
            one.metric,
            one.as_of,
            str(one.grade),
            one.is_usable,
            json.dumps(list(one.problems)),
        )
        for one in grades
    ]
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into ml.sensor_grades (tenant_id, equipment_id, metric, as_of, grade, usable, problems)"
            " values (%s, %s, %s, %s, %s, %s, %s)"
            " on conflict (tenant_id, equipment_id, metric, as_of) do update set"
            " grade = excluded.grade, usable = excluded.usable, problems = excluded.problems",
            rows,
        )
