"""Words that were embedded before are not embedded again, unless anything that decides their embedding has changed."""

import copy
import pickle
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from proxyclip_core import ClipEncoder, ProxyCLIP
from proxyclip_core.models import word_cache as module
from proxyclip_core.models.word_cache import WordCache, private_to


@pytest.fixture
def cached_model(tiny_model, tmp_path) -> ProxyCLIP:
    return with_cache(tiny_model.clip, tmp_path / "words")


def with_cache(clip: ClipEncoder, folder) -> ProxyCLIP:
    encoder = ClipEncoder(clip.network, clip.name, clip.mean, clip.std)
    encoder.word_cache = WordCache(encoder.text_digest, folder)
    return ProxyCLIP(encoder, None, "values", "simple7")


def changed(clip: ClipEncoder, name: str) -> ClipEncoder:
    """The CLIP with one weight of the tensor `name` changed."""
    network = copy.deepcopy(clip.network)
    network.state_dict()[name].view(-1)[0] += 1
    return ClipEncoder(network, clip.name, clip.mean, clip.std)


def test_presence_asks_for_no_sentence_that_was_read_among_the_80(cached_model, tiny_model, monkeypatch):
    words = cached_model.embed(["a horse", "a hill"], templates="imagenet80")
    monkeypatch.setattr(cached_model.clip, "encode_text", lambda prompts, *more: pytest.fail("the text tower was run"))
    plain = cached_model.with_plain(words).plain
    expected = tiny_model.embed(["a horse", "a hill"], templates="simple7").embeddings
    torch.testing.assert_close(plain, expected, rtol=0, atol=1e-6)


def test_only_new_words_reach_the_text_tower(cached_model, tiny_model, monkeypatch):
    asked = []
    encode = cached_model.clip.encode_text
    monkeypatch.setattr(
        cached_model.clip, "encode_text", lambda prompts, *more: asked.extend(prompts) or encode(prompts)
    )
    cached_model.embed("sky; cloud, hill", templates="none")
    again = cached_model.embed("hill, sky, horse", templates="none")
    assert asked == ["sky", "cloud", "hill", "horse"]
    asked.clear()
    expected = tiny_model.embed("hill, sky, horse", templates="none").embeddings
    assert torch.allclose(again.embeddings, expected, atol=1e-6)
    cached_model.embed("hill", templates="simple7")
    assert len(asked) == 7


def test_another_process_finds_them_on_disk(cached_model, tiny_model, tmp_path, monkeypatch):
    first = cached_model.embed("sky, hill")
    model = with_cache(tiny_model.clip, tmp_path / "words")
    monkeypatch.setattr(model.clip, "encode_text", lambda prompts, *more: pytest.fail("the text tower was run"))
    assert torch.equal(model.embed("sky, hill").embeddings, first.embeddings)


def test_any_other_weight_of_the_text_tower_gives_other_keys(tiny_clip):
    names = [name for name in tiny_clip.network.state_dict() if not name.startswith("visual.")]
    digests = {name: changed(tiny_clip, name).text_digest for name in names}
    assert len({tiny_clip.text_digest, *digests.values()}) == 1 + len(names)


def test_a_fine_tuned_tower_embeds_its_words_itself(tiny_clip, tmp_path):
    """As a LoRA does that is merged into the blocks' attention: final norm, projection and positions stay the same."""
    with_cache(tiny_clip, tmp_path).embed("zebra, gnu")
    tuned = changed(tiny_clip, "transformer.resblocks.0.attn.in_proj_weight")
    expected = ProxyCLIP(tuned, None, "values", "simple7").embed("zebra, gnu").embeddings
    assert torch.equal(with_cache(tuned, tmp_path).embed("zebra, gnu").embeddings, expected)


def merge_lora(clip: ClipEncoder) -> None:
    """Into the attention of the text tower's blocks, by way of `.data`, of which torch's own count of changes does not
    know."""
    for block in clip.network.transformer.resblocks:
        weight = block.attn.in_proj_weight
        down, up = torch.randn(2, weight.shape[1]), torch.randn(len(weight), 2)
        weight.data += 0.2 * (up @ down).to(weight.device)


@pytest.fixture
def own_model(tiny_model, tmp_path) -> ProxyCLIP:
    """With networks of its own, to be changed, and a word cache."""
    model = with_cache(copy.deepcopy(tiny_model.clip), tmp_path / "words")
    model.vfm = tiny_model.vfm
    return model


def test_a_tower_that_is_tuned_in_place_embeds_its_words_anew(own_model):
    before = own_model.embed("zebra, gnu").embeddings
    merge_lora(own_model.clip)
    after = own_model.embed("zebra, gnu")
    clip = own_model.clip
    tuned = ClipEncoder(copy.deepcopy(clip.network), clip.name, clip.mean, clip.std)
    expected = ProxyCLIP(tuned, None, "values", "simple7").embed("zebra, gnu").embeddings
    assert torch.equal(after.embeddings, expected) and not torch.allclose(before, expected, atol=0.05)
    assert (clip.text_digest, clip.digest, after.clip_id) == (tuned.text_digest, tuned.digest, tuned.digest)


def test_a_tower_that_is_tuned_in_place_leaves_the_words_of_the_old_one_alone(own_model, tiny_model, tmp_path):
    merge_lora(own_model.clip)
    own_model.embed("zebra")
    found = with_cache(tiny_model.clip, tmp_path / "words").embed("zebra").embeddings
    assert torch.equal(found, tiny_model.embed("zebra").embeddings)


