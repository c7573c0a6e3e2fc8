-- A view: the deduplicated table below has the same grain and its index on the key, so a copy
-- would only double the largest table of the warehouse and the time of each build.
{{ config(materialized='view') }}

select
    tenant_id,
    equipment_id,
    event_at,
    {% for metric in sensor_metrics() -%}
        {{ metric }},
    {% endfor -%}
    copy_count,
    known_at,
    landed_at,
    batch_id,
    kafka_partition,
    kafka_offset
from {{ ref('int_sensor_readings_deduplicated') }}
