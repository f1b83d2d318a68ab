"""The same run on a Ray cluster of this machine alone: the same files, also where a process is killed."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from proxyclip_core import cli, load
from proxyclip_core.folders import Output, Segmenter, find_pictures, map_pictures, ray_data
from proxyclip_core.folders.ray_data import map_on_ray

ROOT = Path(__file__).parents[1]
ARGUMENTS = ("--words", "red, green", "--side", "as-is", "--templates", "none", "--clip", "Built-in", "--json")


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two cores, an actor on each."""
    ray = pytest.importorskip("ray", reason="needs Ray: pip install 'proxyclip[ray]'")
    pytest.importorskip("ray.data", reason="needs Ray Data: pip install 'proxyclip[ray]'")
    variables = {"PYTHONPATH": str(ROOT), "PROXYCLIP_CACHE": "off", "HF_HUB_OFFLINE": "1"}
    ray.init("local", num_cpus=2, include_dashboard=False, runtime_env={"env_vars": variables}, logging_level="error")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_data, "MOST_ON_CPU", 1)
        yield ray
    ray.shutdown()


@pytest.fixture
def album(four_areas, tmp_path) -> Path:
    """40 pictures in two folders, one of them no picture."""
    for number in range(40):
        path = tmp_path / "album" / f"part {number % 2}" / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(four_areas, number, axis=1)).save(path)
    (tmp_path / "album" / "part 1" / "07.png").write_bytes(b"no picture")
    return tmp_path / "album"


@dataclass(frozen=True)
class Job:
    """Segments with the built-in pair; the first process to come to its third batch dies by a signal that none can
    catch, where `flag` names a file that is not there yet."""

    output: Output
    flag: Path | None = None

    def __call__(self) -> Segmenter[dict[str, Any]]:
        model = load("Built-in", "Built-in/8")
        settings, batches, flag = model.settings_of("red, green", side=None, templates="none"), count(1), self.flag

        class Mortal(Segmenter[dict[str, Any]]):
            def __call__(self, pictures):
                if flag and next(batches) > 2 and not flag.exists():
                    flag.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().__call__(pictures)

        known = partial(self.output.record_if_done, settings=settings, computed_with=model.computed_with())
        return Mortal(model, settings, self.output.write, known=known)


def test_ray_writes_the_same_files_though_an_actor_is_killed(cluster, album, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_data, "PICTURES_A_BATCH", 4)
    alone, by_ray, pictures = tmp_path / "alone", tmp_path / "by ray", find_pictures(album)
    formats = ("labels", "npz", "masks")
    expected = list(map_pictures(Job(Output(alone, formats))(), pictures))
    job = Job(Output(by_ray, formats), tmp_path / "killed")
    outcomes = list(map_on_ray(job, pictures, "local"))
    assert (tmp_path / "killed").exists() and files_of(by_ray) == files_of(alone)
    assert {outcome.picture for outcome in outcomes} == set(pictures) and len(outcomes) == 40
    errors = {str(outcome.error) for outcome in outcomes if outcome.error}
    assert errors == {str(outcome.error) for outcome in expected if outcome.error} and len(errors) == 1


def test_a_remote_folder_is_read_by_ray(cluster, album, tmp_path):
    out = tmp_path / "out"
    address = f"local://{album}"
    assert cli.main(["segment", address, *ARGUMENTS, "--out", str(out), "--ray", "local"]) == 1
    assert len(list(out.rglob("*.png"))) == 39 and (out / "part 0" / "00.png.proxyclip.png").is_file()


def test_without_ray_the_extra_is_named(monkeypatch, tmp_path, four_areas, capsys):
    Image.fromarray(four_areas).save(tmp_path / "a.png")
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    assert cli.main(["segment", str(tmp_path / "a.png"), "red", "--out", str(tmp_path), "--ray", "local"]) == 1
    assert "pip install 'proxyclip[ray]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "resources, expected",
    [
        ({"CPU": 2.0}, {"num_cpus": 2, "actors": 1}),
        ({"CPU": 64.0}, {"num_cpus": 16, "actors": 4}),
        ({"CPU": 64.0, "GPU": 8.0}, {"num_gpus": 1, "actors": 8}),
    ],
)
def test_an_actor_has_a_gpu_or_its_share_of_the_cores(resources, expected, monkeypatch):
    monkeypatch.setattr(ray_data, "MOST_ON_CPU", 16)
    assert ray_data._share(resources) == expected


def test_names_are_those_below_the_folder():
    assert ray_data._name("bucket/photos/sea/a.jpg", "s3://bucket/photos/") == "sea/a.jpg"
