"""What would make a later stage fail is found in the prepared domains, before any training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from idp_tf.config import Settings, TransferSettings
from idp_tf.data.domain import Domain, MergedDomains
from idp_tf.data.sequences import LEAVE_OUT_TRAIN, Sequences
from idp_tf.errors import DataError, SettingsError
from idp_tf.evaluation.negatives import check_enough_untouched, count_untouched
from idp_tf.retrieval import choose_scann_settings
from idp_tf.systems import SYSTEMS
from idp_tf.transfer.generate import find_untitled
from idp_tf.workflow.known_items import find_known_items

_TRAINED = 2
"""Least training items of a user: one to read, one to predict."""


def check_prepared(settings: Settings, target: Domain, sources: MergedDomains) -> None:
    """Refuses domains that are too small, or settings that ask too much of them.

    Raises:
        DataError: if users leave too few items for the negatives, nobody can be trained on, or
            a system needs titles and there are none.
        SettingsError: if the sources have too few items to match or to tune on.
    """
    for slug in settings.systems:
        if "titles" in SYSTEMS[slug].needs:
            for domain in (*sources.domains, target):
                _check_titles(domain, slug)
    _check_negatives(settings.evaluation.negatives, (*sources.domains, target))
    _check_lengths(target.sequences, target.name)
    _check_lengths(sources.sequences, ", ".join(sources.names))
    if any(SYSTEMS[slug].is_matched for slug in settings.systems):
        _check_retrieval(settings.transfer, sources.num_items)
        find_known_items(sources, settings.matcher)


def _check_titles(domain: Domain, slug: str) -> None:
    if find_untitled(domain.titles).all():
        raise DataError(
            f"no item has a title, and the system {slug!r} needs titles",
            where=domain.name,
            remedy="bring titles, or choose --systems that need none: idp-tf systems lists them",
        )


def _check_negatives(negatives: int, domains: Sequence[Domain]) -> None:
    """Judges by the domain with the fewest, so that what is advised holds for all."""
    untouched = [count_untouched(domain.sequences, domain.num_items) for domain in domains]
    fewest = min(range(len(domains)), key=lambda place: untouched[place].min())
    users = np.arange(len(untouched[fewest]))
    check_enough_untouched(untouched[fewest], negatives, users, domains[fewest].name)


def _check_lengths(sequences: Sequences, where: str) -> None:
    longest, least = int(sequences.lengths.max()), _TRAINED + LEAVE_OUT_TRAIN
    if longest < least:
        raise DataError(
            f"the longest history has {longest} interactions, so there is nothing to train on",
            where=where,
            remedy=f"bring users with at least {least} interactions: {_TRAINED} to train, "
            "one to validate and one to test",
        )


def _check_retrieval(settings: TransferSettings, source_items: int) -> None:
    if settings.top_m > source_items:
        raise SettingsError(
            f"transfer.top_m is {settings.top_m}, but the sources have only {source_items} items",
            remedy=f"set transfer.top_m to at most {source_items}",
        )
    if settings.retrieval == "scann":
        choose_scann_settings(source_items, settings.top_m)
