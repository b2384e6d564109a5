"""Table 4: do generated embeddings help another model than the one they come from?

idp-tf experiment table4 --data DIR --workdir W --preset quick --seeds 3
"""

from idp_tf.experiments.base import Experiment

EXPERIMENT = Experiment(
    name="table4",
    question="Does BERT4Rec gain from embeddings that were generated from SASRec?",
    systems=(
        "sasrec",
        "bert4rec",
        "idp-b-s",
    ),
)
