"""Table 5: does it hold on another platform?

idp-tf experiment table5 --data DIR --workdir W --preset quick --seeds 3
"""

from idp_tf.experiments.base import FLOORS, Experiment

EXPERIMENT = Experiment(
    name="table5",
    question="Does what was learned in shops help a film site?",
    systems=(
        *FLOORS,
        "gru4rec",
        "sasrec",
        "bert4rec",
        "fdsa",
        "dacdr",
        "dacdr-scratch",
        "peterrec",
        "unisrec-id-t",
        "unisrec-id-t-scratch",
        "idp",
        "idp-id-t",
        "idp-id-t-scratch",
    ),
    targets=("ml-1m",),
)
