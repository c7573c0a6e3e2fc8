{{ config(
    materialized=incremental_unless_as_of(),
    unique_key=['tenant_id', 'inspection_id'],
    incremental_strategy='delete+insert',
    on_schema_change='append_new_columns',
    pre_hook="{{ claim_landed_batches('quality-metrics') }}",
    indexes=[{'columns': ['tenant_id', 'inspection_id'], 'unique': true}],
) }}

{{ deduplicated(ref('stg_quality_inspections'), 'quality_metrics') }}
