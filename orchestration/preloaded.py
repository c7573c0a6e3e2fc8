"""What the process that runs are forked from imports, once, so that no run has to.

Add what nearly every run imports. Avoid libraries that start threads when they are imported: a fork
takes none of them along.
"""

import logging

import dagster._grpc.impl  # noqa: F401 - the run itself
import dagster_postgres  # noqa: F401 - its event log

from orchestration.definitions import defs

try:
    defs().get_repository_def()
except Exception:  # the code server shows it; a run that loads the definitions itself says it again
    logging.getLogger(__name__).exception("the definitions can't be loaded")
