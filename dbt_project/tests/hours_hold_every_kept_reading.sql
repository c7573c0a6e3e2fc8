-- The hours of a machine hold exactly its kept readings: none is lost at an hour's edge, none counts twice.
{{ config(meta={'dagster': {'ref': {'name': 'int_equipment_metrics_hourly'}}}) }}

with hourly as (
    select
        tenant_id,
        equipment_id,
        sum(reading_count) as hourly_readings
    from {{ ref('int_equipment_metrics_hourly') }}
    group by tenant_id, equipment_id
),

kept as (
    select
        tenant_id,
        equipment_id,
        count(*) as kept_readings
    from {{ ref('int_sensor_readings_deduplicated') }}
    group by tenant_id, equipment_id
)

select
    coalesce(kept.tenant_id, hourly.tenant_id) as tenant_id,
    coalesce(kept.equipment_id, hourly.equipment_id) as equipment_id,
    kept.kept_readings,
    hourly.hourly_readings
from kept
full outer join hourly on kept.tenant_id = hourly.tenant_id and kept.equipment_id = hourly.equipment_id
where kept.kept_readings is distinct from hourly.hourly_readings
