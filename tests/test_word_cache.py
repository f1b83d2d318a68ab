"""Words that were embedded before are not embedded again."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from proxyclip_core import ClipEncoder, ProxyCLIP
from proxyclip_core.models import word_cache as module
from proxyclip_core.models.word_cache import WordCache, fingerprint


@pytest.fixture
def cached_model(tiny_model, tmp_path) -> ProxyCLIP:
    return with_cache(tiny_model, tmp_path / "words")


def with_cache(model, folder) -> ProxyCLIP:
    clip = model.clip
    cache = WordCache(fingerprint(clip.network, clip.name), folder)
    return ProxyCLIP(ClipEncoder(clip.network, clip.name, clip.mean, clip.std, cache), None, "values", "simple7")


def test_only_new_words_reach_the_text_tower(cached_model, tiny_model, monkeypatch):
    asked = []
    encode = cached_model.clip.encode_text
    monkeypatch.setattr(cached_model.clip, "encode_text", lambda prompts: asked.extend(prompts) or encode(prompts))
    cached_model.embed("sky; cloud, hill", templates="none")
    again = cached_model.embed("hill, sky, horse", templates="none")
    assert asked == ["sky", "cloud", "hill", "horse"]
    asked.clear()
    assert torch.allclose(
        again.embeddings, tiny_model.embed("hill, sky, horse", templates="none").embeddings, atol=1e-6
    )
    cached_model.embed("hill", templates="simple7")
    assert len(asked) == 7


def test_another_process_finds_them_on_disk(cached_model, tiny_model, tmp_path, monkeypatch):
    first = cached_model.embed("sky, hill")
    model = with_cache(tiny_model, tmp_path / "words")
    monkeypatch.setattr(model.clip, "encode_text", lambda prompts: pytest.fail("the text tower was run"))
    assert torch.equal(model.embed("sky, hill").embeddings, first.embeddings)


def test_other_weights_have_other_keys(tiny_clip):
    before = fingerprint(tiny_clip.network, tiny_clip.name)
    tiny_clip.network.ln_final.weight[0] += 1
    try:
        assert fingerprint(tiny_clip.network, tiny_clip.name) != before
    finally:
        tiny_clip.network.ln_final.weight[0] -= 1


def test_damaged_files_are_embedded_again(cached_model, tmp_path):
    first = cached_model.embed("sky")
    for file in (tmp_path / "words").iterdir():
        file.write_bytes(b"damaged")
    cached_model.clip.word_cache._memory.clear()
    assert torch.equal(cached_model.embed("sky").embeddings, first.embeddings)


def test_disk_and_memory_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WORDS_ON_DISK", 3)
    monkeypatch.setattr(module, "WORDS_IN_MEMORY", 2)
    cache = WordCache("tower", tmp_path)
    for number in range(6):
        cache.put(f"word {number}", "none", torch.full((2,), float(number)))
    assert len(list(tmp_path.iterdir())) == 3
    found = [number for number in (5, 4, 3, 2, 1, 0) if cache.get(f"word {number}", "none") is not None]
    assert found == [5, 4, 2, 1, 0]  # the last two in memory, the first three on disk


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = WordCache("tower", tmp_path / "file" / "words")
    cache.put("sky", "none", torch.ones(2))
    assert np.array_equal(cache.get("sky", "none"), np.ones(2))


@pytest.mark.parametrize("content", [b"PK\x03\x04 no zip", b"\x93NUMPY\x01\x00v\x00{'descr': <", b""])
def test_files_that_are_no_arrays_are_passed_over(tmp_path, content):
    cache = WordCache("tower", tmp_path)
    cache.put("sky", "none", torch.ones(3))
    (path,) = tmp_path.glob("*.npy")
    path.write_bytes(content)
    assert WordCache("tower", tmp_path).get("sky", "none") is None
    np.save(path, np.ones((3, 2), np.float32))
    assert WordCache("tower", tmp_path).get("sky", "none") is None


def test_visitors_can_share_a_cache(monkeypatch):
    monkeypatch.setattr(module, "WORDS_IN_MEMORY", 4)
    cache = WordCache("tower")

    def visit(number: int) -> None:
        for step in range(2000):
            cache.put(f"word {(step + number) % 9}", "none", torch.ones(2))
            cache.get(f"word {step % 9}", "none")

    with ThreadPoolExecutor(5) as threads:
        list(threads.map(visit, range(5)))


def test_a_user_without_a_home_has_no_folder(monkeypatch):
    for name in ("PROXYCLIP_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def homeless() -> None:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(module.Path, "home", homeless)
    assert module.default_folder() is None
