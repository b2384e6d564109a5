"""Sequential recommenders: TFRS models that hold a Keras sequence encoder."""

from idp_tf.models.base import SequenceModel, load_model, save_model
from idp_tf.models.bert4rec import BERT4Rec
from idp_tf.models.gru4rec import GRU4Rec
from idp_tf.models.sasrec import SASRec

__all__ = ["BERT4Rec", "GRU4Rec", "SASRec", "SequenceModel", "load_model", "save_model"]
