{#-
    One row per primary key of a contract: of its copies the one known first, then the one with the
    lowest offset. `copy_count` says how many raw rows had the key, so that
    raw rows = kept rows + (copies - kept rows) can be checked. A copy that arrives in a later batch
    is counted on the kept row, or takes its place where it was known earlier. A message that was
    landed again with other values (`opsgraph reland`) is its newest version; the older ones count as
    copies. Few batches bring newer versions, so the join is against almost nothing.
-#}
{% macro deduplicated(staging, table, id_column=none) %}
    {%- set key = [id_column] if id_column else contract_primary_key(table) -%}
    {%- set columns = system_columns() + contract_fields(table) | map(attribute='name') | list -%}
    with arrivals as (
        select
            {% if id_column -%} {{ contract_key_id(table) }} as {{ id_column }}, {% endif %}
            {% for column in columns -%} {{ column }}, {% endfor %}
            1::bigint as copy_count
        from {{ staging }}
        where {{ in_claimed_batches() }}
    ),

    candidates as (
        select * from arrivals
        {% if is_incremental() %}
            union all
            select
                {% if id_column -%} kept.{{ id_column }}, {% endif %}
                {% for column in columns_of_target(columns, table) -%} {{ column }}, {% endfor %}
                kept.copy_count
            from {{ this }} as kept
            inner join (select distinct {{ key | join(', ') }} from arrivals) as touched
                on {% for column in key -%}
                    touched.{{ column }} = kept.{{ column }}{% if not loop.last %} and {% endif %}
                {%- endfor %}
        {% endif %}
    ),

    newer_versions as materialized (
        select topic_id, kafka_partition, kafka_offset, max(batch_id) as newest_batch_id
        from candidates
        where batch_id in (select batch_id from ops.landing_ledger where superseded < 0)
        group by topic_id, kafka_partition, kafka_offset
    ),

    versioned as (
        select
            candidates.*,
            coalesce(newer.newest_batch_id > candidates.batch_id, false) as is_superseded
        from candidates
        left join newer_versions as newer
            on newer.topic_id = candidates.topic_id
                and newer.kafka_partition = candidates.kafka_partition
                and newer.kafka_offset = candidates.kafka_offset
    ),

    ranked as (
        select
            *,
            sum(copy_count) over (partition by {{ key | join(', ') }}) as copies,
            row_number() over (
                partition by {{ key | join(', ') }}
                order by is_superseded, known_at, topic_id, kafka_partition, kafka_offset
            ) as arrival_rank
        from versioned
    )

    select
        {% if id_column -%} {{ id_column }}, {% endif %}
        {% for column in columns -%} {{ column }}, {% endfor %}
        copies::bigint as copy_count
    from ranked
    where arrival_rank = 1
{% endmacro %}

{% macro system_columns() %}
    {{ return(['batch_id', 'topic_id', 'kafka_partition', 'kafka_offset', 'known_at', 'landed_at']) }}
{% endmacro %}

{# The target's columns; a field that the contract gained since reads as null in older rows. #}
{% macro columns_of_target(columns, table) %}
    {% set present = adapter.get_columns_in_relation(this) | map(attribute='name') | list %}
    {% set types = {} %}
    {% for field in contract_fields(table) %}
        {% do types.update({field.name: field.type}) %}
    {% endfor %}
    {% set selected = [] %}
    {% for column in columns %}
        {% do selected.append('kept.' ~ column if column in present else 'null::' ~ types[column] ~ ' as ' ~ column) %}
    {% endfor %}
    {{ return(selected) }}
{% endmacro %}

{#
    A key whose fields may be null (an event without a component) as one value that is never null.
    The instant enters as microseconds, which no session setting can render otherwise.
#}
{% macro contract_key_id(table) %}
    {% set parts = [] %}
    {% for name in contract_primary_key(table) %}
        {% do parts.append(
            '(extract(epoch from ' ~ name ~ ') * 1000000)::bigint::text' if name.endswith('_at')
            else "coalesce(" ~ name ~ "::text, '')"
        ) %}
    {% endfor %}
    {{ return("md5(concat_ws('|', " ~ parts | join(', ') ~ '))') }}
{% endmacro %}
