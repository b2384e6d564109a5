"""A small one of every sequence model, for what all of them must do."""

import numpy as np

from idp_tf.layers import IdItems, JoinedItems, MoEAdaptor, SummedItems, TitleItems
from idp_tf.models import (
    DACDR,
    FDSA,
    BERT4Rec,
    DACDRPretraining,
    GRU4Rec,
    PeterRec,
    ProfiledSASRec,
    SASRec,
    UniSRec,
    UniSRecPretraining,
)

NUM_ITEMS, DIM, LENGTH = 20, 8, 6
SMALL = {"embedding_dim": DIM, "max_length": LENGTH, "num_layers": 1}
TITLES = np.random.default_rng(0).normal(size=(NUM_ITEMS + 1, 12)).astype(np.float32)
TITLES[0] = 0


def make_sasrec(**options):
    return SASRec(NUM_ITEMS, **{**SMALL, **options})


def parts(seed=0, embedding_dim=DIM, **options):
    return (
        IdItems(NUM_ITEMS, embedding_dim, seed=2 * seed),
        TitleItems(TITLES, embedding_dim, seed=2 * seed + 1),
    )


def make_sasrec_of_titles(**options):
    return make_sasrec(items=parts(**options)[1], **options)


def make_sasrec_of_both(**options):
    return make_sasrec(items=SummedItems(*parts(**options)), **options)


def make_fdsa(**options):
    return FDSA(NUM_ITEMS, items=JoinedItems(*parts(**options)), **{**SMALL, **options})


def make_profiled_sasrec(embedding_dim=DIM, **options):
    """Two parts, that together are as wide as the others."""
    half = {**options, "embedding_dim": embedding_dim // 2}
    items = JoinedItems(*parts(**half))
    return ProfiledSASRec(NUM_ITEMS, items=items, **{**SMALL, "title_weight": 1.0, **half})


def make_dacdr(model_class=DACDR, embedding_dim=DIM, **options):
    """Two parts, that together are as wide as the others."""
    shape = {**options, "embedding_dim": embedding_dim // 2}
    items = JoinedItems(*parts(**shape))
    return model_class(NUM_ITEMS, items=items, **{**SMALL, **shape})


def make_dacdr_pretraining(**options):
    return make_dacdr(DACDRPretraining, item_offsets=(0, 8, NUM_ITEMS), **options)


def make_peterrec(**options):
    """As if its patches had learned: at the start no gradient passes their zeros."""
    model = PeterRec(NUM_ITEMS, patch_width=4, **{**SMALL, **options})
    rng = np.random.default_rng(0)
    for weight in model.encoder.trainable_weights:
        weight.assign_add(rng.normal(scale=0.1, size=weight.shape))
    return model


def make_gru4rec(**options):
    return GRU4Rec(NUM_ITEMS, **{**SMALL, **options})


def make_bert4rec(**options):
    return BERT4Rec(NUM_ITEMS, **{**SMALL, "mask_rate": 0.3, **options})


def make_unisrec_text(**options):
    return UniSRec(NUM_ITEMS, items=adapted(**options), **{**SMALL, **options})


def make_unisrec_pretraining(**options):
    return UniSRecPretraining(NUM_ITEMS, items=adapted(**options), **{**SMALL, **options})


def make_unisrec_id_text(**options):
    items = SummedItems(parts(**options)[0], adapted(**options))
    return UniSRec(NUM_ITEMS, items=items, **{**SMALL, **options})


def adapted(seed=0, embedding_dim=DIM, dropout=0.2, **options):
    adaptor = MoEAdaptor(embedding_dim, num_experts=2, dropout=dropout, seed=seed)
    return TitleItems(TITLES, embedding_dim, adaptor)


MAKERS = [
    make_sasrec,
    make_sasrec_of_titles,
    make_sasrec_of_both,
    make_fdsa,
    make_profiled_sasrec,
    make_dacdr,
    make_dacdr_pretraining,
    make_peterrec,
    make_gru4rec,
    make_bert4rec,
    make_unisrec_text,
    make_unisrec_id_text,
    make_unisrec_pretraining,
]
