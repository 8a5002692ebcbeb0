"""Recipes: complete, typed, overridable; what is wrong says so."""

from pathlib import Path

import pytest

from tests.support.paths import ROOT
from trainer.errors import RecipeError
from trainer.training import recipe


@pytest.mark.parametrize("name", recipe.names())
def test_each_recipe_names_itself_and_hides_no_value(name: str) -> None:
    found = recipe.load(name)
    assert found.name == name
    text = (ROOT / "trainer" / "training" / "recipes" / f"{name}.toml").read_text()
    for field in [*recipe.Recipe.model_fields, *recipe.Arguments.model_fields]:
        assert f"{field} =" in text or f"[{field}]" in text, field


def test_the_seed_recipe_is_that_of_the_original_model() -> None:
    seed = recipe.load("seed")
    assert (seed.loss, seed.templates, seed.negatives) == ("cosine", ("{doi}",), ())
    a = seed.arguments
    assert (a.num_train_epochs, a.per_device_train_batch_size, a.learning_rate) == (5, 32, 5e-5)
    assert (a.lr_scheduler_type, a.warmup_steps, a.weight_decay) == ("linear", 0, 0)
    assert (a.adam_beta1, a.adam_beta2, a.adam_epsilon, a.max_grad_norm) == (0.9, 0.999, 1e-8, 1)
    assert (a.seed, a.fp16, a.bf16) == (42, False, False)
    assert (a.batch_sampler, a.multi_dataset_batch_sampler) == ("batch_sampler", "round_robin")


def test_a_model_of_titles_reads_bare_dois_that_it_does_not_train_on() -> None:
    title, seed = recipe.load("title"), recipe.load("seed")
    assert (title.templates, title.serving) == (("{title}",), ("{title}", "{doi}"))
    assert (seed.templates, seed.serving) == (("{doi}",), ("{doi}",))
    bare = recipe.load("title", overrides=["fallbacks=[]"])
    assert bare.serving == ("{title}",)


def test_a_recipe_of_ones_own_may_leave_the_fallbacks_out(tmp_path: Path) -> None:
    text = (ROOT / "trainer" / "training" / "recipes" / "title.toml").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("fallbacks")]
    (tmp_path / "own.toml").write_text("\n".join(lines))
    assert recipe.load(str(tmp_path / "own.toml")).serving == ("{title}",)


def test_values_are_set_under_the_trainers_names() -> None:
    found = recipe.load(
        "seed",
        overrides=["max_steps=20", "learning_rate=1e-4", "loss=cosent", 'templates=["{title}"]'],
    )
    assert (found.arguments.max_steps, found.arguments.learning_rate) == (20, 1e-4)
    assert (found.loss, found.templates) == ("cosent", ("{title}",))
    assert found.arguments.seed == 42


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("epochs=3", "has no value 'epochs'"),
        ("max_steps", "is not key=value"),
        ("max_steps=many", "max_steps"),
        ("loss=mse", "loss"),
        ('templates=["{author}"]', "author"),
        ('fallbacks=["{author}"]', "author"),
        ("per_device_train_batch_size=0", "per_device_train_batch_size"),
        ("arguments=1", "has no value 'arguments'"),
        ('negatives=["mined"]', "reads labels, not negatives"),
        ("name=prefix", "what a baseline is called"),
        ("save_total_limit=1", "save_total_limit"),
        ("group_positives=5", "set group_positives=0"),
    ],
)
def test_a_wrong_override_says_what_is_wrong(override: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        recipe.load("seed", overrides=[override])


def test_a_recipe_of_ones_own_is_a_file(tmp_path: Path) -> None:
    text = (ROOT / "trainer" / "training" / "recipes" / "seed.toml").read_text()
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace('name = "seed"', 'name = "mine"'))
    assert recipe.load(str(mine)).name == "mine"
    mine.write_text(text.replace("seed = 42\n", ""))
    with pytest.raises(RecipeError, match=r"arguments\.seed: Field required"):
        recipe.load(str(mine))
    with pytest.raises(RecipeError, match="can't be read"):
        recipe.load(str(tmp_path / "none.toml"))
    with pytest.raises(RecipeError, match=r"known are .*seed"):
        recipe.load("nosuch")


def test_what_no_run_can_be_made_of_is_refused(tmp_path: Path) -> None:
    for override in ("learning_rate=inf", "scale=nan", f"seed={'9' * 5000}", f"name={'[' * 2000}"):
        with pytest.raises(RecipeError, match=override.partition("=")[0]):
            recipe.load("seed", overrides=[override])
    mine = tmp_path / "mine.toml"
    mine.write_text("arguments = 1\n")
    with pytest.raises(RecipeError):
        recipe.load(str(mine), overrides=["seed=1"])
    mine.write_text(f"name = {'[' * 2000}")
    with pytest.raises(RecipeError, match="can't be read"):
        recipe.load(str(mine))
