"""Settings of the log generator, read from `config.yaml` or a file of the same form.

Add a setting here with its check. Avoid texts of lines: `phrases` has them.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

DEFAULT_CONFIG = Path(__file__).with_name("config.yaml")


class LogConfigError(ValueError):
    """A configuration that can't be used; says the file, the field and what it must be."""


class AnomalyType(StrEnum):
    """The six types of the mission."""

    ERROR_SPIKE = "ErrorSpike"
    LATENCY_DEGRADATION = "LatencyDegradation"
    SECURITY_THREAT = "SecurityThreat"
    RESOURCE_EXHAUSTION = "ResourceExhaustion"
    SERVICE_OUTAGE = "ServiceOutage"
    DATA_ANOMALY = "DataAnomaly"


@dataclass(frozen=True)
class SourceConfig:
    """A service: name, weight among the sources, usual response time in ms."""

    name: str
    weight: float
    response_ms: float


@dataclass(frozen=True)
class AnomalyConfig:
    """A type: weight among the types, fewest and most lines, highest factor of response times."""

    type: AnomalyType
    weight: float
    fewest: int
    most: int
    multiplier: float = 1.0


@dataclass(frozen=True)
class LogConfig:
    """Everything that the generator is told."""

    tenant_id: str
    anomaly_probability: float
    stray_probability: float
    levels: tuple[tuple[str, float], ...]
    sources: tuple[SourceConfig, ...]
    anomalies: tuple[AnomalyConfig, ...]


def load_config(path: Path = DEFAULT_CONFIG) -> LogConfig:
    """Read a configuration.

    Raises:
        LogConfigError: A field is missing, unknown or out of its range.
    """
    try:
        raw: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        config = LogConfig(
            str(raw["tenant_id"]),
            float(raw["anomaly_probability"]),
            float(raw["stray_probability"]),
            tuple((str(name), float(share)) for name, share in raw["levels"].items()),
            tuple(
                SourceConfig(str(s["name"]), float(s["weight"]), float(s["response_ms"]))
                for s in raw["sources"]
            ),
            tuple(
                AnomalyConfig(
                    AnomalyType(name), float(a["weight"]), int(a["lines"][0]), int(a["lines"][1]),
                    float(a.get("multiplier", 1.0)),
                )
                for name, a in raw["anomalies"].items()
            ),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OSError, yaml.YAMLError) as error:
        raise LogConfigError(
            f"{path}: {type(error).__name__} {error}; compare it with {DEFAULT_CONFIG}"
        ) from error
    _check(path, config)
    return config


def _check(path: Path, config: LogConfig) -> None:
    sums = {
        "levels": sum(share for _, share in config.levels),
        "sources": sum(source.weight for source in config.sources),
        "anomalies": sum(anomaly.weight for anomaly in config.anomalies),
    }
    for name, total in sums.items():
        if abs(total - 1.0) > 1e-6:
            raise LogConfigError(f"{path}: the weights of {name} add up to {total:.4f}; they must make 1")
    for name in ("anomaly_probability", "stray_probability"):
        if not 0.0 <= getattr(config, name) <= 1.0:
            raise LogConfigError(f"{path}: {name} {getattr(config, name)} is not within 0 and 1")
