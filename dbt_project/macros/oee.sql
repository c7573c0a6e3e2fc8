{#-
    The three factors of the overall equipment effectiveness (ISO 22400-2), each null where it was
    not measured. `suffix` picks the columns of a longer window, for example `_7d`.
-#}
{% macro oee_factors(suffix='') %}
    {{ ratio('run_s' ~ suffix, 'planned_run_s' ~ suffix) }} as availability{{ suffix }},
    {{ ratio('ideal_run_s' ~ suffix, 'rated_run_s' ~ suffix) }} as performance{{ suffix }},
    {{ ratio('inspected_units' ~ suffix ~ ' - defective_units' ~ suffix, 'inspected_units' ~ suffix) }}
        as quality{{ suffix }}
{% endmacro %}
