"""The rules by which a state goes into live objects, or comes out of them: given, or inferred."""

from pathlib import Path

from linen_nnx.convert.mapping.matching import inferred
from linen_nnx.convert.reading import lift_source
from linen_nnx.convert.rules.reading import read_rules
from linen_nnx.convert.store.protocol import Source
from linen_nnx.schema.inference import Inference
from linen_nnx.schema.layout import Layout
from linen_nnx.schema.options import Accept, ConversionOptions
from linen_nnx.schema.rules import Rules
from linen_nnx.schema.spec import Spec

AnyRules = Rules | Path | str
"""Rules, or the file of some."""


def ruled(
    linen: Source,
    nnx: Spec,
    options: ConversionOptions,
    rules: AnyRules | None,
    accept: Accept | str,
) -> tuple[ConversionOptions, Inference | None]:
    """The options with the rules to follow, and how they were inferred, if they were.

    `linen` is the source, or the template of a Linen target; `nnx` is of the live objects. No rules are
    inferred where the source is NNX too, nor where the user asks for layers to be restacked, which rules
    would say. Raises `LayoutError`, and `ConversionError` for rules that are none.
    """
    inverse = options.to is Layout.LINEN
    if rules is not None:
        read = rules if isinstance(rules, Rules) else read_rules(rules)
        return options.model_copy(update={"rules": read, "inverse": inverse}), None
    lifted = lift_source(linen)
    if lifted.form.layout.is_nnx or _restacks(options):
        return options, None
    found = inferred(lifted, nnx, Accept(accept))
    if found.problems:
        return options, found
    return options.model_copy(update={"rules": found.rules, "inverse": inverse}), found


def _restacks(options: ConversionOptions) -> bool:
    asked = (
        options.stacking,
        options.layer_axis,
        options.layer_cycle,
        options.decoder,
        options.layer_names,
    )
    return any(option is not None for option in asked)


def towards(layout: Layout, options: ConversionOptions | None) -> ConversionOptions:
    """The options with the layout of live objects, and without a spec: the objects are held against it."""
    return (options or ConversionOptions()).model_copy(update={"to": layout, "spec": None})
