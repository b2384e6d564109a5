"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

import idp_tf

# The import above sets the Keras guard before a test imports keras_hub, which touches tf.keras.
assert idp_tf.__version__

# Machines are busy and reads are timed by them; the same examples every time, so that no run
# fails by chance.
settings.register_profile("idp_tf", deadline=None, derandomize=True)
settings.load_profile("idp_tf")
