"""The progress bar of a conversion."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn


class Bar:
    """Bytes written, speed and time left, on stderr."""

    def __init__(self) -> None:
        """Not shown before it is entered."""
        columns = (
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task("writing", total=None)

    def __enter__(self) -> Self:
        """Show it."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take it away."""
        self._progress.stop()

    def start(self, total: int) -> None:
        """`total` bytes will be written."""
        self._progress.update(self._task, total=total)

    def advance(self, nbytes: int) -> None:
        """`nbytes` more are stored."""
        self._progress.advance(self._task, nbytes)
