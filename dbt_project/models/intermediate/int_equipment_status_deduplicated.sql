{{ config(
    materialized=incremental_unless_as_of(),
    unique_key='equipment_status_id',
    incremental_strategy='delete+insert',
    on_schema_change='append_new_columns',
    pre_hook="{{ claim_landed_batches('equipment-status') }}",
    indexes=[{'columns': ['equipment_status_id'], 'unique': true}],
) }}

{{ deduplicated(ref('stg_equipment_status'), 'equipment_status', id_column='equipment_status_id') }}
