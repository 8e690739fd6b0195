"""Every decoder family as tables: which layers it has, and where each stands in every form of a checkpoint.

Written by hand from what MaxText's decoders do, as small as a family's pattern allows. `entries`
makes a whole train state of a family in any layout and layer form, with contents that the place inside the
model decides: what a conversion of one form gives must be the other form, entry by entry and bit by bit.
"""

import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from linen_nnx.schema.choices import Decoder
from tests.support.entries import Array, Key, Keys

Shapes = dict[str, tuple[int, ...]]
"""Shapes of one layer's variables, by their path inside it."""
Home = tuple[str, tuple[int, ...]]
"""Where a layer stands below `decoder`, and its index on the stacked axes (none: it stands alone)."""

EMBED, MLP, HEADS, EXPERTS = 26, 28, 4, 3


@dataclass(frozen=True)
class Family:
    """A row: its layers first to last, each by its kind, and their homes in every form."""

    name: str
    kinds: dict[str, Shapes]
    layers: tuple[str, ...]
    stacked: tuple[Home, ...]
    underscore: tuple[Home, ...]
    nested: tuple[Home, ...]
    stacked_linen: tuple[Home, ...] = ()
    """Where Linen stacks otherwise."""
    aux: dict[str, Shapes] = field(default_factory=dict)
    """Variables that are not trained, by kind of layer; Linen holds them in the collection `Tid2EidVar`."""
    beside: Shapes = field(default_factory=dict)
    """Parameters that stand in no layer of the decoder."""
    cycle: int | None = None
    """What a user must say to stack the layers anew."""
    decoder: Decoder | None = None
    """What a user must say to have its newest blocks."""
    older: dict[str, tuple[Home, ...]] = field(default_factory=dict)
    """Forms of earlier eras, by name."""

    def homes(self, layout: str, form: str) -> tuple[Home, ...]:
        """The table of one form."""
        match form:
            case "stacked":
                return self.stacked_linen if layout == "linen" and self.stacked_linen else self.stacked
            case "underscore":
                return self.underscore
            case "nested":
                return self.nested
            case _:
                return self.older[form]


def _attention(**more: tuple[int, ...]) -> Shapes:
    return {
        "self_attention/query/kernel": (EMBED, HEADS, 7),
        "self_attention/value/kernel": (EMBED, HEADS, 7),
        "pre_self_attention_layer_norm/scale": (EMBED,),
        **more,
    }


def _dense(**more: tuple[int, ...]) -> Shapes:
    return _attention(**{"mlp/wi_0/kernel": (EMBED, MLP), "mlp/wo/kernel": (MLP, EMBED)}, **more)


def _moe(block: str, **more: tuple[int, ...]) -> Shapes:
    return _attention(
        **{f"{block}/gate/kernel": (EMBED, EXPERTS), f"{block}/wo": (EXPERTS, MLP, EMBED)}, **more
    )


def _alone(count: int, name: str = "layers_{}") -> tuple[Home, ...]:
    return tuple((name.format(n), ()) for n in range(count))


