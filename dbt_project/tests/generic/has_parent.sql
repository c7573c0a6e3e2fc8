{#- Fails with each combination of columns that the parent lacks: relationships over a compound key. -#}
{% test has_parent(model, columns, parent) %}
    select distinct {% for column in columns -%} child.{{ column }}{% if not loop.last %}, {% endif %}{%- endfor %}
    from {{ model }} as child
    where not exists (
        select
        from {{ parent }} as parent
        where {% for column in columns -%}
            parent.{{ column }} = child.{{ column }}{% if not loop.last %} and {% endif %}
        {%- endfor %}
    )
{% endtest %}
