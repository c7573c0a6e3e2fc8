{{ config(
    materialized=incremental_unless_as_of(),
    unique_key='equipment_event_id',
    incremental_strategy='delete+insert',
    on_schema_change='append_new_columns',
    pre_hook="{{ claim_landed_batches('maintenance-events') }}",
    indexes=[{'columns': ['equipment_event_id'], 'unique': true}],
) }}

{{ deduplicated(ref('stg_equipment_events'), 'maintenance_events', id_column='equipment_event_id') }}
