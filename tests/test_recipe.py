"""Recipes: names, files, refusals."""

from pathlib import Path

import pytest

from seglib.recipe import RECIPES, Recipe


def test_name_depends_on_every_changed_field_and_on_nothing_else() -> None:
    base = Recipe()
    assert base.changes() == {}
    assert base.replace(seed=0).name == base.name
    changed = [
        base.replace(seed=1),
        base.replace(lr=0.01),
        base.replace(atrous_rates=(6, 12, 18)),
        base.replace(flip=0.0),
    ]
    assert len({r.name for r in [base, *changed]}) == 5
    assert Recipe.from_dict(changed[2].changes()) == changed[2]


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda p: p.stem)
def test_packaged_recipes_load_and_round_trip(path: Path) -> None:
    recipe = Recipe.load(path.stem)
    assert Recipe.from_dict(recipe.changes()) == recipe


def test_refusals_name_file_and_field(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("output_strid = 8\n")
    with pytest.raises(ValueError, match=r"mine\.toml.*unknown fields \['output_strid'\]"):
        Recipe.load(path)
    path.write_text('crop_size = "big"\n')
    with pytest.raises(ValueError, match=r"mine\.toml.*crop_size = 'big'; expected int"):
        Recipe.load(path)
    path.write_text("crop_size = \n")
    with pytest.raises(ValueError, match=r"mine\.toml"):
        Recipe.load(path)
    with pytest.raises(FileNotFoundError, match="no such recipe; the package has"):
        Recipe.load("absent")


def test_integers_are_taken_for_floats_but_not_for_flags() -> None:
    assert Recipe.from_dict({"lr": 1}).lr == 1.0
    with pytest.raises(ValueError, match="partial = 1; expected bool"):
        Recipe.from_dict({"partial": 1})
