-- fact_equipment_events is the kept events plus the kept errors, and nothing else.
{{ config(meta={'dagster': {'ref': {'name': 'fact_equipment_events'}}}) }}

with counts as (
    select
        (select count(*) from {{ ref('int_equipment_events_deduplicated') }}) as event_rows,
        (select count(*) filter (where status = 'error') from {{ ref('int_equipment_status_deduplicated') }})
            as error_rows,
        (select count(*) from {{ ref('fact_equipment_events') }}) as fact_rows
)

select *
from counts
where event_rows + error_rows <> fact_rows
