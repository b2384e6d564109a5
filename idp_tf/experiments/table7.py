"""Table 7: do embeddings that a domain generates for its own cold items serve?

idp-tf experiment table7 --data DIR --workdir W --preset quick --seeds 3
"""

from idp_tf.experiments.base import FLOORS, Experiment

EXPERIMENT = Experiment(
    name="table7",
    question="How well are a domain's cold items ranked by embeddings from its other items?",
    systems=(
        *FLOORS,
        "sasrec",
        "idp-inner",
    ),
)
