-- As known at T, a tenant's clock stands where the rows known by T put it. T itself would be later than
-- the data of a plant that ended before, and hours without an outcome would turn into negatives.
-- No outer bound is needed: a row known by T counts with its known time at most.
{{ config(materialized='table' if is_as_of() else 'view') }}

{% set landed_tables = [
    source('raw', 'equipment_sensors'),
    source('raw', 'equipment_status'),
    source('raw', 'maintenance_events'),
    source('raw', 'quality_metrics'),
    source('raw', 'raw_logs'),
] %}

{% if is_as_of() %}
    with latest as (
        {% for table in landed_tables %}
            select
                tenant_id,
                max(least(event_at, known_at)) as plant_now_at
            from {{ table }}
            where {{ known_by_as_of() }}
            group by tenant_id
            {% if not loop.last %}union all{% endif %}
        {% endfor %}
    )

    select
        tenant_id,
        max(plant_now_at) as plant_now_at
    from latest
    group by tenant_id
{% else %}
    select
        tenant_id,
        plant_now_at
    from {{ source('ops', 'plant_clock') }}
{% endif %}
