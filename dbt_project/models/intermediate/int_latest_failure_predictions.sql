{{ config(tags=['predictions']) }}

-- The instant that was scored decides; where two versions scored the same instant, the later run.
select distinct on (tenant_id, equipment_id, horizon_hours)
    tenant_id,
    equipment_id,
    horizon_hours,
    predicted_for_at,
    model_name,
    model_version,
    failure_probability,
    is_alert,
    risk_level,
    recommended_action,
    contributing_factors,
    predicted_at
from {{ ref('stg_failure_predictions') }}
order by
    tenant_id asc,
    equipment_id asc,
    horizon_hours asc,
    predicted_for_at desc,
    predicted_at desc,
    model_version desc
