-- A code that inspections use and the seed does not know is kept, and shown as not declared.
with used as (
    select distinct defect_type
    from {{ ref('int_quality_inspections_deduplicated') }}
    where defect_type is not null
)

select
    coalesce(declared.defect_type, used.defect_type) as defect_type,
    coalesce(declared.defect_name, used.defect_type) as defect_name,
    coalesce(declared.defect_category, 'undeclared') as defect_category,
    declared.typical_cause,
    declared.defect_type is not null as is_declared
from {{ ref('seed_defect_types') }} as declared
full outer join used on declared.defect_type = used.defect_type
