"""Models that know the target alone."""

from __future__ import annotations

from typing import Final

from idp_tf.systems.base import System

FROM_SCRATCH: Final = (
    System(
        slug="gru4rec",
        label="GRU4Rec, from scratch",
        reference="Hidasi et al. 2016, arXiv:1511.06939",
        model="gru4rec",
    ),
    System(
        slug="sasrec",
        label="SASRec, from scratch",
        reference="Kang and McAuley 2018, arXiv:1808.09781",
        model="sasrec",
    ),
    System(
        slug="bert4rec",
        label="BERT4Rec, from scratch",
        reference="Sun et al. 2019, arXiv:1904.06690",
        model="bert4rec",
    ),
    System(
        slug="fdsa",
        label="FDSA, from scratch",
        reference="Zhang et al. 2019, IJCAI, doi 10.24963/ijcai.2019/600",
        model="fdsa",
        items="joined",
    ),
)
