"""Values know what they were made from, and refuse what comes from elsewhere."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from proxyclip_core import ClipEncoder, PixelLogits, ProxyCLIP, Vocabulary
from proxyclip_core.types import MOST_CLASSES


@pytest.fixture(scope="module")
def other_model(tiny_model) -> ProxyCLIP:
    """Another CLIP under the same name."""
    network = copy.deepcopy(tiny_model.clip.network)
    network.state_dict()["visual.conv1.weight"].mul_(2)
    clip = ClipEncoder(network, tiny_model.clip.name, tiny_model.clip.mean, tiny_model.clip.std)
    return ProxyCLIP(clip, tiny_model.vfm, templates="simple7")


@pytest.fixture(scope="module")
def logits(tiny_model, blocks):
    dense = tiny_model.fuse(tiny_model.encode(blocks, side=224))
    return tiny_model.classify(dense, tiny_model.embed("sky; cloud, hill, horse"))


def test_the_words_travel_with_the_logits(logits):
    assert logits.segment().names == ("sky", "hill", "horse")
    assert set(logits.scores_at((3, 4))) == {"sky", "hill", "horse"}


def test_a_class_is_asked_for_by_name_or_index(logits):
    result = logits.segment()
    assert np.array_equal(logits.scores("hill"), logits.scores(1))
    assert np.array_equal(result.mask("hill"), result.mask(1))


@pytest.mark.parametrize("name", ["cloud", "Hill", 3, -1, True, None])
def test_a_class_that_is_not_there_is_named_with_those_that_are(logits, name):
    for read in (logits.scores, logits.segment().mask):
        with pytest.raises(ValueError, match="these are: sky, hill, horse"):
            read(name)


def test_a_threshold_wants_a_background(logits, tiny_model, blocks):
    for ask in (lambda: logits.segment(0.1), lambda: tiny_model(blocks, "sky, hill", threshold=0.1)):
        with pytest.raises(ValueError, match="Declare one: background='first'"):
            ask()


def test_a_pixel_at_the_threshold_keeps_its_class(tiny_model, blocks):
    dense = tiny_model.fuse(tiny_model.encode(blocks, side=224))
    logits = tiny_model.classify(dense, tiny_model.embed("sky, hill", background="first"))
    plain = logits.segment()
    hill = float(plain.confidence[plain.mask("hill")].min())
    assert (logits.segment(hill).mask("hill") == (plain.mask("hill") & (plain.confidence >= hill))).all()
    assert logits.segment(hill).mask("hill").sum() == plain.mask("hill").sum()


def test_features_of_other_weights_are_refused_whatever_the_name(tiny_model, other_model, blocks):
    features = tiny_model.encode(blocks, side=224)
    with pytest.raises(ValueError, match="Encode the picture again"):
        other_model.fuse(features)
    with pytest.raises(ValueError, match="Encode the picture again"):
        other_model.seed_attention(features, (3, 4))
    with pytest.raises(ValueError, match="both must come from one CLIP"):
        other_model.classify(tiny_model.fuse(features), other_model.embed("sky, hill"))


def test_clips_part_of_another_picture_is_refused(tiny_model, blocks):
    features = tiny_model.encode(blocks, side=224)
    with pytest.raises(ValueError, match="another picture"):
        tiny_model.encode(blocks[::-1], side=224, clip_from=features)


def test_a_vocabulary_that_labels_cannot_number_is_refused():
    names = tuple(str(number) for number in range(MOST_CLASSES + 1))

    def vocabulary(count: int) -> Vocabulary:
        some = names[:count]
        return Vocabulary(some, some, torch.arange(count), torch.ones(count, 2), False, "none", "CLIP", "digest")

    assert len(vocabulary(MOST_CLASSES).names) == MOST_CLASSES
    with pytest.raises(ValueError, match="65536 classes; a label map holds at most 65535"):
        vocabulary(MOST_CLASSES + 1)


def test_what_comes_out_can_be_trained_on(tiny_model, blocks):
    features = tiny_model.encode(blocks, side=224)
    dense = tiny_model.fuse(features)
    head = torch.nn.Conv2d(dense.tokens.shape[1], 3, 1)
    (head(dense.tokens).sum() + features.vfm.square().mul(torch.ones(1, requires_grad=True)).sum()).backward()
    assert head.weight.grad.abs().sum() > 0


def test_gradients_reach_words_that_are_learned(tiny_model, blocks):
    words = tiny_model.embed("sky, hill")
    learned = words.embeddings.clone().requires_grad_()
    dense = tiny_model.fuse(tiny_model.encode(blocks, side=224))
    tiny_model.classify(dense, replace(words, embeddings=learned)).values.sum().backward()
    assert learned.grad.abs().sum() > 0


def test_matrices_that_are_kept_can_be_trained_with(tiny_model, blocks):
    with torch.inference_mode():
        features = tiny_model.encode(blocks, side=224)
        features.layout.to_picture((29, 29))
    rows, _ = features.layout.to_picture((29, 29))
    weight = torch.ones(rows.shape[1], requires_grad=True)
    (rows @ weight).sum().backward()
    assert weight.grad is not None


def test_a_row_of_attention_on_the_grid_sums_to_one(tiny_model, blocks):
    features = tiny_model.encode(blocks, side=224)
    row = tiny_model.seed_attention(features, (70, 30), on="grid")
    assert row.shape == tuple(features.vfm.shape[-2:]) and row.sum() == pytest.approx(1, abs=1e-5)
    clips = tiny_model.seed_attention(features, (70, 30), source="clip", on="grid")
    assert clips.shape == features.clip_grid and 0 < clips.sum() < 1


def test_a_result_says_what_it_was_asked_and_computed_with(tiny_model, blocks):
    result = tiny_model(blocks, ["sky", ["hill, green", "hill"]], side=224, gamma=4)
    assert result.settings.words == 'sky, "hill, green"; hill' and result.settings.gamma == 4
    assert result.computed_with["precision"] == "float32" and result.computed_with["device"] == "cpu"
    again = tiny_model.run(blocks, result.settings)
    assert np.array_equal(again.labels, result.labels)


def test_settings_of_other_models_are_refused(tiny_model, other_model, blocks):
    settings = replace(tiny_model(blocks, "sky, hill", side=224).settings, clip="OpenAI B/16")
    with pytest.raises(ValueError, match="Load the models that the settings name"):
        tiny_model.run(blocks, settings)


def test_print_says_which_weights_answer(tiny_model):
    said = repr(tiny_model)
    assert tiny_model.clip.digest in said and tiny_model.vfm.digest in said and "float32" in said


def test_values_survive_pickling(tiny_model, blocks):
    features, words = tiny_model.encode(blocks, side=224), tiny_model.embed("sky, hill")
    features, words = pickle.loads(pickle.dumps((features, words)))
    logits = pickle.loads(pickle.dumps(tiny_model.classify(tiny_model.fuse(features), words)))
    assert np.array_equal(logits.segment().labels, tiny_model(blocks, "sky, hill", side=224).labels)


def test_refined_logits_survive_pickling_and_know_their_picture(tiny_model, blocks, logits):
    features = tiny_model.encode(blocks, side=224)
    refined = tiny_model.refine(logits, features, blocks, "pixels")
    again = pickle.loads(pickle.dumps(refined))
    assert np.array_equal(again.segment().labels, refined.segment().labels)
    assert (again.picture, again.vocabulary.names) == (features.picture, ("sky", "hill", "horse"))
    assert refined.to("cpu") is refined


@pytest.mark.parametrize("queries", [[0, 0], [0, 4], [-1, 0], [0]])
def test_refined_queries_must_be_those_of_the_vocabulary(logits, queries):
    with pytest.raises(ValueError, match="quer"):
        PixelLogits(logits.layout, torch.zeros(2, 3, 4), torch.tensor(queries), logits.values, logits.vocabulary)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16], ids=str)
def test_the_processs_own_number_type_changes_nothing(tiny_model, blocks, dtype):
    expected = tiny_model(blocks, "sky, hill", side=224)
    torch.set_default_dtype(dtype)
    try:
        found = tiny_model(blocks, "sky, hill", side=224)
        assert found.confidence.dtype == np.float32
    finally:
        torch.set_default_dtype(torch.float32)
    assert np.array_equal(found.labels, expected.labels)


def test_the_processs_own_device_changes_nothing(tiny_model, blocks):
    expected = tiny_model(blocks, "sky, hill", side=230)
    with torch.device("meta"):
        found = tiny_model(blocks, "sky, hill", side=230)
        heat = tiny_model.seed_attention(tiny_model.encode(blocks, side=230), (3, 4))
    assert np.array_equal(found.labels, expected.labels) and np.isfinite(heat).all()
