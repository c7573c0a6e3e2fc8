with stoppages as (
    select
        tenant_id,
        equipment_id,
        {{ utc_day('event_at') }} as stopped_on,
        sum(downtime_h) as downtime_h,
        count(*) filter (where event_type = 'failure') as failure_count,
        max(known_at) as known_at
    from {{ ref('fact_equipment_events') }}
    group by tenant_id, equipment_id, {{ utc_day('event_at') }}
)

select
    quality.tenant_id,
    quality.equipment_id,
    quality.inspected_on as produced_on,
    quality.produced_units,
    quality.inspected_units,
    quality.defective_units,
    quality.planned_run_s,
    quality.run_s,
    quality.ideal_run_s,
    coalesce(stoppages.downtime_h, 0) as downtime_h,
    coalesce(stoppages.failure_count, 0) as failure_count,
    greatest(quality.known_at, stoppages.known_at) as known_at
from {{ ref('int_quality_aggregates') }} as quality
left join stoppages
    on
        quality.tenant_id = stoppages.tenant_id
        and quality.equipment_id = stoppages.equipment_id
        and quality.inspected_on = stoppages.stopped_on
