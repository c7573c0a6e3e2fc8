{#-
    The shape of every staging view over a landed table: the lander's columns, then the contract's
    fields cast to the contract's types. A field that the contract gains appears here by itself.
-#}
{% macro staged(table) %}
select
    {% for column in system_columns() -%} {{ column }}, {% endfor %}
    {% for field in contract_fields(table) -%}
        {{ field.name }}::{{ field.type }} as {{ field.name }}{% if not loop.last %}, {% endif %}
    {%- endfor %}
from {{ source('raw', table) }}
where {{ known_by_as_of() }}
{% endmacro %}
