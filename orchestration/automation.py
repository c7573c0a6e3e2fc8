"""Named automation conditions and run settings that several stages share.

Add a condition here when two stages use it. Avoid schedules of one stage: they stand with it.
"""

import dagster as dg

# Scheduled jobs try again twice, five minutes apart.
RETRY_TWICE = dg.RetryPolicy(max_retries=2, delay=300)

# `eager` does not look at checks of upstream assets in other runs; a failed blocking check must hold
# its downstream back there too.
WHEN_UPSTREAM_IS_SOUND = (
    dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed()
)
