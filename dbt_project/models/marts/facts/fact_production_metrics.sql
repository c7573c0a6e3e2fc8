-- A day counts if it was inspected or if the machine stopped. What was planned and produced on a day
-- without an inspection is null and not 0: the next inspection reports it, since its own counts and
-- times begin at the inspection before.
with stoppages as (
    select
        tenant_id,
        equipment_id,
        {{ utc_day('event_at') }} as stopped_on,
        sum(downtime_h) as downtime_h,
        count(*) filter (where event_type = 'failure') as failure_count,
        max(known_at) as known_at
    from {{ ref('fact_equipment_events') }}
    where event_type = 'failure' or downtime_h > 0
    group by tenant_id, equipment_id, {{ utc_day('event_at') }}
)

select
    coalesce(quality.tenant_id, stoppages.tenant_id) as tenant_id,
    coalesce(quality.equipment_id, stoppages.equipment_id) as equipment_id,
    coalesce(quality.inspected_on, stoppages.stopped_on) as produced_on,
    quality.produced_units,
    quality.inspected_units,
    quality.defective_units,
    quality.planned_run_s,
    quality.run_s,
    quality.rated_run_s,
    quality.ideal_run_s,
    case when stoppages.stopped_on is null then 0 else stoppages.downtime_h end as downtime_h,
    coalesce(stoppages.failure_count, 0) as failure_count,
    greatest(quality.known_at, stoppages.known_at) as known_at
from {{ ref('int_quality_aggregates') }} as quality
full outer join stoppages
    on
        quality.tenant_id = stoppages.tenant_id
        and quality.equipment_id = stoppages.equipment_id
        and quality.inspected_on = stoppages.stopped_on
