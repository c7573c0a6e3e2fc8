select
    equipment_event_id,
    tenant_id,
    equipment_id,
    event_at,
    event_type,
    component as code,
    description,
    downtime_h,
    technician_id,
    known_at,
    landed_at,
    batch_id
from {{ ref('int_equipment_events_deduplicated') }}

union all

select
    equipment_status_id as equipment_event_id,
    tenant_id,
    equipment_id,
    event_at,
    'error' as event_type,
    error_code as code,
    null as description,
    null as downtime_h,
    null as technician_id,
    known_at,
    landed_at,
    batch_id
from {{ ref('int_equipment_status_deduplicated') }}
where status = 'error'
