{{ config(tags=['predictions']) }}

-- The window is (plant clock - 24 h, plant clock]: a reading stamped later than the plant's own
-- clock is not believed here.
with machines as (
    select
        equipment.*,
        clock.plant_now_at
    from {{ ref('dim_equipment') }} as equipment
    left join {{ ref('stg_plant_clock') }} as clock on equipment.tenant_id = clock.tenant_id
),

readings_24h as (
    select
        reading.tenant_id,
        reading.equipment_id,
        count(*) as reading_count_24h,
        avg(reading.temperature_c) as avg_temp_24h,
        max(reading.temperature_c) as max_temp_24h,
        avg(coalesce(reading.vibration_mm_s, reading.vibration)) as avg_vibration_24h,
        avg(coalesce(reading.pressure_bar, reading.pressure)) as avg_pressure_24h,
        avg(coalesce(reading.rotation_rpm, reading.rotate)) as avg_rotation_24h,
        jsonb_strip_nulls(jsonb_build_object(
            {% for metric in sensor_metrics() -%}
                '{{ metric }}', avg(reading.{{ metric }}){% if not loop.last %},
                {% endif %}
            {%- endfor %}
        )) as avg_metrics_24h
    from machines
    inner join {{ ref('int_sensor_readings_deduplicated') }} as reading
        on
            machines.tenant_id = reading.tenant_id
            and machines.equipment_id = reading.equipment_id
            and machines.plant_now_at - interval '24 hours' < reading.event_at
            and machines.plant_now_at >= reading.event_at
    group by reading.tenant_id, reading.equipment_id
),

-- The last hour with a reading leads to the last reading by the index.
last_hours as (
    select
        metrics.tenant_id,
        metrics.equipment_id,
        max(metrics.hour_at) as hour_at
    from {{ ref('int_equipment_metrics_hourly') }} as metrics
    inner join machines
        on
            metrics.tenant_id = machines.tenant_id
            and metrics.equipment_id = machines.equipment_id
            and metrics.hour_at < machines.plant_now_at + interval '1 hour'
    group by metrics.tenant_id, metrics.equipment_id
),

last_readings as (
    select
        last_hours.tenant_id,
        last_hours.equipment_id,
        max(reading.event_at) as last_reading_time
    from last_hours
    inner join {{ ref('int_sensor_readings_deduplicated') }} as reading
        on
            last_hours.tenant_id = reading.tenant_id
            and last_hours.equipment_id = reading.equipment_id
            and last_hours.hour_at - interval '1 hour' < reading.event_at
            and last_hours.hour_at >= reading.event_at
    group by last_hours.tenant_id, last_hours.equipment_id
)

select
    machines.tenant_id,
    machines.equipment_id,
    machines.equipment_name,
    machines.plant_id,
    last_readings.last_reading_time,
    readings_24h.avg_temp_24h,
    readings_24h.avg_vibration_24h,
    readings_24h.max_temp_24h,
    readings_24h.avg_pressure_24h,
    readings_24h.avg_rotation_24h,
    readings_24h.avg_metrics_24h,
    coalesce(readings_24h.reading_count_24h, 0) as reading_count_24h,
    next_day.failure_probability as predicted_failure_prob,
    next_week.failure_probability as predicted_failure_prob_7d,
    case
        when next_day.failure_probability > 0.8 then 'Critical'
        when next_day.failure_probability > 0.5 then 'Warning'
        else 'Normal'
    end as health_status,
    next_day.failure_probability is not null as is_scored,
    next_day.predicted_for_at,
    anomalies.anomaly_score,
    anomalies.last_anomaly_started_at,
    anomalies.last_anomaly_ended_at,
    anomalies.last_anomaly_summary,
    machines.plant_now_at as window_end_at
from machines
left join readings_24h
    on
        machines.tenant_id = readings_24h.tenant_id
        and machines.equipment_id = readings_24h.equipment_id
left join last_readings
    on
        machines.tenant_id = last_readings.tenant_id
        and machines.equipment_id = last_readings.equipment_id
left join {{ ref('int_latest_failure_predictions') }} as next_day
    on
        machines.tenant_id = next_day.tenant_id
        and machines.equipment_id = next_day.equipment_id
        and next_day.horizon_hours = 24
left join {{ ref('int_latest_failure_predictions') }} as next_week
    on
        machines.tenant_id = next_week.tenant_id
        and machines.equipment_id = next_week.equipment_id
        and next_week.horizon_hours = 168
left join {{ ref('int_latest_anomalies') }} as anomalies
    on
        machines.tenant_id = anomalies.tenant_id
        and machines.equipment_id = anomalies.equipment_id
