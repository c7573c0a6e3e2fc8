{% set tables = [
    ('equipment_sensors', ref('int_sensor_readings_deduplicated')),
    ('maintenance_events', ref('int_equipment_events_deduplicated')),
    ('equipment_status', ref('int_equipment_status_deduplicated')),
    ('quality_metrics', ref('int_quality_inspections_deduplicated')),
] %}

{% for table, deduplicated_table in tables %}
    select
        '{{ table }}' as raw_table,
        tenant_id,
        count(*) as kept_rows,
        sum(copy_count)::bigint - count(*) as duplicate_rows
    from {{ deduplicated_table }}
    group by tenant_id
    {% if not loop.last %}union all{% endif %}
{% endfor %}
