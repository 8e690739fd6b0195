"""Who trains: a release of MaxText, a framework, and how it keeps its layers."""

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import assert_never

SAVED_AFTER = 3
"""The step whose state is converted and resumed."""
STEPS = 6
"""The steps of an uninterrupted run."""
STEP_FOLDER = str(SAVED_AFTER - 1)
"""MaxText's folder `2` holds the state after step 3."""

_TINY = {
    "decoder_block": "llama2",
    "base_emb_dim": "16",
    "base_num_decoder_layers": "5",
    "base_num_query_heads": "6",
    "base_num_kv_heads": "2",
    "head_dim": "8",
    "base_mlp_dim": "24",
    "vocab_size": "64",
    "max_target_length": "16",
    "per_device_batch_size": "2",
}
"""Every dimension differs from the number of layers, 5. The ground truth has the same ones."""

_EXACT = {
    "dtype": "float32",
    "weight_dtype": "float32",
    "matmul_precision": "highest",
    "enable_dropout": "false",
    "dataset_type": "synthetic",  # one fixed batch, the same for every run
    "checkpoint_period": "1",  # the state after every step is kept
    "learning_rate": "0.01",
    "learning_rate_schedule_steps": "20",  # not by `steps`: a run of 3 and a run of 6 have the same schedule
}
"""Nothing random after the initial weights, and nothing that depends on how many steps a run has."""

_ALONE = {
    "hardware": "cpu",
    "attention": "dot_product",
    "skip_jax_distributed_system": "true",
    "async_checkpointing": "false",
    "enable_goodput_recording": "false",
    "monitor_goodput": "false",
    "enable_checkpoint_cloud_logger": "false",
    "gcs_metrics": "false",
    "save_config_to_gcs": "false",
    "enable_tensorboard": "false",
}
"""One process, no accelerator, no cloud."""


def alone() -> dict[str, str]:
    """The flags of one process."""
    return dict(_ALONE)


class Release(StrEnum):
    """A release of MaxText on PyPI."""

    LAST_WITH_LINEN = "0.2.4"
    NNX_ONLY = "0.2.5"

    @property
    def short(self) -> str:
        return self.replace(".", "")


class Trainer(Enum):
    """A framework in a release."""

    LINEN = "linen 0.2.4"
    NNX = "nnx 0.2.4"
    NNX_TODAY = "nnx 0.2.5"

    @property
    def release(self) -> Release:
        match self:
            case Trainer.LINEN | Trainer.NNX:
                return Release.LAST_WITH_LINEN
            case Trainer.NNX_TODAY:
                return Release.NNX_ONLY
            case _:
                assert_never(self)

    @property
    def layout(self) -> str:
        """What `--to` calls the layout that it reads and writes."""
        return "linen" if self is Trainer.LINEN else "maxtext"

    @property
    def flags(self) -> dict[str, str]:
        match self:
            case Trainer.LINEN | Trainer.NNX:
                nnx = str(self is Trainer.NNX).lower()
                return {"enable_nnx": nnx, "pure_nnx": nnx, "pure_nnx_decoder": nnx}
            case Trainer.NNX_TODAY:
                return {}
            case _:
                assert_never(self)


class Stack(StrEnum):
    """How the layers are kept: stacked on an axis, or one by one."""

    SCAN = "scan"
    UNSCAN = "unscan"

    @property
    def option(self) -> str:
        """The option of `linen-nnx convert`."""
        return "--scan-layers" if self is Stack.SCAN else "--no-scan-layers"

    @property
    def other(self) -> "Stack":
        return Stack.UNSCAN if self is Stack.SCAN else Stack.SCAN


@dataclass(frozen=True)
class Form:
    """All that decides what a run computes, and how its checkpoints look."""

    trainer: Trainer
    stack: Stack
    family: tuple[str, ...] = ()
    """Flags of another family of models than llama2."""

    def __str__(self) -> str:
        return f"{self.trainer.value} {self.stack}"

    @property
    def slug(self) -> str:
        return str(self).replace(" ", "-")

    @property
    def flags(self) -> dict[str, str]:
        scan = {"scan_layers": str(self.stack is Stack.SCAN).lower()}
        family = dict(flag.split("=", 1) for flag in self.family)
        return {**_ALONE, **_TINY, **_EXACT, **family, **self.trainer.flags, **scan}


FORMS = tuple(Form(trainer, stack) for trainer in Trainer for stack in Stack)
