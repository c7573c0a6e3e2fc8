-- A machine counts from its first row in any topic: one that was never registered keeps its rows
-- in every fact, under the plant 'unregistered'.
with registered as (
    select
        tenant_id,
        equipment_id,
        {{ latest('equipment_name') }} as equipment_name,
        {{ latest('plant_id') }} as plant_id,
        {{ latest('equipment_model') }} as equipment_model,
        {{ latest('age_years') }} as age_years,
        {{ latest('firmware_version') }} as firmware_version,
        min(event_at) filter (where event_type = 'registration') as registered_at
    from {{ ref('int_equipment_events_deduplicated') }}
    group by tenant_id, equipment_id
),

observed as (
    select
        tenant_id,
        equipment_id
    from registered
    union
    select
        tenant_id,
        equipment_id
    from {{ ref('int_equipment_metrics_hourly') }}
    union
    select
        tenant_id,
        equipment_id
    from {{ ref('int_equipment_status_deduplicated') }}
    union
    select
        tenant_id,
        equipment_id
    from {{ ref('int_quality_inspections_deduplicated') }}
)

select
    observed.tenant_id,
    observed.equipment_id,
    coalesce(registered.equipment_name, observed.equipment_id) as equipment_name,
    coalesce(registered.plant_id, 'unregistered') as plant_id,
    registered.equipment_model,
    registered.age_years,
    registered.firmware_version,
    registered.registered_at,
    registered.registered_at is not null as is_registered
from observed
left join registered
    on
        observed.tenant_id = registered.tenant_id
        and observed.equipment_id = registered.equipment_id
