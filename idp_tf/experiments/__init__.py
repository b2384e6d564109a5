"""Tables and figures of the paper, one small file each, on the domains at hand."""

from idp_tf.experiments.base import Experiment, run_experiment

__all__ = ["Experiment", "run_experiment"]
