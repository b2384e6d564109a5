"""Table 2: does IDP beat every other system of the paper, and the floors?

idp-tf experiment table2 --data DIR --workdir W --preset quick --seeds 3
"""

from idp_tf.experiments.base import FLOORS, Experiment

EXPERIMENT = Experiment(
    name="table2",
    question="Does IDP beat every other system, its own model from scratch, and the floors?",
    systems=(
        *FLOORS,
        "gru4rec",
        "sasrec",
        "bert4rec",
        "fdsa",
        "dacdr",
        "dacdr-scratch",
        "peterrec",
        "recformer",
        "recformer-scratch",
        "unisrec-id-t",
        "unisrec-id-t-scratch",
        "idp",
        "idp-id-t",
        "idp-id-t-scratch",
    ),
)
