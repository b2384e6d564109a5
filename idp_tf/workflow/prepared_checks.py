"""What would make a later stage fail is found in the prepared domains, before any training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from idp_tf.config import Settings, TransferSettings
from idp_tf.data.cold import COLD_SHARE, choose_cold_items, users_tested_on, without_items
from idp_tf.data.domain import Domain, MergedDomains
from idp_tf.data.sequences import LEAVE_OUT_TRAIN, Sequences
from idp_tf.errors import DataError, SettingsError
from idp_tf.evaluation.negatives import check_enough_untouched, count_untouched
from idp_tf.retrieval import choose_scann_settings
from idp_tf.systems import IDP_INNER, SYSTEMS
from idp_tf.transfer.generate import find_untitled
from idp_tf.workflow.known_items import find_known_items

_TRAINED = 2
"""Least training items of a user: one to read, one to predict."""
_COMPARED = 2
"""Least users that an interval can be given for."""


def check_prepared(settings: Settings, target: Domain, sources: MergedDomains) -> None:
    """Refuses domains that are too small, or settings that ask too much of them.

    Raises:
        DataError: if users leave too few items for the negatives, nobody can be trained on, or
            a system needs titles and there are none; for idp-inner, also if this is so of the
            target without its cold items, or too few users are tested on those.
        SettingsError: if the sources, or for idp-inner the target's other items, are too few to
            match or to tune on.
    """
    for slug in settings.systems:
        if "titles" in SYSTEMS[slug].needs:
            _check_titles(target, slug)
        if SYSTEMS[slug].reads_source_titles:
            for domain in sources.domains:
                _check_titles(domain, slug)
    _check_negatives(settings.evaluation.negatives, (*sources.domains, target))
    _check_lengths(target.sequences, target.name)
    _check_lengths(sources.sequences, ", ".join(sources.names))
    if any(SYSTEMS[slug].is_matched for slug in settings.systems):
        _check_matching(settings, sources)
    if IDP_INNER in settings.systems:
        _check_inner(settings, target)


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


def _check_matching(settings: Settings, sources: MergedDomains) -> None:
    _check_retrieval(settings.transfer, sources.num_items)
    find_known_items(sources, settings.matcher)


def _check_inner(settings: Settings, target: Domain) -> None:
    """Judges the target without its cold items as what it is to idp-inner: the only source."""
    cold = choose_cold_items(target.num_items, COLD_SHARE, settings.seed)
    users = users_tested_on(target.sequences, cold)
    with _said_of_inner():
        if len(users) < _COMPARED:
            raise DataError(
                f"of {target.sequences.num_users} users {len(users)} have one of the {len(cold)} "
                f"cold items as their test item, and fewer than {_COMPARED} show nothing",
                where=target.name,
                remedy="bring a target with more users, or choose another --seed",
            )
        warm = without_items(target, cold, f"{target.name} without its cold items")
        _check_titles(warm, IDP_INNER)
        _check_negatives(settings.evaluation.negatives, [warm])
        _check_lengths(warm.sequences, warm.name)
        _check_matching(settings, MergedDomains.of([warm]))


@contextmanager
def _said_of_inner() -> Iterator[None]:
    """Has an error say what it was that asked for this."""
    try:
        yield
    except (DataError, SettingsError) as error:
        raise type(error)(
            f"{IDP_INNER}, whose only source is the target without its cold items: {error.problem}",
            where=error.where,
            remedy=f"{error.remedy}, or leave {IDP_INNER} out of --systems",
        ) from error


def _check_retrieval(settings: TransferSettings, source_items: int) -> None:
    if settings.top_m > source_items:
        raise SettingsError(
            f"transfer.top_m is {settings.top_m}, but the sources have only {source_items} items",
            remedy=f"set transfer.top_m to at most {source_items}",
        )
    if settings.retrieval == "scann":
        choose_scann_settings(source_items, settings.top_m)
