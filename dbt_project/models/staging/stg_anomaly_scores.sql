{{ config(tags=['predictions']) }}

select
    tenant_id,
    equipment_id,
    hour_at,
    score as anomaly_score,
    is_anomalous,
    model_version,
    known_at
from {{ source('ml_predictions', 'anomaly_scores') }}
where {{ known_by_as_of('known_at') }}
