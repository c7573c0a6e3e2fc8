{{ config(tags=['predictions']) }}

-- The last scored hour and the event that ended last; a machine may have either without the other.
with last_scores as (
    select distinct on (tenant_id, equipment_id)
        tenant_id,
        equipment_id,
        hour_at,
        anomaly_score
    from {{ ref('stg_anomaly_scores') }}
    order by tenant_id asc, equipment_id asc, hour_at desc
),

last_events as (
    select distinct on (tenant_id, equipment_id)
        tenant_id,
        equipment_id,
        starts_at,
        ends_at,
        peak_score,
        summary
    from {{ ref('stg_anomaly_events') }}
    order by tenant_id asc, equipment_id asc, ends_at desc, starts_at desc
)

select
    coalesce(last_scores.tenant_id, last_events.tenant_id) as tenant_id,
    coalesce(last_scores.equipment_id, last_events.equipment_id) as equipment_id,
    last_scores.anomaly_score,
    last_scores.hour_at as anomaly_scored_at,
    last_events.starts_at as last_anomaly_started_at,
    last_events.ends_at as last_anomaly_ended_at,
    last_events.peak_score as last_anomaly_peak_score,
    last_events.summary as last_anomaly_summary
from last_scores
full outer join last_events
    on
        last_scores.tenant_id = last_events.tenant_id
        and last_scores.equipment_id = last_events.equipment_id
