"""Table 2: does IDP beat SASRec from scratch, and the floors?

idp-tf experiment table2 --data DIR --workdir W --preset quick --seeds 3
"""

from idp_tf.experiments.base import FLOORS, Experiment

EXPERIMENT = Experiment(
    name="table2",
    question="Does IDP beat the same model from scratch, and what anybody can do without a model?",
    systems=(
        *FLOORS,
        "sasrec",
        "idp-zero-shot",
        "idp",
        "idp-wo-encoder",
        "idp-wo-matcher",
        "idp-wo-bcl",
    ),
)
