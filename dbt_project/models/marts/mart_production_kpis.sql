-- The seven-day factors are ratios of sums: a short day weighs as little as it ran.
{% set summed = ['run_s', 'planned_run_s', 'rated_run_s', 'ideal_run_s', 'inspected_units', 'defective_units'] %}

with windows as (
    select
        *,
        {% for column in summed -%}
            sum({{ column }}) over last_7d as {{ column }}_7d{% if not loop.last %},{% endif %}
        {% endfor %}
    from {{ ref('fact_production_metrics') }}
    window last_7d as (
        partition by tenant_id, equipment_id order by produced_on
        range between interval '6 days' preceding and current row
    )
),

factors as (
    select
        *,
        {{ oee_factors() }},
        {{ oee_factors('_7d') }}
    from windows
)

select
    factors.tenant_id,
    equipment.plant_id,
    factors.equipment_id,
    equipment.equipment_name,
    factors.produced_on,
    factors.availability,
    factors.performance,
    factors.quality,
    factors.availability * factors.performance * factors.quality as oee,
    factors.availability_7d * factors.performance_7d * factors.quality_7d as oee_7d,
    factors.produced_units,
    {{ ratio('factors.produced_units * 3600', 'factors.run_s') }} as throughput_per_h,
    factors.downtime_h,
    factors.failure_count
from factors
inner join {{ ref('dim_equipment') }} as equipment
    on
        factors.tenant_id = equipment.tenant_id
        and factors.equipment_id = equipment.equipment_id
