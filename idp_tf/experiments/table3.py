"""Table 3: does IDP work on other pre-training bases?

idp-tf experiment table3 --data DIR --workdir W --preset quick --seeds 3
"""

from idp_tf.experiments.base import Experiment

EXPERIMENT = Experiment(
    name="table3",
    question="Does IDP help when BERT4Rec or GRU4Rec is what is pre-trained and fine-tuned?",
    systems=(
        "sasrec",
        "bert4rec",
        "gru4rec",
        "idp-bert4rec",
        "idp-gru4rec",
    ),
)
