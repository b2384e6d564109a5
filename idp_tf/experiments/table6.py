"""Table 6: what can be recommended before anything is trained on the target?

idp-tf experiment table6 --data DIR --workdir W --preset quick --seeds 3
"""

from idp_tf.experiments.base import FLOORS, Experiment

EXPERIMENT = Experiment(
    name="table6",
    question="Is zero-shot IDP better than zero-shot UniSRec and the floors?",
    systems=(
        *FLOORS,
        "sasrec",
        "unisrec-t-zero-shot",
        "idp-zero-shot",
        "idp-id-t-zero-shot",
    ),
)
