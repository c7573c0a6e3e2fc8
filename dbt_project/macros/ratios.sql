{#- Ratios of production and quality. Add a ratio that two models share. -#}

{# numerator / denominator, null where nothing was measured. #}
{% macro ratio(numerator, denominator) %}
    {{ return('(' ~ numerator ~ ')::double precision / nullif((' ~ denominator ~ ')::double precision, 0)') }}
{% endmacro %}
