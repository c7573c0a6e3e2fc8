{#-
    Schema of a model: its layer, `staging`, `intermediate` or `marts`; in an as-of build
    `asof_<yyyymmddthhmmss>_<layer>`. Avoid target prefixes: the database itself separates targets.
-#}
{% macro generate_schema_name(custom_schema_name, node) %}
    {%- set layer = custom_schema_name if custom_schema_name is not none else target.schema -%}
    {%- if is_as_of() -%}
        asof_{{ as_of_instant().strftime('%Y%m%dt%H%M%S') }}_{{ layer | trim }}
    {%- else -%}
        {{ layer | trim }}
    {%- endif -%}
{% endmacro %}
