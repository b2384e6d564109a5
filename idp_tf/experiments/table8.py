"""Table 8: does the pre-trained encoder help, or the generated embeddings alone?

idp-tf experiment table8 --data DIR --workdir W --preset quick --seeds 3
"""

from idp_tf.experiments.base import Experiment

EXPERIMENT = Experiment(
    name="table8",
    question="Is IDP better with the pre-trained encoder or with a new one (w/o PS)?",
    systems=("sasrec", "idp", "idp-wo-encoder"),
)
