"""Exports: recommender, matcher and cold start as SavedModels, each exact and with ScaNN.

An op that a server lacks fails the load of the whole model, and a stock TF-Serving has
no ScaNN: so the two forms are two SavedModels, never one with a switch.
"""

from serving.export.cold_start import COLD_START, COLD_START_SCANN, export_cold_start
from serving.export.item_table import TableDtype
from serving.export.matcher import MATCHER, MATCHER_SCANN, SourceItems, export_matcher
from serving.export.matching import TitleMatcher
from serving.export.recommender import RECOMMENDER, RECOMMENDER_SCANN, export_recommender
from serving.model_config import CONFIG_FILE, write_models_config

__all__ = [
    "COLD_START",
    "COLD_START_SCANN",
    "CONFIG_FILE",
    "MATCHER",
    "MATCHER_SCANN",
    "RECOMMENDER",
    "RECOMMENDER_SCANN",
    "SourceItems",
    "TableDtype",
    "TitleMatcher",
    "export_cold_start",
    "export_matcher",
    "export_recommender",
    "write_models_config",
]
