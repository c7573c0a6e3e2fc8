with inspections as (
    select
        *,
        {{ utc_day('event_at') }} as inspected_on
    from {{ ref('int_quality_inspections_deduplicated') }}
),

defects as (
    select distinct on (tenant_id, equipment_id, inspected_on)
        tenant_id,
        equipment_id,
        inspected_on,
        defect_type as top_defect_type,
        sum(defect_count) as top_defect_count
    from inspections
    where defect_type is not null
    group by tenant_id, equipment_id, inspected_on, defect_type
    order by tenant_id asc, equipment_id asc, inspected_on asc, sum(defect_count) desc, defect_type asc
),

daily as (
    select
        tenant_id,
        equipment_id,
        inspected_on,
        count(*) as inspection_count,
        {% for class in ['Good Quality', 'Minor Defect', 'Major Defect', 'Reject'] -%}
            count(*) filter (where quality_class = '{{ class }}') as {{ class | lower | replace(' ', '_') }}_count,
        {% endfor -%}
        sum(inspected_count) as inspected_units,
        sum(defect_count) as defective_units,
        sum(produced_count) as produced_units,
        sum(planned_run_s) as planned_run_s,
        sum(run_s) as run_s,
        sum(run_s) filter (where ideal_cycle_s is not null) as rated_run_s,
        sum(ideal_cycle_s * produced_count) filter (where run_s is not null) as ideal_run_s,
        max(known_at) as known_at
    from inspections
    group by tenant_id, equipment_id, inspected_on
)

select
    daily.*,
    {{ ratio('daily.defective_units', 'daily.inspected_units') }} as defect_rate,
    defects.top_defect_type,
    defects.top_defect_count
from daily
left join defects
    on
        daily.tenant_id = defects.tenant_id
        and daily.equipment_id = defects.equipment_id
        and daily.inspected_on = defects.inspected_on
