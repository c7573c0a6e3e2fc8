{#-
    Fails with each tenant of which a landed row is neither kept nor counted as a duplicate of a kept
    one: landed rows = sum of copy_count. Only batches that the model has built in count, so a lander
    that goes on meanwhile cannot fail it. Where days have left raw (`opsgraph retention`) the ledger
    counts their rows, of all tenants together; a full refresh that missed them fails here. What reads
    the model waits for this test.
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
    ),

    retired as (
        select coalesce(sum(landed), 0) as retired_rows
        from ops.landing_ledger
        where {% if is_as_of() -%} false {%- else -%}
            retired_at is not null and {{ in_processed_batches(model.identifier) }}
        {%- endif %}
    ),

    by_tenant as (
        select
            coalesce(landed.tenant_id, kept.tenant_id) as tenant_id,
            landed.landed_rows,
            kept.kept_rows,
            kept.duplicate_rows
        from landed
        full outer join kept on landed.tenant_id = kept.tenant_id
    ),

    of_all as (
        select
            'all tenants' as tenant_id,
            coalesce(sum(landed_rows), 0) + (select retired_rows from retired) as landed_rows,
            coalesce(sum(kept_rows), 0) as kept_rows,
            coalesce(sum(duplicate_rows), 0) as duplicate_rows
        from by_tenant
    )

    select * from by_tenant
    where landed_rows is distinct from kept_rows + duplicate_rows
        and (select retired_rows from retired) = 0
    union all
    select * from of_all
    where landed_rows <> kept_rows + duplicate_rows
{% endtest %}
