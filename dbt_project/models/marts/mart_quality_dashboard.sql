-- Seven-day rates are ratios of sums over calendar days, so a day with few units weighs little.
with windows as (
    select
        *,
        sum(defective_units) over last_7d as defective_units_7d,
        sum(inspected_units) over last_7d as inspected_units_7d,
        sum(defective_units) over previous_7d as defective_units_previous_7d,
        sum(inspected_units) over previous_7d as inspected_units_previous_7d
    from {{ ref('int_quality_aggregates') }}
    window
        last_7d as (
            partition by tenant_id, equipment_id order by inspected_on
            range between interval '6 days' preceding and current row
        ),
        previous_7d as (
            partition by tenant_id, equipment_id order by inspected_on
            range between interval '13 days' preceding and interval '7 days' preceding
        )
),

rates as (
    select
        *,
        {{ ratio('defective_units_7d', 'inspected_units_7d') }} as defect_rate_7d,
        {{ ratio('defective_units_previous_7d', 'inspected_units_previous_7d') }} as defect_rate_previous_7d
    from windows
)

select
    rates.tenant_id,
    equipment.plant_id,
    rates.equipment_id,
    equipment.equipment_name,
    rates.inspected_on,
    rates.inspection_count,
    rates.good_quality_count,
    rates.minor_defect_count,
    rates.major_defect_count,
    rates.reject_count,
    rates.inspected_units,
    rates.defective_units,
    rates.defect_rate,
    rates.defect_rate_7d,
    rates.defect_rate_7d - rates.defect_rate_previous_7d as defect_rate_change_7d,
    rates.top_defect_type,
    defect.defect_name as top_defect_name,
    rates.top_defect_count
from rates
inner join {{ ref('dim_equipment') }} as equipment
    on
        rates.tenant_id = equipment.tenant_id
        and rates.equipment_id = equipment.equipment_id
left join {{ ref('dim_defect_types') }} as defect on rates.top_defect_type = defect.defect_type
