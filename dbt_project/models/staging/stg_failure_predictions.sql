{{ config(tags=['predictions']) }}

select
    tenant_id,
    equipment_id,
    horizon_hours,
    as_of as predicted_for_at,
    model_name,
    model_version,
    failure_probability,
    is_alert,
    risk_level,
    recommended_action,
    contributing_factors,
    source_vector,
    predicted_at,
    run_id
from {{ source('ml_predictions', 'failure_predictions') }}
where {{ known_by_as_of('as_of') }}