def _blocks(count: int, cycle: int, name: str) -> tuple[Home, ...]:
    return tuple((name.format(n % cycle), (n // cycle,)) for n in range(count))


def _plain(name: str, kind: Shapes, count: int = 5, **more: Any) -> Family:
    return Family(
        name,
        {"layer": kind},
        ("layer",) * count,
        stacked=tuple(("layers", (n,)) for n in range(count)),
        underscore=_alone(count),
        nested=_alone(count, "layers/{}"),
        **more,
    )


def _in_blocks(
    name: str, kinds: dict[str, Shapes], block: tuple[str, ...], times: int, **more: Any
) -> Family:
    count, cycle = len(block) * times, len(block)
    return Family(
        name,
        kinds,
        block * times,
        stacked=_blocks(count, cycle, more.pop("slot", "layers/layers_{}")),
        underscore=_alone(count),
        nested=_alone(count, "layers/{}"),
        **more,
    )


TOWERS: Shapes = {
    "vision_encoder/Gemma3VisionEncoderLayer_0/Transformer/encoderblock_0/mlp/kernel": (9, 11),
    "vision_encoder/Gemma3VisionEncoderLayer_0/Transformer/encoderblock_1/mlp/kernel": (9, 11),
    "vision_encoder/Llama4VisionModel_0/Llama4VisionEncoder_0/layers_0/mlp/kernel": (9, 11),
    "vision_encoder/Llama4VisionModel_0/Llama4VisionEncoder_0/layers_1/mlp/kernel": (9, 11),
    "vision_encoder/Qwen3OmniMoeVisionEncoder_0/blocks_0/attn/kernel": (9, 11),
    "vision_encoder/Qwen3OmniMoeVisionEncoder_0/blocks_1/attn/kernel": (9, 11),
    "vision_encoder/Qwen3OmniMoeVisionEncoder_0/merger_0/kernel": (9, 11),
    "audio_encoder/layers_0/self_attention_audio/kernel": (9, 11),
    "audio_encoder/layers_1/self_attention_audio/kernel": (9, 11),
}
MTP: Shapes = {
    "mtp_block/mtp_layer_1/mtp_1_embedding_norm/scale": (EMBED,),
    "mtp_block/mtp_layer_1/mtp_1_projection/kernel": (2 * EMBED, EMBED),
    **{f"mtp_block/mtp_layer_1/mtp_1_transformer_layer/{path}": shape for path, shape in _dense().items()},
}


def _deepseek(name: str, dense: int, moe: int, **more: Any) -> Family:
    count = dense + moe
    return Family(
        name,
        {"dense": _dense(), "moe": _moe("DeepSeekMoeBlock_0/MoeBlock_0", **{"gate_bias": (EXPERTS,)})},
        ("dense",) * dense + ("moe",) * moe,
        stacked=(
            *(("dense_layers", (n,)) for n in range(dense)),
            *(("moe_layers", (n,)) for n in range(moe)),
        ),
        underscore=(*_alone(dense, "dense_layers_{}"), *_alone(moe, "moe_layers_{}")),
        nested=(*_alone(dense, "dense_layer_{}"), *((f"layers/{n}", ()) for n in range(dense, count))),
        **more,
    )


_ENGRAM: Shapes = {"engram/embedding": (17, EMBED), "engram_layer_norm/scale": (EMBED,)}
_ENGRAMS = Family(
    "deepseek-engram",
    {
        "dense": _dense(),
        "dense-engram": {**_dense(), **_ENGRAM},
        "moe": _moe("DeepSeekMoeBlock_0/MoeBlock_0"),
        "moe-engram": {**_moe("DeepSeekMoeBlock_0/MoeBlock_0"), **_ENGRAM},
    },
    ("dense", "dense-engram", "dense", "moe", "moe", "moe-engram", "moe"),
    stacked=(
        ("dense_layers_0_0", (0,)),
        ("dense_layers_engram_1", ()),
        ("dense_layers_2_2", (0,)),
        ("moe_layers_3_4", (0,)),
        ("moe_layers_3_4", (1,)),
        ("moe_layers_engram_5", ()),
        ("moe_layers_6_6", (0,)),
    ),
    underscore=(*_alone(3, "dense_layers_{}"), *_alone(4, "moe_layers_{}")),
    nested=(*_alone(3, "dense_layer_{}"), *((f"layers/{n}", ()) for n in range(3, 7))),
)


def _deepseek4() -> Family:
    """Layers of hash routing first, then pairs of layers whose attention is compressed by two ratios."""
    prefix, pairs = 3, 2
    count = prefix + 2 * pairs
    moe = _moe("mlp/MoeBlock_0")
    return Family(
        "deepseek4",
        {
            "hash": moe,
            "one": {**moe, "self_attention/compressor/kernel": (EMBED, 9)},
            "two": {
                **moe,
                "self_attention/compressor/kernel": (EMBED, 11),
                "self_attention/indexer": (EMBED, 6),
            },
        },
        ("hash",) * prefix + ("one", "two") * pairs,
        stacked=(
            *_alone(prefix),
            *((f"scanned_blocks/layers_{n % 2}", (n // 2,)) for n in range(2 * pairs)),
        ),
        underscore=_alone(count),
        nested=_alone(count, "layers/{}"),
        aux={"hash": {"mlp/MoeBlock_0/tid2eid": (33, 2)}},
        beside={"decoder/hc_head/kernel": (EMBED, 5)},
    )


def _gemma3(times: int, left: int) -> Family:
    kind = {
        **_attention(**{"self_attention/query_norm/scale": (7,), "self_attention/key_norm/scale": (7,)}),
        "pre_ffw_norm/scale": (EMBED,),
        "post_ffw_norm/scale": (EMBED,),
    }
    count = 6 * times + left
    remainder = tuple((f"layers_remainder/layers_{n}", ()) for n in range(left))
    return Family(
        "gemma3",
        {"layer": kind},
        ("layer",) * count,
        stacked=(*_blocks(6 * times, 6, "layers/layers_{}"), *remainder),
        underscore=_alone(count),
        nested=_alone(count, "layers/{}"),
        beside={path: shape for path, shape in TOWERS.items() if "Gemma3" in path},
    )


def _gemma4(name: str, times: int, left: int) -> Family:
    local = {**_dense(), "layer_scalar": (1,)}
    whole = {**local, "self_attention/query/kernel": (EMBED, HEADS, 14)}
    count = 6 * times + left
    blocks: list[Home] = []
    for n in range(6 * times):
        block, position = divmod(n, 6)
        is_global = position == 5
        blocks.append(
            ("scanned_blocks/global_layer", (block,))
            if is_global
            else ("scanned_blocks/local_layers", (block, position))
        )
    return Family(
        name,
        {"local": local, "global": whole},
        tuple("global" if n % 6 == 5 else "local" for n in range(count)),
        stacked=(*blocks, *(("layers_remainder/local_layers", (n,)) for n in range(left))),
        stacked_linen=(*blocks, *((f"Gemma4DecoderLayerToLinen_{n}", ()) for n in range(left))),
        underscore=_alone(count),
        nested=_alone(count, "layers/{}"),
        older={
            "linen-until-july": (
                *_blocks(6 * times, 6, "scanned_blocks/layers_{}"),
                *_alone(left, "Gemma4DecoderLayerToLinen_{}"),
            ),
            "nnx-until-july": (
                *_blocks(6 * times, 6, "layers/layers_{}"),
                *_alone(left, "layers_remainder/layers_{}"),
            ),
        },
    )


_LINEAR = {"attention/A_log": (9,), "attention/conv1d/kernel": (4, EMBED), "input_layernorm/scale": (EMBED,)}
_FULL = {"attention/attention/query/kernel": (EMBED, HEADS, 7), "input_layernorm/scale": (EMBED,)}
_QWEN = {"linear": _LINEAR, "full": _FULL}


def _qwen3_next(name: str, times: int, left: int) -> Family:
    """Blocks of three layers of linear attention and one of full; Linen has whole blocks alone."""
    count = 4 * times + left
    blocks: list[Home] = []
    for n in range(4 * times):
        block, position = divmod(n, 4)
        blocks.append(
            ("layers/global_layer", (block,)) if position == 3 else ("layers/local_layers", (block, position))
        )
    return Family(
        name,
        _QWEN,
        tuple("full" if n % 4 == 3 else "linear" for n in range(count)),
        stacked=(*blocks, *(("layers_remainder/local_layers", (n,)) for n in range(left))),
        stacked_linen=() if left else _blocks(count, 4, "layers/layer_{}"),
        underscore=_alone(count),
        nested=_alone(count, "layers/{}"),
        decoder=Decoder.QWEN3_NEXT,
    )


_GPT3 = {"self_attention/qkv_proj/kernel": (EMBED, 3, 4, 7), "mlp/wo/kernel": (MLP, EMBED)}
_GEMMA2 = {f"{path}_{half}": shape for path, shape in _dense().items() for half in ("local", "global")}
_GPT_OSS = _attention(**{"GptOssMlp/wo": (EXPERTS, MLP, EMBED)})
_LLAMA4 = {"dense": _dense(), "moe": _moe("Llama4MoEBlock_0/MoeBlock_0")}
_OLMO3 = {
    "attention/query/kernel": (EMBED, HEADS, 7),
    "mlp/wo/kernel": (MLP, EMBED),
    "post_self_attention_layer_norm/scale": (EMBED,),
    "post_mlp_layer_norm/scale": (EMBED,),
}
_HALVES = ("dense", "moe", "dense", "moe")


def _towers(*names: str) -> Shapes:
    return {path: shape for path, shape in TOWERS.items() if any(name in path for name in names)}


FAMILIES = {
    family.name: family
    for family in (
        _plain("llama2", _dense(), beside=MTP),
        _plain("gemma", {**_dense(), "pre_ffw_norm/scale": (EMBED,)}),
        _plain("gemma2", _GEMMA2, 3),
        _plain("gpt3", _GPT3),
        _plain("mixtral", _moe("MoeBlock_0")),
        _plain("qwen3_moe", _moe("moe_block", **{"self_attention/query_norm/scale": (7,)}), 13),
        _deepseek("deepseek", 2, 3, beside=MTP),
        _deepseek("deepseek-twelve", 1, 11),
        _ENGRAMS,
        _deepseek4(),
        _in_blocks("llama4", _LLAMA4, _HALVES, 2, cycle=4, beside=_towers("Llama4")),
        _in_blocks("gpt_oss", {"layer": _GPT_OSS}, ("layer",) * 2, 3, cycle=2),
        _in_blocks("olmo3", {"layer": _OLMO3}, ("layer",) * 4, 2, cycle=4),
        _qwen3_next("qwen3_next", 2, 0),
        _in_blocks(
            "qwen3_5",
            _QWEN,
            ("linear", "full"),
            3,
            slot="layers/layer_{}",
            beside=_towers("Qwen3", "audio"),
            decoder=Decoder.QWEN3_5,
        ),
        _in_blocks("in-no-table", {"a": _dense(), "b": _attention()}, ("a", "b", "b"), 2),
        _gemma3(1, 2),
        _gemma4("gemma4", 2, 0),
        _gemma4("gemma4-remainder", 2, 2),
        _gemma4("gemma4-no-block", 0, 3),
    )
}

QWEN3_NEXT_REMAINDER = _qwen3_next("qwen3_next-remainder", 2, 2)
"""Layers behind the last block: a form that Linen has not."""

EMBEDDINGS: Shapes = {"token_embedder/embedding": (33, EMBED), "decoder/decoder_norm/scale": (EMBED,)}


def contents(part: str, path: str, layer: int, shape: tuple[int, ...], dtype: str = "float32") -> Array:
    """Random bits that the place decides."""
    seed = zlib.crc32(f"{part} {path} {layer}".encode())
    bits = np.random.default_rng(seed).integers(0, 2**32, shape, dtype=np.uint32)
    return bits.view(dtype) if dtype == "float32" else bits.astype(dtype)


def keys(text: str) -> Keys:
    """The names of a path."""
    return tuple(text.split("/"))


def stack(parts: dict[tuple[int, ...], Array], axis: int) -> Array:
    """Layers by index into one array; the outer axis first."""
    if () in parts:
        return parts[()]
    heads = sorted({index[0] for index in parts})
    inner = [stack({i[1:]: a for i, a in parts.items() if i[0] == head}, axis) for head in heads]
    return np.stack(inner, axis)


def model(family: Family, layout: str, form: str, part: str, axis: int) -> dict[Keys, Array]:
    """The parameters, or one moment of them (`part`), or what is not trained (`aux`)."""
    kinds = family.aux if part == "aux" else family.kinds
    beside = {} if part == "aux" else {**EMBEDDINGS, **family.beside}
    found: dict[Keys, dict[tuple[int, ...], Array]] = {
        keys(path): {(): contents(part, path, 0, shape)} for path, shape in beside.items()
    }
    for layer, (kind, (home, index)) in enumerate(
        zip(family.layers, family.homes(layout, form), strict=True)
    ):
        for rest, shape in kinds.get(kind, {}).items():
            path = keys(f"decoder/{home}/{rest}")
            dtype = "int32" if part == "aux" else "float32"
            found.setdefault(path, {})[index] = contents(part, rest, layer, shape, dtype)
    return {path: stack(parts, 0 if part == "aux" else axis) for path, parts in found.items()}


@dataclass(frozen=True)
class Roots:
    """Where the parts of a train state stand in a layout."""

    step: Keys
    params: Keys
    aux: Keys
    opt_state: Keys
    level: Keys = ()
    """What a moment has before its parameter's path."""
    listed: bool = False
    """Whether the chain is a list with its empties."""


ROOTS = {
    "linen": Roots(
        ("step",), ("params", "params"), ("params", "Tid2EidVar"), ("opt_state",), ("params",), listed=True
    ),
    "maxtext": Roots(
        ("step",), ("params", "params"), ("nnx_aux", "model"), ("opt_state",), ("params",), listed=True
    ),
    "nnx": Roots(("optimizer", "step"), ("model",), ("model",), ("optimizer", "opt_state")),
    "tunix": Roots(
        ("optimizer_state", "step"), ("model_params",), ("model_params",), ("optimizer_state", "opt_state")
    ),
}


def entries(family: Family, layout: str, form: str, axis: int = 1) -> dict[Keys, Any]:
    """A whole train state with adamw, flat; of the layout `params` the weights."""

    def part(name: str, *base: Key) -> dict[Keys, Any]:
        return {(*base, *path): a for path, a in model(family, layout, form, name, axis).items()}

    if layout == "params":
        return part("params")
    roots = ROOTS[layout]
    first: Key = 0 if roots.listed else "0"
    last: Key = 2 if roots.listed else "2"
    count = np.asarray(7, np.int32)
    out = {
        roots.step: np.asarray(7, np.int32 if roots.listed else np.uint32),
        **part("params", *roots.params),
        **part("aux", *roots.aux),
        **part("mu", *roots.opt_state, first, "mu", *roots.level),
        **part("nu", *roots.opt_state, first, "nu", *roots.level),
        (*roots.opt_state, first, "count"): count,
        (*roots.opt_state, last, "count"): count,
    }
    if roots.listed:
        out[(*roots.opt_state, 1)] = None
    return {(*path, "value"): leaf for path, leaf in out.items()} if layout == "tunix" else out
