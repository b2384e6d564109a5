"""The record of a pipeline's runs, executions and artifacts: ``<root>/metadata.sqlite``.

Its tables are ml-metadata's (``schema``). A run is a Context, a node's work in a run is an
Execution in it, what it read and made are Events that lead to Artifacts. All that is changed
together is changed in one transaction, so a kill leaves the record as it was before or after.
"""

from pipelines.record.rows import ExecutionRow, RunRow
from pipelines.record.schema import ExecutionState
from pipelines.record.store import KILLED, RECORD_FILE, Record

__all__ = ["KILLED", "RECORD_FILE", "ExecutionRow", "ExecutionState", "Record", "RunRow"]
