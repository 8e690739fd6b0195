"""Read the file of a `Spec`."""

from pathlib import Path

from pydantic import ValidationError

from linen_nnx.schema.errors import SpecError, StorageError
from linen_nnx.schema.problem import Code
from linen_nnx.schema.spec import Spec


def is_spec(text: str) -> bool:
    """Whether a text is a spec that nobody edited."""
    try:
        Spec.model_validate_json(text)
    except ValidationError:
        return False
    return True


def read_spec(path: Path | str) -> Spec:
    """The spec that `linen-nnx spec --out` wrote. Raises `StorageError`, or `SpecError` on another file."""
    try:
        return Spec.model_validate_json(Path(path).read_bytes())
    except OSError as error:
        raise StorageError(str(error)) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise SpecError.one(
            Code.NO_SPEC,
            expected=f"a spec, as `linen-nnx spec --out` writes it, in {path}",
            found=f"{'.'.join(map(str, first['loc'])) or 'a document'}: {first['msg']}",
        ) from error
