{{ config(tags=['predictions']) }}

with machines as (
    select
        equipment.tenant_id,
        equipment.equipment_id,
        equipment.equipment_name,
        equipment.plant_id,
        equipment.equipment_model,
        equipment.age_years,
        clock.plant_now_at
    from {{ ref('dim_equipment') }} as equipment
    left join {{ ref('stg_plant_clock') }} as clock on equipment.tenant_id = clock.tenant_id
),

history as (
    select
        happening.tenant_id,
        happening.equipment_id,
        count(*) filter (where happening.event_type = 'failure') as failure_count,
        max(happening.event_at) filter (where happening.event_type = 'failure') as last_failure_at,
        {{ latest(
            "case when happening.event_type = 'failure' then happening.code end",
            'happening.event_at desc, happening.code asc'
        ) }} as last_failure_component,
        max(happening.event_at) filter (where happening.event_type in ('maintenance', 'component_replacement'))
            as last_maintenance_at,
        count(*) filter (
            where happening.event_type = 'error' and happening.event_at > machines.plant_now_at - interval '7 days'
        ) as error_count_7d
    from {{ ref('fact_equipment_events') }} as happening
    inner join machines
        on
            happening.tenant_id = machines.tenant_id
            and happening.equipment_id = machines.equipment_id
            and happening.event_at <= machines.plant_now_at
    group by happening.tenant_id, happening.equipment_id
)

select
    machines.tenant_id,
    machines.equipment_id,
    machines.equipment_name,
    machines.plant_id,
    machines.equipment_model,
    machines.age_years,
    next_day.failure_probability as failure_probability_24h,
    next_week.failure_probability as failure_probability_7d,
    next_day.failure_probability is not null as is_scored,
    coalesce(next_day.is_alert, false) as is_alert_24h,
    coalesce(next_week.is_alert, false) as is_alert_7d,
    next_day.risk_level,
    next_day.recommended_action,
    next_day.contributing_factors,
    next_day.predicted_for_at,
    next_day.model_version as model_version_24h,
    next_week.model_version as model_version_7d,
    coalesce(history.failure_count, 0) as failure_count,
    history.last_failure_at,
    history.last_failure_component,
    history.last_maintenance_at,
    (extract(epoch from machines.plant_now_at - history.last_maintenance_at) / 86400)::double precision
        as days_since_last_maintenance,
    coalesce(history.error_count_7d, 0) as error_count_7d,
    machines.plant_now_at as window_end_at
from machines
left join history
    on
        machines.tenant_id = history.tenant_id
        and machines.equipment_id = history.equipment_id
left join {{ ref('int_latest_failure_predictions') }} as next_day
    on
        machines.tenant_id = next_day.tenant_id
        and machines.equipment_id = next_day.equipment_id
        and next_day.horizon_hours = 24
left join {{ ref('int_latest_failure_predictions') }} as next_week
    on
        machines.tenant_id = next_week.tenant_id
        and machines.equipment_id = next_week.equipment_id
        and next_week.horizon_hours = 168
