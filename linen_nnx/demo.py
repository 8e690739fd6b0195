"""Train a small Linen model, save it as people do, convert it to NNX and back, and hold the two together.

The model is a decoder of scanned layers with dropout, trained by adamw with a schedule: enough for every
part of a train state to be there. Needs flax and optax (`pip install linen-nnx[flax]`).
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from linen_nnx.convert.converting import convert
from linen_nnx.convert.inspecting import inspect
from linen_nnx.convert.proof.verifying import verify
from linen_nnx.convert.validating import differences
from linen_nnx.schema.errors import ConversionError, MissingExtraError
from linen_nnx.schema.layout import LayerStacking, Layout
from linen_nnx.schema.options import ConversionOptions
from linen_nnx.schema.problem import Code, Problem

STEPS = 5
_WIDTH, _HIDDEN, _LAYERS, _VOCABULARY, _LENGTH, _BATCH = 32, 48, 4, 64, 16, 8


def demo(folder: Path, say: Callable[[str], None]) -> list[Problem]:
    """Do it all below `folder`. The problems of the last comparison: none means bit for bit equal."""
    folder = folder.absolute()
    if folder.exists():
        raise ConversionError.one(
            Code.TARGET_EXISTS, expected=f"no {folder} yet", found="a folder or file", hint="name another one"
        )
    if not (find_spec("flax") and find_spec("optax")):
        raise MissingExtraError("flax")
    linen, nnx, back = folder / "linen", folder / "nnx", folder / "linen-again"
    losses = train(linen)
    say(f"1. trained a Linen model for {STEPS} steps, loss {losses[0]:.4f} to {losses[-1]:.4f}: {linen}")

    to_nnx = convert(linen, nnx, Layout.NNX, ConversionOptions(stacking=LayerStacking.UNSTACKED))
    say(f"2. converted to NNX, layers one by one: {nnx} ({to_nnx.written} entries)")
    problems = verify(nnx, linen, restore=True)
    if problems:
        return problems
    say("   every value of the Linen checkpoint is there, bit for bit; orbax restores it")

    to_linen = convert(nnx, back, Layout.LINEN, ConversionOptions(stacking=LayerStacking.STACKED))
    say(f"3. converted back to Linen, layers stacked again: {back} ({to_linen.written} entries)")
    return [
        *differences(inspect(back).inventory, inspect(linen).inventory),
        *verify(back, linen, restore=True),
    ]


def train(folder: Path) -> list[float]:
    """Train for `STEPS` steps and save the train state below `folder`; the losses."""
    import orbax.checkpoint as ocp

    state, losses = _trained()
    with ocp.CheckpointManager(folder, item_names=("items",)) as manager:
        manager.save(STEPS, args=ocp.args.Composite(items=ocp.args.PyTreeSave(state)))
    return losses


def _trained() -> tuple[Any, list[float]]:
    import jax
    import jax.numpy as jnp
    import optax
    from flax.training.train_state import TrainState

    model = _model()
    tokens = jax.random.randint(jax.random.key(1), (_BATCH, _LENGTH), 0, _VOCABULARY)
    variables = model.init(jax.random.key(0), tokens)
    optimizer = optax.adamw(optax.cosine_decay_schedule(1e-2, STEPS))
    create: Any = TrainState.create
    state = create(apply_fn=model.apply, params=variables, tx=optimizer)

    @jax.jit
    def step(state: Any, key: Any) -> tuple[Any, Any]:
        def loss_of(variables: Any) -> Any:
            logits = model.apply(variables, tokens[:, :-1], rngs={"dropout": key})
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])
            return jnp.mean(losses)

        loss, gradients = jax.value_and_grad(loss_of)(state.params)
        return state.apply_gradients(grads=gradients), loss

    losses = []
    for number in range(STEPS):
        state, loss = step(state, jax.random.key(number))
        losses.append(float(loss))
    return state, losses


def _model() -> Any:
    """`token_embedder`, `decoder/layers` (scanned on axis 1), `decoder_norm`, `logits_dense`."""
    import flax.linen as nn

    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x: Any, _: None) -> tuple[Any, None]:
            hidden = nn.LayerNorm(use_bias=False, name="pre_mlp_norm")(x)
            hidden = nn.gelu(nn.Dense(_HIDDEN, name="wi")(hidden))
            hidden = nn.Dropout(0.1, deterministic=not self.has_rng("dropout"))(hidden)
            return x + nn.Dense(_WIDTH, name="wo")(hidden), None

    class Decoder(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            scan = nn.scan(
                Layer,
                variable_axes={"params": 1},
                split_rngs={"params": True, "dropout": True},
                length=_LAYERS,
            )
            x, _ = scan(name="layers")(x, None)
            x = nn.LayerNorm(use_bias=False, name="decoder_norm")(x)
            return nn.Dense(_VOCABULARY, use_bias=False, name="logits_dense")(x)

    class Model(nn.Module):
        @nn.compact
        def __call__(self, tokens: Any) -> Any:
            return Decoder(name="decoder")(nn.Embed(_VOCABULARY, _WIDTH, name="token_embedder")(tokens))

    return Model()
