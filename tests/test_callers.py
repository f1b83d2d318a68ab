"""What is kept for programs from one call to the next."""

from __future__ import annotations

import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image

from tests.serving import page_around

READ = {"clip", "vfm"}  # the stages that read a picture


@pytest.fixture(scope="module")
def url(tiny_model):
    with page_around(tiny_model) as address:
        yield address


def segmented(client: Client, picture: str, words: str = "cat, dog", **more) -> tuple[np.ndarray, set[str]]:
    """The label map, and the stages that ran for it."""
    _, labels, summary, _ = client.predict(handle_file(picture), words, **more, api_name="/segment")
    return np.asarray(Image.open(labels["path"] if isinstance(labels, dict) else labels)), set(summary["seconds"])


def test_a_client_that_asks_of_a_picture_again_has_it_read_once(url, blocks_file):
    client = Client(url, verbose=False)
    assert segmented(client, blocks_file)[1] >= READ
    for more in ({"beta": 1.5}, {"words": "cat, dog, tree"}):
        labels, ran = segmented(client, blocks_file, **more)
        again, ran_anew = segmented(Client(url, verbose=False), blocks_file, **more)
        assert not ran & READ and ran_anew >= READ
        np.testing.assert_array_equal(labels, again)


def test_what_one_endpoint_has_read_serves_the_others(url, blocks_file):
    client = Client(url, verbose=False)
    client.predict(handle_file(blocks_file), 30, 40, api_name="/attention")
    client.predict(handle_file(blocks_file), "cat, dog", api_name="/words")
    assert not segmented(client, blocks_file)[1] & READ


def test_another_picture_is_read(url, blocks_file, tmp_path):
    client, turned = Client(url, verbose=False), tmp_path / "turned.png"
    Image.open(blocks_file).rotate(180).save(turned)
    segmented(client, blocks_file)
    labels, ran = segmented(client, str(turned))
    assert ran >= READ
    np.testing.assert_array_equal(labels, segmented(Client(url, verbose=False), str(turned))[0])
