"""The stages of a run, in their order."""

from idp_tf.workflow.check_exports import check_exports
from idp_tf.workflow.evaluate import evaluate_all
from idp_tf.workflow.export import export, export_what_can_be
from idp_tf.workflow.making import make_systems
from idp_tf.workflow.match import match
from idp_tf.workflow.prepare import prepare
from idp_tf.workflow.pretrain import pretrain
from idp_tf.workflow.report import write_report
from idp_tf.workflow.transfer import transfer

__all__ = [
    "check_exports",
    "evaluate_all",
    "export",
    "export_what_can_be",
    "make_systems",
    "match",
    "prepare",
    "pretrain",
    "transfer",
    "write_report",
]
