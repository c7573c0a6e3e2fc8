"""The service's Prometheus metrics, under the names that dashboards already read."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


@dataclass(frozen=True)
class InferenceMetrics:
    """One set of metrics per process, on the collector registry that `/metrics` prints."""

    registry: CollectorRegistry
    requests: Counter
    latency: Histogram
    drift_events: Counter
    rows: Counter
    served: Gauge
    shadow_rows: Counter
    shadow_disagreements: Counter
    shadow_difference: Histogram

    @classmethod
    def on(cls, registry: CollectorRegistry) -> "InferenceMetrics":
        """Create the metrics on a registry."""
        return cls(
            registry=registry,
            requests=Counter("inference_requests_total", "Prediction calls.", registry=registry),
            latency=Histogram(
                "inference_latency_seconds",
                "Time from the parsed request to the answer.",
                buckets=(0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 1.0),
                registry=registry,
            ),
            drift_events=Counter("drift_events_total", "Calls whose input drifted.", registry=registry),
            rows=Counter("inference_rows_total", "Rows predicted.", registry=registry),
            served=Gauge(
                "inference_model_info",
                "1 for each version that serves.",
                ["model", "version"],
                registry=registry,
            ),
            shadow_rows=Counter("shadow_rows_total", "Rows that a challenger scored.", registry=registry),
            shadow_disagreements=Counter(
                "shadow_disagreements_total",
                "Rows labelled otherwise than by the champion.",
                registry=registry,
            ),
            shadow_difference=Histogram(
                "shadow_probability_difference",
                "Absolute difference of the probabilities of challenger and champion.",
                buckets=(0.01, 0.05, 0.1, 0.2, 0.5, 1.0),
                registry=registry,
            ),
        )
