"""Sequential recommenders: TFRS models that hold a Keras sequence encoder."""

from idp_tf.models.base import SequenceModel
from idp_tf.models.bert4rec import BERT4Rec
from idp_tf.models.dacdr import DACDR
from idp_tf.models.dacdr_pretraining import DACDRPretraining
from idp_tf.models.fdsa import FDSA
from idp_tf.models.gru4rec import GRU4Rec
from idp_tf.models.peterrec import PeterRec
from idp_tf.models.profiled_sasrec import ProfiledSASRec
from idp_tf.models.registry import MODELS, build_model
from idp_tf.models.sasrec import SASRec
from idp_tf.models.saving import load_model, save_model
from idp_tf.models.unisrec import UniSRec
from idp_tf.models.unisrec_pretraining import UniSRecPretraining

__all__ = [
    "DACDR",
    "FDSA",
    "MODELS",
    "BERT4Rec",
    "DACDRPretraining",
    "GRU4Rec",
    "PeterRec",
    "ProfiledSASRec",
    "SASRec",
    "SequenceModel",
    "UniSRec",
    "UniSRecPretraining",
    "build_model",
    "load_model",
    "save_model",
]
