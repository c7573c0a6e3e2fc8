{{ config(
    materialized=incremental_unless_as_of(),
    unique_key=['tenant_id', 'equipment_id', 'hour_at'],
    incremental_strategy='delete+insert',
    on_schema_change='append_new_columns',
    pre_hook="{{ claim_batches_of('int_sensor_readings_deduplicated') }}",
    indexes=[{'columns': ['tenant_id', 'equipment_id', 'hour_at'], 'unique': true}],
) }}

with
{% if is_incremental() %}
    -- Late readings need no look-back window: exactly the hours that the new batches touch are
    -- computed again from all of their readings, however old they are.
    touched_hours as (
        select distinct
            tenant_id,
            equipment_id,
            {{ hour_end('event_at') }} as hour_at
        from {{ ref('int_sensor_readings_deduplicated') }}
        where {{ in_claimed_batches() }}
    ),

    readings as (
        select
            reading.*,
            touched_hours.hour_at
        from touched_hours
        inner join {{ ref('int_sensor_readings_deduplicated') }} as reading
            on
                touched_hours.tenant_id = reading.tenant_id
                and touched_hours.equipment_id = reading.equipment_id
                and touched_hours.hour_at - interval '1 hour' < reading.event_at
                and touched_hours.hour_at >= reading.event_at
    )
{% else %}
    readings as (
        select
            *,
            {{ hour_end('event_at') }} as hour_at
        from {{ ref('int_sensor_readings_deduplicated') }}
    )
{% endif %}

select
    tenant_id,
    equipment_id,
    hour_at,
    count(*) as reading_count,
    {% for metric in sensor_metrics() -%}
        avg({{ metric }}) as {{ metric }}_mean,
        stddev_samp({{ metric }}) as {{ metric }}_std,
        min({{ metric }}) as {{ metric }}_min,
        max({{ metric }}) as {{ metric }}_max,
    {% endfor -%}
    max(extract(epoch from known_at - event_at))::double precision as max_lateness_s,
    max(known_at) as known_at
from readings
group by tenant_id, equipment_id, hour_at
