-- Whole years around everything that happened, so that a report of a running year has its days.
with bounds as (
    select
        min(first_on) as first_on,
        max(last_on) as last_on
    from (
        select
            min({{ utc_day('event_at') }}) as first_on,
            max({{ utc_day('event_at') }}) as last_on
        from {{ ref('int_equipment_events_deduplicated') }}
        union all
        select
            min({{ utc_day('event_at') }}) as first_on,
            max({{ utc_day('event_at') }}) as last_on
        from {{ ref('int_equipment_status_deduplicated') }}
        union all
        select
            min({{ utc_day('hour_at') }}) as first_on,
            max({{ utc_day('hour_at') }}) as last_on
        from {{ ref('int_equipment_metrics_hourly') }}
        union all
        select
            min(inspected_on) as first_on,
            max(inspected_on) as last_on
        from {{ ref('int_quality_aggregates') }}
    ) as spans
)

select
    calendar.day_at::date as date_on,
    extract(isoyear from calendar.day_at)::integer as iso_year,
    extract(week from calendar.day_at)::integer as iso_week,
    extract(year from calendar.day_at)::integer as calendar_year,
    extract(quarter from calendar.day_at)::integer as calendar_quarter,
    extract(month from calendar.day_at)::integer as calendar_month,
    extract(day from calendar.day_at)::integer as day_of_month,
    extract(doy from calendar.day_at)::integer as day_of_year,
    extract(isodow from calendar.day_at)::integer as iso_day_of_week,
    to_char(calendar.day_at, 'FMDay') as day_name,
    to_char(calendar.day_at, 'FMMonth') as month_name,
    extract(isodow from calendar.day_at) >= 6 as is_weekend
from bounds
cross join lateral generate_series(
    date_trunc('year', bounds.first_on::timestamp),
    date_trunc('year', bounds.last_on::timestamp) + interval '1 year' - interval '1 day',
    interval '1 day'
) as calendar (day_at)