def test_what_the_tower_said_before_it_was_tuned_is_not_mixed_with_what_it_says_now(own_model, four_areas):
    features, words = own_model.encode(four_areas, 224), own_model.embed("sky, hill")
    dense = own_model.fuse(features)
    own_model.presence(dense, words)
    reference = own_model.clip.reference
    merge_lora(own_model.clip)
    with pytest.raises(ValueError, match="Embed them again"):
        own_model.presence(dense, words)
    with pytest.raises(ValueError, match="Encode the picture again"):
        own_model.fuse(features)
    dense = own_model.fuse(own_model.encode(four_areas, 224))
    assert own_model.presence(dense, own_model.embed("sky, hill")).keys() == {"sky", "hill"}
    assert not torch.allclose(own_model.clip.reference, reference, atol=0.05)


@pytest.mark.parametrize("encode", ["encode", "encode_all"])
def test_a_picture_and_words_that_are_encoded_after_tuning_fit_together(own_model, four_areas, encode):
    own_model.embed("sky")
    merge_lora(own_model.clip)
    given = four_areas if encode == "encode" else [four_areas]
    found = getattr(own_model, encode)(given, 224)
    dense = own_model.fuse(found if encode == "encode" else found[0])
    assert own_model.classify(dense, own_model.embed("sky, hill")).segment().names == ("sky", "hill")


def test_a_move_to_another_precision_is_no_change(own_model, monkeypatch):
    before, digest = own_model.embed("sky").embeddings, own_model.clip.digest
    own_model.clip.to(torch.device("cpu"), torch.bfloat16)
    monkeypatch.setattr(own_model.clip, "encode_text", lambda prompts, *more: pytest.fail("the text tower was run"))
    assert torch.equal(own_model.embed("sky").embeddings, before) and own_model.clip.digest == digest


def test_another_version_of_the_code_embeds_anew(tmp_path, monkeypatch):
    WordCache("tower", tmp_path).put("sky", "none", torch.ones(2))
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    assert WordCache("tower", tmp_path).get("sky", "none") is None


@pytest.mark.parametrize("content", [b"", b"odd", np.full(2, np.nan, np.float32).tobytes(), "text", 7])
def test_what_is_no_embedding_is_passed_over(tmp_path, content):
    cache = WordCache("tower", tmp_path)
    cache.put("sky", "none", torch.ones(3))
    with module.diskcache.Cache(str(tmp_path)) as disk:
        for key in list(disk):
            disk[key] = content
    assert WordCache("tower", tmp_path).get("sky", "none") is None


def test_a_damaged_cache_is_no_error(tmp_path):
    (tmp_path / "cache.db").write_bytes(b"no data base" * 100)
    cache = WordCache("tower", tmp_path)
    cache.put("sky", "none", torch.ones(2))
    assert torch.equal(cache.get("sky", "none"), torch.ones(2))


def test_disk_and_memory_are_bounded_and_the_oldest_go(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BYTES_ON_DISK", 200_000)
    monkeypatch.setattr(module, "WORDS_IN_MEMORY", 2)
    cache = WordCache("tower", tmp_path)
    for number in range(300):
        cache.put(f"word {number}", "none", torch.full((1000,), float(number)))
    again = WordCache("tower", tmp_path)
    kept = [number for number in range(300) if again.get(f"word {number}", "none") is not None]
    assert 0 < len(kept) < 150 and kept[-1] == 299 and 0 not in kept


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = WordCache("tower", tmp_path / "file" / "words")
    cache.put("sky", "none", torch.ones(2))
    assert torch.equal(cache.get("sky", "none"), torch.ones(2))


def test_threads_can_share_a_cache(monkeypatch):
    monkeypatch.setattr(module, "WORDS_IN_MEMORY", 4)
    cache = WordCache("tower")

    def visit(number: int) -> None:
        for step in range(2000):
            cache.put(f"word {(step + number) % 9}", "none", torch.ones(2))
            cache.get(f"word {step % 9}", "none")

    with ThreadPoolExecutor(5) as threads:
        list(threads.map(visit, range(5)))


def test_a_copy_of_a_cache_reads_the_same_disk(tmp_path):
    cache = WordCache("tower", tmp_path)
    cache.put("sky", "none", torch.ones(2))
    assert torch.equal(pickle.loads(pickle.dumps(cache)).get("sky", "none"), torch.ones(2))


@pytest.mark.parametrize(("chosen", "folder"), [("off", None), ("/elsewhere", "/elsewhere/embeddings")])
def test_the_folder_can_be_chosen_or_switched_off(monkeypatch, chosen, folder):
    monkeypatch.setenv("PROXYCLIP_CACHE", chosen)
    found = module.default_folder()
    assert (found.as_posix() if found else None) == folder


def test_what_a_reader_asks_for_is_told_to_nobody_else_and_kept_in_memory_alone(tmp_path):
    cache, embedding = WordCache("tower", tmp_path), torch.ones(3)
    with private_to("ann", shared={"sky"}):
        cache.put("secret", "none", embedding)
        cache.put("sky", "none", embedding)
        assert cache.get("secret", "none") is not None
    for reader in ("", "bob"):
        with private_to(reader, shared={"sky"}):
            assert cache.get("secret", "none") is None and cache.get("sky", "none") is not None
    assert WordCache("tower", tmp_path).get("secret", "none") is None
    assert cache.get("secret", "none") is None  # as after it


@pytest.mark.parametrize("error", [OSError(28, "No space left"), sqlite3.OperationalError("database or disk is full")])
def test_a_full_disk_is_no_error_and_the_word_stays_in_memory(tmp_path, monkeypatch, error):
    def full(*given, **named):
        raise error

    monkeypatch.setattr(module.diskcache.Cache, "set", full)
    cache = WordCache("tower", tmp_path)
    cache.put("sky", "none", torch.ones(3))
    assert cache.get("sky", "none") is not None
