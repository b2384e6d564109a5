"""ID-centric pre-training for recommendation (IDP), on TensorFlow.

Importing this package sets the Keras guard: TensorFlow Recommenders needs
Keras 2 (``tf_keras``) behind ``tf.keras``, which TensorFlow decides once, when
``tf.keras`` is first touched. Nothing heavy is imported here.
"""

from __future__ import annotations

import os

from idp_tf._version import __version__
from idp_tf.errors import IdpError

__all__ = ["IdpError", "__version__"]


def _set_keras_guard() -> None:
    """Makes ``tf.keras`` mean ``tf_keras``, or says why that is impossible."""
    flag = os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    if flag.strip().lower() not in ("1", "true"):
        raise ImportError(
            f"idp_tf needs TF_USE_LEGACY_KERAS=1, but the environment says {flag!r}: "
            "TensorFlow Recommenders works with Keras 2 (tf_keras) only.\n"
            "  -> unset TF_USE_LEGACY_KERAS, or set it to 1, before Python starts"
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # The Keras 3 room (idp_tf.text) runs on TensorFlow, whatever ~/.keras says.
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")


_set_keras_guard()
