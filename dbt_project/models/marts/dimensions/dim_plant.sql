select
    tenant_id,
    plant_id,
    count(*) as equipment_count,
    count(distinct equipment_model) as equipment_model_count,
    min(registered_at) as first_registered_at
from {{ ref('dim_equipment') }}
group by tenant_id, plant_id
