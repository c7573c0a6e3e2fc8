{#-
    Fails with each tenant of which a landed row is neither kept nor counted as a duplicate of a kept
    one: landed rows = sum of copy_count. Only batches that the model has built in count, so a lander
    that goes on meanwhile cannot fail it. What reads the model waits for this test.
-#}
{% test landed_rows_are_kept_or_counted(model, staging) %}
    with landed as (
        select
            tenant_id,
            count(*) as landed_rows
        from {{ staging }}
        where {{ in_processed_batches(model.identifier) }}
        group by tenant_id
    ),

    kept as (
        select
            tenant_id,
            count(*) as kept_rows,
            sum(copy_count) - count(*) as duplicate_rows
        from {{ model }}
        group by tenant_id
    )

    select
        coalesce(landed.tenant_id, kept.tenant_id) as tenant_id,
        landed.landed_rows,
        kept.kept_rows,
        kept.duplicate_rows
    from landed
    full outer join kept on landed.tenant_id = kept.tenant_id
    where landed.landed_rows is distinct from kept.kept_rows + kept.duplicate_rows
{% endtest %}
