"""The Keras 3 room: titles to vectors, and the Cross-domain ID Matcher (sections 2.4.1, 2.4.2).

Nothing here touches tf_keras models; arrays are what passes to and from the other rooms.
"""

from idp_tf.text.batches import hold_out
from idp_tf.text.encoder import TextEncoder, build_text_encoder
from idp_tf.text.matcher import MatcherModel
from idp_tf.text.neighbours import (
    NO_NEIGHBOUR,
    MatchExample,
    behaviour_neighbours,
    example_matches,
    neighbour_recall,
)
from idp_tf.text.tuning import TuningResult, tune_matcher

__all__ = [
    "NO_NEIGHBOUR",
    "MatchExample",
    "MatcherModel",
    "TextEncoder",
    "TuningResult",
    "behaviour_neighbours",
    "build_text_encoder",
    "example_matches",
    "hold_out",
    "neighbour_recall",
    "tune_matcher",
]
