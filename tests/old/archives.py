"""The checkpoints of old releases: one archive an era, made by `make old-writers`."""

import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA = Path(__file__).with_name("data")


@dataclass(frozen=True)
class Era:
    """Releases that were used together, and jax, optax, numpy and tensorstore as they were then."""

    flax: str
    orbax: str
    others: tuple[str, ...]

    @property
    def archive(self) -> Path:
        return DATA / f"flax-{self.flax}.tar.xz"


def _era(flax: str, orbax: str, jax: str, optax: str, tensorstore: str, *others: str) -> Era:
    pins = (f"jax=={jax}", f"jaxlib=={jax}", f"optax=={optax}", f"tensorstore=={tensorstore}")
    return Era(flax, orbax, (*pins, *others))


ERAS = (
    _era("0.8.5", "0.6.0", "0.4.31", "0.2.3", "0.1.64", "numpy<2", "scipy<1.14"),
    _era("0.10.2", "0.10.3", "0.4.38", "0.2.4", "0.1.71", "numpy<2.2"),
    _era("0.10.7", "0.11.19", "0.6.2", "0.2.5", "0.1.76", "numpy<2.3"),
    _era("0.11.2", "0.11.25", "0.7.2", "0.2.6", "0.1.78", "numpy<2.4"),
)


def pack(folder: Path, archive: Path) -> None:
    """Into an archive that depends on the contents alone: sorted, without times and owners."""
    archive.parent.mkdir(exist_ok=True)

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
        return info

    with tarfile.open(archive, "w:xz", preset=9) as packed:
        for path in sorted(folder.rglob("*")):
            packed.add(path, path.relative_to(folder).as_posix(), recursive=False, filter=plain)


def unpack(era: Era, folder: Path) -> Path:
    with tarfile.open(era.archive) as packed:
        # Python 3.11 has filters since 3.11.4; 3.12 warns where none is named. The archives are our own.
        filtered: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        packed.extractall(folder, **filtered)
    return folder
