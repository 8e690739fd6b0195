"""Where finished chunks go: a key-value store, written to by many threads at once."""

import threading
from typing import TYPE_CHECKING, Any

from linen_nnx.convert.engine.buffers import Window
from linen_nnx.convert.engine.tap import Tap
from linen_nnx.convert.store.target_arrays import TargetArray
from linen_nnx.schema.zarr import zarr_json

if TYPE_CHECKING:
    import tensorstore as ts


class Sink:
    """Accepts chunks, holding at most `limit` bytes that are not stored yet."""

    def __init__(self, store: "ts.KvStore", context: "ts.Context", limit: int, tap: Tap) -> None:
        """Write into `store`; `tap` sees every chunk."""
        self.store = store
        self.context = context
        self.tap = tap
        self._window = Window(limit)
        self._lock = threading.Lock()
        self._failed: BaseException | None = None
        self._pending = 0
        self._idle = threading.Condition(self._lock)

    def finished(self) -> set[str]:
        """The keys that an earlier run has stored."""
        return {key.decode() for key in self.store.list().result()}

    def put(self, key: str, value: bytes) -> None:
        """Hand over one chunk; waits while too much is on its way. Raises what an earlier write raised."""
        if self._failed is not None:
            raise self._failed
        self.tap.stored(key, value)
        # The store holds its own copy, and another while it gathers a data file.
        cost = 2 * len(value)
        self._window.enter(cost)
        with self._lock:
            self._pending += 1

        def done(future: Any) -> None:
            self._window.leave(cost)
            with self._lock:
                self._failed = self._failed or future.exception()
                self._pending -= 1
                self._idle.notify_all()

        self.store.write(key, value).add_done_callback(done)

    def flush(self) -> None:
        """Wait for all. Raises `ValueError` if a write failed."""
        with self._lock:
            self._idle.wait_for(lambda: self._pending == 0)
        if self._failed is not None:
            raise self._failed

    def array(self, name: str, array: TargetArray) -> Any:
        """A target array as tensorstore sees it; its metadata is written elsewhere."""
        import tensorstore as ts

        spec = {
            "driver": "zarr" if array.zarr.zarr_format == 2 else "zarr3",
            "kvstore": (self.store / f"{name}/").spec().to_json(),
            "metadata": zarr_json(array.zarr),
            "store_data_equal_to_fill_value": True,
        }
        return ts.open(spec, open=True, assume_metadata=True, context=self.context).result()
