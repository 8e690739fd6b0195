"""Digests of regions of a file that someone else reads, front to back: none of its bytes is read again."""

from collections.abc import Iterable, MutableMapping

from linen_nnx.convert.proof.hashing import Region, hasher


class Follower:
    """Of one file. What is asked for and cannot be had in one pass, or did not pass, is not found."""

    def __init__(self, regions: Iterable[Region], found: MutableMapping[Region, str]) -> None:
        """Put the digest of each of `regions` into `found` when its last byte has passed."""
        self._left = iter(_apart(regions))
        self._next = next(self._left, None)
        self._hasher = hasher()
        self._found = found
        self._at = 0

    def passed(self, data: memoryview) -> None:
        """The next bytes of the file."""
        start, self._at = self._at, self._at + len(data)
        while (region := self._next) is not None and region.offset < self._at:
            end = region.offset + region.length
            self._hasher.update(data[max(0, region.offset - start) : min(end - start, len(data))])
            if end > self._at:
                return
            self._found[region] = self._hasher.hexdigest()
            self._next, self._hasher = next(self._left, None), hasher()


def _apart(regions: Iterable[Region]) -> list[Region]:
    """In order, without those that begin before the one before them ends."""
    chosen: list[Region] = []
    for region in sorted(set(regions), key=lambda region: (region.offset, region.length)):
        if not chosen or region.offset >= chosen[-1].offset + chosen[-1].length:
            chosen.append(region)
    return chosen
