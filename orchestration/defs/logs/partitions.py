"""Days of logs, by event time."""

import dagster as dg

LOG_DAYS = dg.DailyPartitionsDefinition(start_date="2015-01-01", timezone="UTC", end_offset=1)
"""From the first public log set on; today's day is there too, since the services fill it."""
