"""What the modules of flax are: ranks of their variables, names inside them, and which is which in Linen.

Source of the facts: flax 0.8 to 0.12, both APIs.
"""

from linen_nnx.convert.mapping.modules import Keys, Leaf, Node

_VECTOR = {"scale": 1, "bias": 1, "mean": 1, "var": 1}
_RANKS: dict[str, dict[str, int]] = {
    "Linear": {"kernel": 2, "bias": 1},
    "LoRALinear": {"kernel": 2, "bias": 1},
    "LoRA": {"lora_a": 2, "lora_b": 2},
    "Embed": {"embedding": 2},
    "Conv": {"bias": 1},
    "ConvTranspose": {"bias": 1},
    "PReLU": {"negative_slope": 0},
    **dict.fromkeys(("BatchNorm", "LayerNorm", "RMSNorm", "GroupNorm", "InstanceNorm"), _VECTOR),
}
"""Axes of each variable of an NNX module that is not stacked."""
_OF_ANY_RANK = frozenset({("Conv", "kernel"), ("ConvTranspose", "kernel")})
"""Variables whose rank is the user's choice, and that are seldom stacked by themselves."""
_ATTENTION = "MultiHeadAttention"
_PROJECTIONS = {"query": 2, "key": 2, "value": 2, "out": 1}
"""The projections of an attention module, and the axes of their biases; their kernels have three."""

LINEN_CLASSES = {
    "Dense": "Linear",
    "DenseGeneral": "LinearGeneral",
    "MultiHeadDotProductAttention": _ATTENTION,
    "MultiHeadAttention": _ATTENTION,
    "SelfAttention": _ATTENTION,
    **{
        name: name
        for name in (
            "Conv",
            "ConvTranspose",
            "Einsum",
            "Embed",
            "BatchNorm",
            "LayerNorm",
            "RMSNorm",
            "GroupNorm",
        )
    },
    "InstanceNorm": "InstanceNorm",
    "PReLU": "PReLU",
    "LSTMCell": "LSTMCell",
    "OptimizedLSTMCell": "OptimizedLSTMCell",
    "GRUCell": "GRUCell",
    "SimpleCell": "SimpleCell",
}
"""The NNX class of each Linen one; a Linen module without a name is called after its class."""

_GATES = {
    name: name for name in ("ii", "ig", "io", "hi", "hf", "hg", "ho", "ir", "iz", "in", "hr", "hz", "hn")
}
INSIDE: dict[str, dict[str, str]] = {
    _ATTENTION: {name: name for name in ("query", "key", "value", "out", "query_ln", "key_ln")},
    "LSTMCell": {**_GATES, "if": "if_"},
    "SimpleCell": {"i": "dense_i", "h": "dense_h"},
    "Bidirectional": {"forward_rnn": "forward_rnn", "backward_rnn": "backward_rnn"},
}
"""How the modules inside a library's module are called, in Linen and in NNX: not the user's choice."""

LSTM_GATES: Keys = ("i", "f", "g", "o")
GRU_GATES: Keys = ("r", "z", "n")
FUSED_CELLS = {"OptimizedLSTMCell": LSTM_GATES, "GRUCell": GRU_GATES}
"""Cells whose gates NNX joins on the last axis, in this order."""


def stacked_axes(leaf: Leaf, owner: Node, above: Node | None) -> int | None:
    """How many axes more than its own a variable of an NNX module has; None if its own are not known."""
    rank = len(leaf.spec.shape)
    if above is not None and above.name == _ATTENTION and owner.label[-1] in _PROJECTIONS:
        own = {"kernel": 3, "bias": _PROJECTIONS[owner.label[-1]]}.get(leaf.name)
    else:
        own = _RANKS.get(owner.name or "", {}).get(leaf.name)
    return None if own is None else rank - own


def is_of_any_rank(leaf: Leaf, owner: Node) -> bool:
    """Whether the user chose its rank by the module's own settings."""
    return (owner.name, leaf.name) in _OF_ANY_RANK
