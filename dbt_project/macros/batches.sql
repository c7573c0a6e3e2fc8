{#-
    Which ledger batches an incremental model has built in. The memory is a table beside the models,
    written in the transaction of the model's own rows: both commit or neither does. A batch counts
    as processed even where all of its rows were duplicates, and the order in which landers commit
    does not matter, because batches are picked by an anti-join and not by a highest time.
-#}

{% macro processed_batches() %}
    {{ return('intermediate.processed_batches') }}
{% endmacro %}

{# Run once at the start of each dbt command. #}
{% macro create_processed_batches() %}
    {% if execute and not is_as_of() %}
        create schema if not exists intermediate;
        create table if not exists {{ processed_batches() }} (
            model_name text not null,
            batch_id bigint not null,
            picked_by xid8 not null default pg_current_xact_id(),
            primary key (model_name, batch_id)
        );
    {% endif %}
{% endmacro %}

{#
    Pre-hook: remember the batches of a topic that this model has not built in yet. A concurrent
    build of the same model waits here on the primary key and then claims only what is left.
#}
{% macro claim_landed_batches(topic) %}
    {{ return(_claim_batches(
        'select batch_id from ' ~ source('ops', 'landing_ledger') ~ " where topic = '" ~ topic ~ "'"
    )) }}
{% endmacro %}

{# Pre-hook: the same for a model that reads an incremental model instead of raw rows. #}
{% macro claim_batches_of(model_name) %}
    {{ return(_claim_batches(
        'select batch_id from ' ~ processed_batches() ~ " where model_name = '" ~ model_name ~ "'"
    )) }}
{% endmacro %}

{% macro _claim_batches(candidates) %}
    {%- if execute and not is_as_of() and not flags.EMPTY -%}
        {%- if not is_incremental() -%}
            delete from {{ processed_batches() }} where model_name = '{{ this.identifier }}';
        {% endif -%}
        insert into {{ processed_batches() }} (model_name, batch_id)
        select '{{ this.identifier }}', candidates.batch_id
        from ({{ candidates }}) as candidates
        where not exists (
            select from {{ processed_batches() }} as processed
            where processed.model_name = '{{ this.identifier }}' and processed.batch_id = candidates.batch_id
        )
        on conflict do nothing
    {%- endif -%}
{% endmacro %}

{#
    Predicate on `batch_id`: the batches that this transaction claimed. An array lets Postgres use
    the index on batch_id for the few batches of an hour; a full build reads everything and hashes.
#}
{% macro in_claimed_batches() %}
    {% if is_as_of() %}
        {{ return('true') }}
    {% endif %}
    {% set claimed = "select batch_id from " ~ processed_batches() ~ " where model_name = '"
        ~ this.identifier ~ "' and picked_by = pg_current_xact_id()" %}
    {{ return('batch_id = any(array(' ~ claimed ~ '))' if is_incremental() else 'batch_id in (' ~ claimed ~ ')') }}
{% endmacro %}

{# Predicate on `batch_id`: every batch that a model has built in so far. #}
{% macro in_processed_batches(model_name) %}
    {% if is_as_of() %}
        {{ return('true') }}
    {% endif %}
    {{ return(
        'batch_id in (select batch_id from ' ~ processed_batches() ~ " where model_name = '" ~ model_name ~ "')"
    ) }}
{% endmacro %}
