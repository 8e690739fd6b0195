"""Write a receipt with the digest of itself, and read it back only if it is whole."""

import os
import re
import uuid
from pathlib import Path
from typing import TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from linen_nnx.convert.proof.hashing import digest
from linen_nnx.convert.store.location import OWN_FOLDER
from linen_nnx.schema.errors import CheckpointError, StorageError
from linen_nnx.schema.problem import Code
from linen_nnx.schema.receipt import RECEIPT_FILE, AnyReceipt, Receipt, Seal

R = TypeVar("R", Receipt, Seal)

_TAIL = re.compile(rb',"digest":"([0-9a-f]{64})"\}\Z')
_ADAPTER: TypeAdapter[Receipt | Seal] = TypeAdapter(AnyReceipt, config=ConfigDict(defer_build=True))


def receipt_file(item: Path) -> Path:
    """Where the receipt of an item lies: in its own folder, or beside a legacy file.

    There its name begins with a dot: flax takes every file whose name begins as that of a checkpoint for one.
    """
    if item.is_file():
        return item.with_name(f".linen-nnx-receipt.{item.name}.json")
    return item / OWN_FOLDER / RECEIPT_FILE


def write_receipt(receipt: R, item: Path) -> R:
    """Put it where it belongs, whole or not at all; returned with its digest."""
    body = receipt.model_dump_json(exclude={"digest"}).encode()
    taken = digest(body)
    file = receipt_file(item)
    beside = file.with_name(f".{file.name}-{uuid.uuid4().hex[:8]}")
    try:
        file.parent.mkdir(exist_ok=True)
        try:
            _write_durably(beside, body[:-1] + f',"digest":"{taken}"}}'.encode())
            os.replace(beside, file)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write {file}: {error}") from error
    return receipt.model_copy(update={"digest": taken})


def _write_durably(file: Path, data: bytes) -> None:
    with file.open("xb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())


def read_receipt(item: Path) -> Receipt | Seal | None:
    """The receipt of an item; None if it has none. Raises `CheckpointError` where it is damaged."""
    file = receipt_file(item)
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(str(error)) from error
    tail = _TAIL.search(text)
    if tail is None:
        raise _damaged(file, "no digest of itself at the end")
    if digest(text[: tail.start()] + b"}") != tail[1].decode():
        raise _damaged(file, "another content than its own digest says")
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        raise _damaged(file, f"a document of another form: {error.errors()[0]['msg']}") from error


def _damaged(file: Path, found: str) -> CheckpointError:
    return CheckpointError.one(
        Code.RECEIPT_DAMAGED,
        expected="a receipt as linen-nnx wrote it",
        found=found,
        file=str(file),
        hint="take it from another copy, or let `linen-nnx seal --overwrite` write a new one: it will vouch "
        "for what is stored now",
    )
