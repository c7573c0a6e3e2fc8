-- A day without an inspection keeps its failures and its downtime, and no inspected day is lost:
-- the days of a machine add up to its events and to its inspections.
{{ config(meta={'dagster': {'ref': {'name': 'fact_production_metrics'}}}) }}

with daily as (
    select
        tenant_id,
        equipment_id,
        sum(failure_count) as failure_count,
        sum(downtime_h) as downtime_h,
        sum(produced_units) as produced_units,
        sum(inspected_units) as inspected_units
    from {{ ref('fact_production_metrics') }}
    group by tenant_id, equipment_id
),

happened as (
    select
        tenant_id,
        equipment_id,
        count(*) filter (where event_type = 'failure') as failure_count,
        sum(downtime_h) as downtime_h
    from {{ ref('fact_equipment_events') }}
    group by tenant_id, equipment_id
),

inspected as (
    select
        tenant_id,
        equipment_id,
        sum(produced_count) as produced_units,
        sum(inspected_count) as inspected_units
    from {{ ref('fact_quality_inspections') }}
    group by tenant_id, equipment_id
),

compared as (
    select
        machine.tenant_id,
        machine.equipment_id,
        coalesce(happened.failure_count, 0) as failures_happened,
        coalesce(daily.failure_count, 0) as failures_by_day,
        coalesce(happened.downtime_h, 0) as downtime_h_happened,
        coalesce(daily.downtime_h, 0) as downtime_h_by_day,
        coalesce(inspected.produced_units, 0) as units_produced,
        coalesce(daily.produced_units, 0) as units_produced_by_day,
        coalesce(inspected.inspected_units, 0) as units_inspected,
        coalesce(daily.inspected_units, 0) as units_inspected_by_day
    from {{ ref('dim_equipment') }} as machine
    left join daily on machine.tenant_id = daily.tenant_id and machine.equipment_id = daily.equipment_id
    left join happened on machine.tenant_id = happened.tenant_id and machine.equipment_id = happened.equipment_id
    left join inspected
        on machine.tenant_id = inspected.tenant_id and machine.equipment_id = inspected.equipment_id
)

-- Sums of hours differ in their last bits by the order of their terms.
select *
from compared
where
    failures_happened <> failures_by_day
    or abs(downtime_h_happened - downtime_h_by_day) > 0.000001
    or units_produced <> units_produced_by_day
    or units_inspected <> units_inspected_by_day
