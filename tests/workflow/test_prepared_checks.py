"""What would make a later stage fail is refused once the domains are prepared."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_world import NUM_ITEMS, SOURCES, TARGET, Invocation, command, invoke

from idp_tf.config import load_settings
from idp_tf.data.cold import COLD_SHARE, choose_cold_items
from idp_tf.data.domain import Domain, MergedDomains
from idp_tf.data.schema import IdMap
from idp_tf.data.sequences import Sequences
from idp_tf.errors import IdpError
from idp_tf.workflow.prepared_checks import check_prepared

FITTING = ("evaluation.negatives=3", "matcher.min_interactions=2", "transfer.top_m=2")


def domain(name: str, histories: list[list[int]], num_items: int) -> Domain:
    names = [f"{name}-{item}" for item in range(num_items)]
    users = [f"u{user}" for user in range(len(histories))]
    offsets = np.cumsum([0, *map(len, histories)])
    sequences = Sequences(np.concatenate(histories).astype(np.int32), offsets)
    return Domain(name, IdMap(names), names, users, sequences, {})


TEA = domain("tea", [[1, 2, 3, 4], [2, 1, 3, 4], [4, 3, 1]], 8)
PENS = domain("pens", [[5, 6, 7], [5, 6, 7, 8]], 9)
DESKS = domain("desks", [[1, 2, 3, 4], [4, 3, 2]], 7)
LONG = domain("long", [[1, 2, 3, 4], [1, 2, 4, 3]], 40)
LARGE = domain("large", [[1, 2, 3, 4]], 99)


def check(*pairs: str, target: Domain = DESKS, sources: tuple[Domain, ...] = (TEA, PENS)) -> None:
    settings = load_settings("quick", overrides=[*FITTING, *pairs])
    check_prepared(settings, target, MergedDomains.of(sources))


def refusal(*pairs: str, **domains: Any) -> str:
    with pytest.raises(IdpError) as caught:
        check(*pairs, **domains)
    return str(caught.value)


def test_domains_that_fit() -> None:
    check()


def untitled(domain: Domain) -> Domain:
    return replace(domain, titles=[" "] * domain.num_items)


def test_who_reads_titles_needs_them() -> None:
    found = refusal("systems=[sasrec, fdsa]", target=untitled(DESKS))
    assert re.match(r"desks: no item has a title, and the system 'fdsa' needs titles", found)
    found = refusal("systems=[sasrec, unisrec-t]", sources=(TEA, untitled(PENS)))
    assert re.match(r"pens: .*'unisrec-t' needs titles(?s:.*)idp-tf systems", found)


def test_who_reads_none_does_without() -> None:
    check("systems=[sasrec, gru4rec, peterrec]", target=untitled(DESKS), sources=(untitled(TEA),))
    # Titles of the target are enough for what transfers nothing.
    check("systems=[nearest-title, fdsa]", sources=(untitled(TEA), untitled(PENS)))


@pytest.mark.parametrize(
    ("domains", "words", "most"),
    [
        ({"sources": (PENS, TEA)}, "user 0 of desks has 3 untouched items", 3),
        ({"target": LARGE}, "user 0 of tea has 4 untouched items", 4),
        ({"target": LARGE, "sources": (PENS,)}, "user 1 of pens has 5 untouched items", 5),
    ],
)
def test_too_few_items_for_the_negatives(domains: dict[str, Any], words: str, most: int) -> None:
    found = refusal("evaluation.negatives=6", **domains)
    assert words in found and f"to at most {most}," in found
    check(f"evaluation.negatives={most}", "matcher.min_interactions=1", **domains)


def test_no_number_of_negatives_helps_where_a_user_has_touched_all_items() -> None:
    found = refusal(target=domain("desks", [[1, 2, 3, 4]], 4))
    assert "user 0 of desks has 0 untouched items" in found
    assert "at most" not in found and "bring a domain with more items" in found


@pytest.mark.parametrize("role", ["target", "source"])
def test_nobody_to_train_on(role: str) -> None:
    short = domain("short", [[1, 2, 3], [3, 2, 1]], 9)
    found = refusal(**({"target": short} if role == "target" else {"sources": (short,)}))
    assert "short: the longest history has 3 interactions" in found
    assert "at least 4 interactions" in found


def test_one_source_with_somebody_to_train_on_is_enough() -> None:
    check(sources=(TEA, domain("short", [[1, 2, 3], [3, 2, 1]], 9)))


def test_scann_over_too_few_items() -> None:
    assert "at least 16 vectors" not in refusal("transfer.top_m=99", "transfer.retrieval=scann")
    assert "got 8" in refusal("transfer.retrieval=scann", sources=(TEA,))
    check("transfer.retrieval=scann")


@pytest.mark.parametrize(("scope", "most"), [("domain", 2), ("all", 2)])
def test_too_few_items_that_behaviour_tells_of(scope: str, most: int) -> None:
    """Training counts: tea's 1 and 2 have two each and 4 has one; pens' 5 has two, 6 has one."""
    scope = f"matcher.neighbour_scope={scope}"
    found = refusal(scope, f"matcher.min_interactions={most + 1}")
    assert "matcher.min_interactions: no two source items" in found
    assert f"{most + 1} training interactions" in found and f"set it to at most {most}" in found
    check(scope, f"matcher.min_interactions={most}")


def test_neighbours_within_a_domain_need_two_items_of_one() -> None:
    """Each source has one item that was seen twice."""
    apart = (domain("a", [[1, 2, 9, 9], [1, 3, 9, 9]], 9), PENS)
    found = refusal(sources=apart)
    assert "no two source items of one domain have 2" in found and "at most 1" in found
    check("matcher.neighbour_scope=all", sources=apart)


INNER = "systems=[sasrec, idp-inner]"
COLD = int(choose_cold_items(12, COLD_SHARE, 0)[0])
"""Of twelve items one is cold, by the seed that the settings have."""
A, B, C, D, E = [item for item in range(1, 13) if item != COLD][:5]
USERS = ([A, B, C, D, COLD], [B, A, D, C, COLD], [A, B, C, D, E], [B, A, D, C, E])


class TestInner:
    """To idp-inner the target without its cold items is the only source."""

    @pytest.fixture
    def target(self) -> Domain:
        return domain("desks", [list(user) for user in USERS], 12)

    def test_what_fits(self, target: Domain) -> None:
        """Of 11 warm items a user has touched 5; A and B are trained on 4 times."""
        limits = ("evaluation.negatives=6", "transfer.top_m=11", "matcher.min_interactions=4")
        check(INNER, *limits, target=target, sources=(LONG,))

    @pytest.mark.parametrize(
        ("pair", "words"),
        [
            ("evaluation.negatives=7", "at most 6"),
            ("transfer.top_m=12", "transfer.top_m to at most 11"),
            ("matcher.min_interactions=5", "at most 4"),
            ("transfer.retrieval=scann", "got 11"),
        ],
    )
    def test_too_much_is_asked_of_what_is_warm(self, target: Domain, pair: str, words: str) -> None:
        found = refusal(INNER, pair, target=target, sources=(LONG,))
        assert "idp-inner, whose only source is the target without its cold items" in found
        assert words in found and "or leave idp-inner out of --systems" in found
        check("systems=[sasrec]", pair, target=target, sources=(LONG,))

    def test_nobody_to_train_on_is_left(self) -> None:
        users = [[A, B, C, COLD], [B, A, C, COLD]]
        found = refusal(INNER, target=domain("desks", users, 12))
        assert "idp-inner" in found and "longest history has 3 interactions" in found
        found = refusal(INNER, target=domain("desks", [[*u[1:], u[0]] for u in users], 12))
        assert "of 2 users 0 have" in found

    def test_nobody_is_left(self) -> None:
        users = [[COLD, A, COLD, COLD]] * 2
        found = refusal(INNER, target=domain("desks", users, 12))
        assert "no user has 3 interactions" in found and "leave idp-inner out" in found

    @pytest.mark.parametrize("tested", [0, 1])
    def test_too_few_users_are_tested_on_cold_items(self, tested: int) -> None:
        users = [list(user) for user in USERS[2 - tested :]]
        target = domain("desks", users, 12)
        check("systems=[sasrec]", target=target)
        found = refusal(INNER, target=target)
        assert f"of {2 + tested} users {tested} have one of the 1 cold items" in found
        assert "choose another --seed, or leave idp-inner out of --systems" in found


def assert_refused_untrained(done: Invocation, workdir: Path, *words: str) -> None:
    assert done.code == 2 and done.err.count("Error: ") == 1
    assert all(word in done.err for word in words), done.err
    assert not (workdir / "pretrain").exists(), "it is found before anything is trained"


def test_a_run_is_refused_before_pre_training(world: Path, tiny_bert: Path, tmp_path: Path) -> None:
    """The busiest users of this world have touched 10 items."""
    most = NUM_ITEMS - 10
    arguments = (world, tmp_path / "w", tiny_bert)
    done = invoke(*command(*arguments, f"evaluation.negatives={most + 1}"))
    words = (f"of {SOURCES[0]} has {most} untouched items", f"at most {most},")
    assert_refused_untrained(done, tmp_path / "w", *words)
    done = invoke(*command(*arguments, "matcher.min_interactions=999"))
    assert_refused_untrained(done, tmp_path / "w", "matcher.min_interactions", "set it to at most")
    # As advised, with the workdir as it was left.
    limit = re.search(r"set it to at most (\d+)", done.err)
    assert limit
    pairs = (f"evaluation.negatives={most}", f"matcher.min_interactions={limit[1]}")
    done = invoke("prepare", *command(*arguments, *pairs)[1:])
    assert done.code == 0, done.err
    assert (tmp_path / "w" / "data" / TARGET / "manifest.json").is_file()
