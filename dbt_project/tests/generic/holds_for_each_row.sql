{#- Fails with each row for which the expression is not true; null counts as not true. -#}
{% test holds_for_each_row(model, expression) %}
    select *
    from {{ model }}
    where ({{ expression }}) is not true
{% endtest %}
