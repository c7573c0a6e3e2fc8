-- The next failure of an hour is found by joining the few failures, each with the instant of the
-- one before it, to the hours between: one hash join on the machine instead of a window frame that
-- is scanned once per hour.
{% set horizons_h = [24, 168] %}

with failures as (
    select
        failure.tenant_id,
        failure.equipment_id,
        failure.event_at as failure_at,
        string_agg(failure.component, '+' order by failure.component) as component,
        min(failure.known_at) as failure_known_at
    from {{ ref('int_equipment_events_deduplicated') }} as failure
    inner join {{ ref('stg_plant_clock') }} as clock on failure.tenant_id = clock.tenant_id
    where
        failure.event_type = 'failure'
        and failure.event_at <= clock.plant_now_at
    group by failure.tenant_id, failure.equipment_id, failure.event_at
),

spans as (
    select
        *,
        lag(failure_at, 1, '-infinity'::timestamptz) over (
            partition by tenant_id, equipment_id order by failure_at
        ) as previous_failure_at
    from failures
),

hours as (
    select
        metrics.tenant_id,
        metrics.equipment_id,
        metrics.hour_at,
        metrics.known_at,
        clock.plant_now_at,
        spans.failure_at,
        spans.component,
        spans.failure_known_at,
        {% for hours in horizons_h %}
            spans.failure_at <= metrics.hour_at + interval '{{ hours }} hours' as is_seen_{{ hours }}h,
            metrics.hour_at + interval '{{ hours }} hours' <= clock.plant_now_at as is_over_{{ hours }}h,
        {% endfor %}
        exists(
            select 1
            from {{ ref('stg_incident_calendar') }} as incident
            where
                incident.tenant_id = metrics.tenant_id
                and (incident.equipment_id is null or incident.equipment_id = metrics.equipment_id)
                and incident.starts_at <= metrics.hour_at
                and incident.ends_at > metrics.hour_at - interval '1 hour'
        ) as is_in_incident
    from {{ ref('int_equipment_metrics_hourly') }} as metrics
    left join {{ ref('stg_plant_clock') }} as clock on metrics.tenant_id = clock.tenant_id
    left join spans
        on
            metrics.tenant_id = spans.tenant_id
            and metrics.equipment_id = spans.equipment_id
            and metrics.hour_at >= spans.previous_failure_at
            and metrics.hour_at < spans.failure_at
)

select
    tenant_id,
    equipment_id,
    hour_at,
    failure_at as next_failure_at,
    (extract(epoch from failure_at - hour_at) / 3600)::double precision as hours_to_next_failure,
    component as next_failure_component,
    {% for hours in horizons_h %}
        case when is_seen_{{ hours }}h then true when is_over_{{ hours }}h then false end
            as is_failure_within_{{ hours }}h,
        coalesce(is_seen_{{ hours }}h, false) or coalesce(is_over_{{ hours }}h, false)
            as is_mature_{{ hours }}h,
        case
            when is_seen_{{ hours }}h then greatest(failure_known_at, known_at)
            when is_over_{{ hours }}h then greatest(hour_at + interval '{{ hours }} hours', known_at)
        end as label_{{ hours }}h_known_at,
    {% endfor %}
    is_in_incident,
    known_at
from hours
