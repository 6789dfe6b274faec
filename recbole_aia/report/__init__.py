"""Results and how they are shown. Nothing here needs a model."""

from recbole_aia.report.fairness import fairness, fairness_lines
from recbole_aia.report.holdout import holdout_findings, holdout_verdict
from recbole_aia.report.informed import informed_verdict
from recbole_aia.report.results import PAGE, SCHEMA, read_results, results_schema, write_results, write_users
from recbole_aia.report.table import attack_table, group_table, utility_table, verdict
from recbole_aia.report.worst import worst_cases

__all__ = [
    "PAGE",
    "SCHEMA",
    "attack_table",
    "fairness",
    "fairness_lines",
    "group_table",
    "holdout_findings",
    "holdout_verdict",
    "informed_verdict",
    "read_results",
    "results_schema",
    "utility_table",
    "verdict",
    "worst_cases",
    "write_results",
    "write_users",
]
