select
    tenant_id,
    {% if is_as_of() -%}
        {{ as_of_literal() }}
    {%- else -%}
        plant_now_at
    {%- endif %} as plant_now_at
from {{ source('ops', 'plant_clock') }}
