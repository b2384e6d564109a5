"""The Keras 3 room: titles to vectors, and the Cross-domain ID Matcher (sections 2.4.1, 2.4.2).

Nothing here touches tf_keras; arrays are what passes to and from the other rooms.
"""

from idp_tf.text.encoder import TextEncoder, build_text_encoder

__all__ = ["TextEncoder", "build_text_encoder"]
