"""The stages from raw domains to served models, over a workdir that remembers them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from idp_tf.workflow.run import Run

__all__ = ["help_to_train", "run_all"]


def run_all(run: Run) -> dict[str, Any]:
    """Every stage, then the report; what is finished already is reused.

    Args:
        run: What to do, and where.

    Returns:
        The report, as ``report.json`` holds it.

    Raises:
        IdpError: whatever is wrong; most of it before anything is done.
    """
    from idp_tf.workflow import stages
    from idp_tf.workflow.export import require_serving
    from idp_tf.workflow.preflight import check_run

    require_serving()
    check_run(run)
    with run.locked():
        stages.prepare(run)
        stages.pretrain(run)
        stages.match(run)
        stages.transfer(run)
        stages.make_systems(run)
        stages.evaluate_all(run)
        stages.export_what_can_be(run)
        return stages.write_report(run)


def help_to_train(run: Run) -> None:
    """What a worker that is not the chief does of a run: both trainings.

    Before each model it waits until the chief has come so far.

    Args:
        run: The same as the chief's, over the same workdir.
    """
    from idp_tf.workflow import stages

    stages.pretrain(run)
    stages.make_systems(run)
