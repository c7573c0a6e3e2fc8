{# The last value that is not null, in event order; what was known later wins a tie. #}
{% macro latest(column, order_by='event_at desc, known_at desc, kafka_offset desc') %}
    {{ return(
        '(array_agg(' ~ column ~ ' order by ' ~ order_by ~ ') filter (where ' ~ column ~ ' is not null))[1]'
    ) }}
{% endmacro %}
