"""Figure 4: what are the matcher and its behaviour objective worth?

idp-tf experiment figure4 --data DIR --workdir W --preset quick --seeds 3
"""

from idp_tf.experiments.base import Experiment

EXPERIMENT = Experiment(
    name="figure4",
    question="What does IDP lose without the matcher (w/o M) or its tuning (w/o BCL)?",
    systems=("sasrec", "idp", "idp-wo-matcher", "idp-wo-bcl"),
)
