"""The linear patch-wise codec of a recipe's pictures and shapes, which is all start and no training."""

import dataclasses

from lvm_mtc.training.recipe import Recipe


def linear(recipe: Recipe) -> Recipe:
    """The same recipe of the token system with no network but its linear path."""
    plain = {"variant": "linear", "linear_path": True, "receiver": "wiener", "power_allocation": False}
    return dataclasses.replace(recipe, config=recipe.config | plain)
