{#-
    Known time. With `--vars '{as_of: "…"}'` every model is built from the rows known by then, into
    schemas of its own; without it, from everything. Add here what depends on `as_of` and on
    nothing else. Avoid the wall clock: no model may read it.
-#}

{% macro is_as_of() %}
    {{ return(var('as_of', none) is not none) }}
{% endmacro %}

{# The instant as an aware UTC datetime; an instant without an offset is read as UTC. #}
{% macro as_of_instant() %}
    {% set text = var('as_of') | string %}
    {% if not modules.re.match('^\\d{4}-\\d{2}-\\d{2}[T ]\\d{2}:\\d{2}(:\\d{2}(\\.\\d+)?)?(Z|[+-]\\d{2}:?\\d{2})?$', text) %}
        {{ exceptions.raise_compiler_error(
            "as_of is '" ~ text ~ "', which is no ISO 8601 instant. Nothing was built. "
            ~ "Write for example --vars '{as_of: \"2015-03-01T00:00:00Z\"}'."
        ) }}
    {% endif %}
    {% set instant = modules.datetime.datetime.fromisoformat(text) %}
    {% if instant.tzinfo is none %}
        {{ return(modules.pytz.utc.localize(instant)) }}
    {% endif %}
    {{ return(instant.astimezone(modules.pytz.utc)) }}
{% endmacro %}

{% macro as_of_literal() %}
    {{ return("timestamptz '" ~ as_of_instant().isoformat() ~ "'") }}
{% endmacro %}

{# Predicate that keeps the rows known by `as_of`; true where none is set. #}
{% macro known_by_as_of(column='known_at') %}
    {% if is_as_of() %}
        {{ return(column ~ ' <= ' ~ as_of_literal()) }}
    {% endif %}
    {{ return('true') }}
{% endmacro %}

{# Incremental models are plain tables in an as-of build: it is built once and never continued. #}
{% macro incremental_unless_as_of() %}
    {{ return('table' if is_as_of() else 'incremental') }}
{% endmacro %}
