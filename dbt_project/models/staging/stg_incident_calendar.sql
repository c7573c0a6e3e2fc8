select
    incident_id,
    tenant_id,
    equipment_id,
    kind,
    starts_at,
    ends_at,
    known_at,
    reason,
    source
from {{ source('ops', 'incident_calendar') }}
where {{ known_by_as_of() }}
