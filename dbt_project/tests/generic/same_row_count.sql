{#- Fails where the model and another one differ in their number of rows: nothing was lost or doubled. -#}
{% test same_row_count(model, other, where='true', other_where='true') %}
    with counts as (
        select
            (select count(*) from {{ model }} where {{ where }}) as row_count,
            (select count(*) from {{ other }} where {{ other_where }}) as other_row_count
    )

    select *
    from counts
    where row_count <> other_row_count
{% endtest %}
