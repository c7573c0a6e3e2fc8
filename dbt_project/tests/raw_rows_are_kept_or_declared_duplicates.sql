-- Of the batches that the warehouse has built in, every landed row is either kept or a declared
-- duplicate. Batches that landed since are left out, so a running lander cannot fail this test.
{{ config(meta={'dagster': {'ref': {'name': 'int_declared_duplicates'}}}) }}

{% set tables = [
    ('equipment_sensors', 'int_sensor_readings_deduplicated', ref('stg_sensor_readings')),
    ('maintenance_events', 'int_equipment_events_deduplicated', ref('stg_equipment_events')),
    ('equipment_status', 'int_equipment_status_deduplicated', ref('stg_equipment_status')),
    ('quality_metrics', 'int_quality_inspections_deduplicated', ref('stg_quality_inspections')),
] %}

with landed as (
    {% for table, model_name, staging in tables %}
        select
            '{{ table }}' as raw_table,
            tenant_id,
            count(*) as raw_rows
        from {{ staging }}
        where {{ in_processed_batches(model_name) }}
        group by tenant_id
        {% if not loop.last %}union all{% endif %}
    {% endfor %}
)

select
    coalesce(landed.raw_table, declared.raw_table) as raw_table,
    coalesce(landed.tenant_id, declared.tenant_id) as tenant_id,
    landed.raw_rows,
    declared.kept_rows,
    declared.duplicate_rows
from landed
full outer join {{ ref('int_declared_duplicates') }} as declared
    on landed.raw_table = declared.raw_table and landed.tenant_id = declared.tenant_id
where landed.raw_rows is distinct from declared.kept_rows + declared.duplicate_rows
