"""`linen-nnx schema`: JSON Schema of a document."""

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel

NAME = "schema"


class Document(StrEnum):
    """What has a schema."""

    LINEN = "linen"
    NNX = "nnx"
    MAXTEXT = "maxtext"
    PARAMS = "params"
    TUNIX = "tunix"
    DILOCO = "diloco"
    INSPECTION = "inspection"
    INVENTORY = "inventory"
    PLAN = "plan"
    RECEIPT = "receipt"
    SEAL = "seal"
    PROBLEMS = "problems"
    DIFFERENCE = "difference"
    SPEC = "spec"
    STATE = "state"
    RULES = "rules"
    INFERENCE = "inference"


def run(
    document: Annotated[Document | None, typer.Argument(help="A layout or a document of --json.")] = None,
) -> None:
    """Print the JSON Schema of a layout or a document. Without a name, list them."""
    if document is None:
        print("\n".join(Document))
        return
    print(json.dumps(_model(document).model_json_schema(), indent=1))


def _model(document: Document) -> "type[BaseModel]":
    from linen_nnx import (
        Difference,
        DilocoTrainState,
        Inspection,
        Inventory,
        LinenTrainState,
        MaxtextTrainState,
        NnxTrainState,
        ParamsState,
        Receipt,
        Seal,
        Spec,
        TrainState,
        TunixTrainState,
    )
    from linen_nnx.schema.inference import Inference
    from linen_nnx.schema.report import Problems
    from linen_nnx.schema.routing import RoutedPlan
    from linen_nnx.schema.rules import Rules

    models: dict[Document, type[BaseModel]] = {
        Document.LINEN: LinenTrainState,
        Document.NNX: NnxTrainState,
        Document.MAXTEXT: MaxtextTrainState,
        Document.PARAMS: ParamsState,
        Document.TUNIX: TunixTrainState,
        Document.DILOCO: DilocoTrainState,
        Document.INSPECTION: Inspection,
        Document.INVENTORY: Inventory,
        Document.PLAN: RoutedPlan,
        Document.RECEIPT: Receipt,
        Document.SEAL: Seal,
        Document.PROBLEMS: Problems,
        Document.DIFFERENCE: Difference,
        Document.SPEC: Spec,
        Document.STATE: TrainState,
        Document.RULES: Rules,
        Document.INFERENCE: Inference,
    }
    return models[document]
