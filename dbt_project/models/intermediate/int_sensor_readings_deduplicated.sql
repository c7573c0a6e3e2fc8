{{ config(
    materialized=incremental_unless_as_of(),
    unique_key=['tenant_id', 'equipment_id', 'event_at'],
    incremental_strategy='delete+insert',
    on_schema_change='append_new_columns',
    pre_hook="{{ claim_landed_batches('equipment-sensors') }}",
    indexes=[
        {'columns': ['tenant_id', 'equipment_id', 'event_at'], 'unique': true},
        {'columns': ['batch_id']},
    ],
) }}

{{ deduplicated(ref('stg_sensor_readings'), 'equipment_sensors') }}
