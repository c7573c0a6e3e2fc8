{{ config(tags=['predictions']) }}

select
    tenant_id,
    equipment_id,
    metric_set,
    starts_at,
    ends_at,
    peak_at,
    peak_score,
    contributing_sensors,
    summary,
    model_version,
    known_at
from {{ source('ml_predictions', 'anomaly_events') }}
where {{ known_by_as_of('known_at') }}
