"""Colours: two modules have one colour if they hold the same, whatever the modules in them are called."""

from linen_nnx.convert.mapping.modules import Node

_Content = tuple[tuple[tuple[str, str, str], ...], tuple[int, ...]]


class Colours:
    """Numbers for what modules hold; equal content, equal number."""

    def __init__(self) -> None:
        """None yet."""
        self._numbers: dict[_Content, int] = {}
        self._known: dict[int, tuple[Node, int]] = {}

    def of(self, node: Node) -> int:
        """The colour of a module: its variables by name, kind, shape and dtype, and its modules' colours."""
        known = self._known.get(id(node))
        if known is not None:
            return known[1]
        content = (
            tuple(sorted(leaf.signature for leaf in node.leaves)),
            tuple(sorted(self.of(child) for child in node.children)),
        )
        number = self._numbers.setdefault(content, len(self._numbers))
        # The node is kept, so that its id stays its own.
        self._known[id(node)] = (node, number)
        return number
