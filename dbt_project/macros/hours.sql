{#-
    The hour of a reading is named by its END: readings in (hour_at - 1 h, hour_at]. A row of an
    hour then holds nothing later than its own name, so no label after it can leak into it. The
    origin of the bins is fixed; no session time zone takes part.
-#}
{% macro hour_end(instant) %}
    {{ return(
        "date_bin(interval '1 hour', " ~ instant
        ~ " + interval '1 hour' - interval '1 microsecond', timestamptz '2000-01-01 00:00:00+00')"
    ) }}
{% endmacro %}

{# Calendar day in UTC. #}
{% macro utc_day(instant) %}
    {{ return('(' ~ instant ~ " at time zone 'UTC')::date") }}
{% endmacro %}
