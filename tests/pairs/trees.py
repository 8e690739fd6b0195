"""Nested dicts as flat ones."""

from typing import Any


def arrays(tree: Any, at: str = "") -> dict[str, Any]:
    """Every leaf by its path."""
    if not isinstance(tree, dict):
        return {} if tree is None else {at: tree}
    return {name: leaf for key, child in tree.items() for name, leaf in arrays(child, f"{at}/{key}").items()}


def unwrapped(tree: Any) -> dict[str, Any]:
    """Without the last key `value`."""
    return {name.removesuffix("/value"): leaf for name, leaf in arrays(tree).items()}
