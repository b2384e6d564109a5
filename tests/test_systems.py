"""The list of systems, and the option that chooses among them."""

import json

from tiny_world import invoke

from idp_tf.models import MODELS
from idp_tf.systems import SYSTEMS


def test_every_system_is_whole():
    for slug, system in SYSTEMS.items():
        assert slug == system.slug
        assert (system.kind == "sequence") == (system.model is not None)
        assert system.model is None or system.model in MODELS
        assert system.base is None or system.base.model in (*MODELS, "recformer")
        assert not system.takes_over or system.base is not None
        assert not system.is_matched or system.base is not None
        # What transfers has a twin from scratch to be judged by.
        assert (system.twin is not None) == (system.base is not None)
        if system.twin is not None:
            twin = SYSTEMS[system.twin]
            assert (twin.base, twin.items) == (None, system.items)
            # The same model untrained, or what would be trained in the place of zero-shot use.
            assert twin.trained or (twin.model, twin.options) == (system.model, system.options)


def test_bases_of_one_name_are_one():
    bases = [system.base for system in SYSTEMS.values() if system.base is not None]
    assert len(set(bases)) == len({base.slug for base in bases})


def test_they_are_listed():
    said = invoke("systems").out
    assert all(slug in said for slug in SYSTEMS)
    assert "arXiv:1808.09781" in said


def test_json_says_what_each_needs():
    rows = {row["slug"]: row for row in json.loads(invoke("systems", "--json").out)}
    assert list(rows) == list(SYSTEMS)
    assert rows["popularity"]["needs"] == []
    assert rows["nearest-title"]["needs"] == ["titles"]
    assert rows["idp"]["needs"] == ["titles", "source domains"]
    assert rows["idp-wo-matcher"]["needs"] == ["source domains"]
    assert rows["dacdr"]["needs"] == ["titles", "two source domains"]
    assert (rows["idp"]["twin"], rows["sasrec"]["twin"]) == ("sasrec", None)


def test_what_domains_share_takes_two(tmp_path):
    arguments = ("--data", tmp_path, "--target", "t", "--workdir", tmp_path / "w")
    done = invoke("run", *arguments, "--sources", "a", "--systems", "sasrec,dacdr")
    assert done.code == 2
    assert "'dacdr' learns what source domains share, and there is only a" in done.err
    assert "name two sources, or leave dacdr out of --systems" in " ".join(done.err.split())
    assert not (tmp_path / "w").exists()
    for fitting in (("a,b", "sasrec,dacdr"), ("a", "sasrec,dacdr-scratch")):
        done = invoke("run", *arguments, "--sources", fitting[0], "--systems", fitting[1])
        assert "dacdr" not in done.err and "no domain" in done.err, done.err


def test_an_unknown_one_names_the_known(tmp_path):
    done = invoke(
        "run", "--data", tmp_path, "--sources", "a", "--target", "t", "--workdir", tmp_path / "w",
        "--systems", "sasrec,idq",
    )  # fmt: skip
    assert done.code == 2
    assert "unknown system 'idq'" in done.err
    assert "nearest-title" in done.err
    assert not (tmp_path / "w").exists()
