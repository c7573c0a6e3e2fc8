{#- Fails with each value outside [minimum, maximum]; null passes, either bound may be left out. -#}
{% test in_range(model, column_name, minimum=none, maximum=none) %}
    {% set outside = [] %}
    {% if minimum is not none %}{% do outside.append(column_name ~ ' < ' ~ minimum) %}{% endif %}
    {% if maximum is not none %}{% do outside.append(column_name ~ ' > ' ~ maximum) %}{% endif %}
    select {{ column_name }}
    from {{ model }}
    where {{ outside | join(' or ') or 'false' }}
{% endtest %}
