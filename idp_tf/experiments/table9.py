"""Table 9: how much of a sequence encoder belongs to its domain?

idp-tf experiment table9 --data DIR --workdir W --preset quick --seeds 3
"""

from idp_tf.experiments.base import Experiment

EXPERIMENT = Experiment(
    name="table9",
    question="What does SASRec lose with the encoder of another domain?",
    systems=(
        "sasrec",
        "sasrec-ex",
    ),
)
