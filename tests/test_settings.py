"""Settings: files, overrides, and mistakes that are told with the key, the value and what to do."""

from pathlib import Path

import pytest

from goldpanner.errors import InputError
from goldpanner.runs import settings
from goldpanner.runs.config import RunConfig


def test_one_seed_reaches_every_part_unless_given():
    config = settings.load_settings(RunConfig, None, ["grpo.seed=9"], seed=3)
    parts = (config.seed, config.domain.seed, config.pretrain.seed, config.sft.seed, config.measure.seed)
    assert parts == (3, 3, 3, 3, 3)
    assert config.grpo.seed == 9


def test_defaults_are_the_prototype_story():
    config = settings.load_settings(RunConfig)
    assert (config.pretrain.steps, config.pretrain.batch, config.sft.steps, config.demonstrations) == (500, 160, 30, 64)
    assert (config.grpo.steps, config.grpo.prompts_per_step, config.grpo.group_size) == (60, 48, 16)
    assert set(config.grpo.tasks) == {"world/d1", "world/d2"}
    assert config.sft.optimizer == "adam"
    assert len(config.probes()) == 7


def test_another_domain_brings_its_own_curriculum():
    config = settings.load_settings(RunConfig, None, ["domain.kind=column-addition"])
    assert all(task.startswith("column-addition/") for task in (*config.grpo.tasks, *config.tasks.measured))
    assert config.probes() == ()


def test_file_then_keywords_then_overrides(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("seed: 1\ngrpo:\n  steps: 5\n  group_size: 8\n")
    config = settings.load_settings(RunConfig, file, ["grpo.steps=7"], seed=2)
    assert (config.seed, config.grpo.steps, config.grpo.group_size) == (2, 7, 8)


def test_a_dumped_config_loads_to_itself(tmp_path):
    import yaml

    config = settings.load_settings(RunConfig, None, ["domain.gap=false", "grpo.variant=rloo"], seed=4)
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json"), allow_unicode=True))
    assert settings.load_settings(RunConfig, file) == config
    other = settings.load_settings(RunConfig, file, ["grpo.steps=61"])
    assert settings.differences(config, other) == ["grpo.steps: 60 -> 61"]


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("grpo.stepz=3", "did you mean grpo.steps"),
        ("grpo.steps=0", "grpo.steps = 0"),
        ("grpo.steps=many", "grpo.steps = 'many'"),
        ("grpo.steps", "not KEY=VALUE"),
        ("seed.x=1", "did you mean|cannot be used|no fields"),
        ("tasks.measured=[world/d99]", "world/d99"),
        ("measure.sampled=999", "more than measure.problems"),
        ("domain.kind=chess", "chess"),
        ("grpo.steps=[", "not YAML"),
        ("domain.textbook_share=1.5", "textbook_share"),
    ],
)
def test_mistakes_name_the_key(override, says):
    with pytest.raises(InputError, match=says):
        settings.load_settings(RunConfig, None, [override])


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "\x00"])
def test_files_that_are_no_settings(tmp_path, text):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=r"c\.yaml"):
        settings.load_settings(RunConfig, file)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        settings.load_settings(RunConfig, tmp_path / "nowhere.yaml")


def test_the_settings_page_is_the_one_that_the_fields_make():
    """Write it anew with: python -c "from goldpanner.runs import settings, config; \\
    print(settings.reference_page(config.RunConfig), end='')" > docs/settings.md"""
    page = Path(__file__).parent.parent / "docs" / "settings.md"
    assert page.read_text(encoding="utf-8") == settings.reference_page(RunConfig)
    described = [row for row in settings.reference(RunConfig) if not row[0].endswith("kind")]
    assert len(described) > 60
    assert all(text for _, _, text in described)


@pytest.mark.parametrize("override", ["grpo.group_size=1", "grpo.reward=style", "grpo.variant=ppo9"])
def test_what_cannot_be_trained_is_refused_before_anything_is(override):
    with pytest.raises(InputError):
        settings.load_settings(RunConfig, None, [override])
