"""What a page shows of a receipt: how a checkpoint came about, and the digests that hold it."""

from collections.abc import Iterable

from linen_nnx.cli.conversion import spelled
from linen_nnx.cli.page.model import Fact, Findings, Page, Row, Verdict
from linen_nnx.cli.page.rows import commands, losses, row, written
from linen_nnx.cli.render.out import size
from linen_nnx.schema.digest import ChunkDigests
from linen_nnx.schema.receipt import Receipt, Recorded, Seal, Sealed


def of_receipt(receipt: Receipt | Seal) -> Page:
    """A receipt alone, its checkpoint unseen."""
    if isinstance(receipt, Seal):
        rows = [row(entry.target, entry.value, digest=digest_text(entry)) for entry in receipt.entries]
        return _page("a sealed checkpoint", receipt, rows)
    source, target = receipt.source, receipt.target
    return _page(
        f"{source} to {target}",
        receipt,
        [recorded(entry) for entry in receipt.entries],
        losses(receipt.drops, receipt.notes),
        commands("convert", source, target, *spelled(receipt.options)) + commands("verify", target),
    )


def _page(
    title: str,
    receipt: Receipt | Seal,
    rows: list[Row],
    findings: tuple[Findings, ...] = (),
    again: tuple[str, ...] = (),
) -> Page:
    return Page(
        title=title,
        verdict=Verdict.OPEN,
        saying=f"a receipt of a {receipt.kind}: the checkpoint itself was not looked at",
        facts=tuple(of_history(receipt)),
        findings=findings,
        rows=tuple(rows),
        commands=again,
    )


def recorded(entry: Recorded) -> Row:
    """An entry that a conversion wrote."""
    return written(entry.place, entry.target, entry.value, entry.op, entry.route, digest_text(entry))


def of_history(receipt: Receipt | Seal | None) -> Iterable[Fact]:
    """How it came about, and with what."""
    if receipt is None:
        return
    if isinstance(receipt, Receipt):
        layouts = f"{receipt.source_layout.value} to {receipt.target_layout.value}"
        yield Fact(name="converted", text=f"from {receipt.source} ({layouts})")
        yield Fact(
            name="entries",
            text=f"{receipt.written} written, {receipt.kept_aside} kept aside, {len(receipt.drops)} dropped",
        )
        yield Fact(name="moved", text=f"{size(receipt.nbytes)} in {receipt.times.total:.1f} s")
    versions = ", ".join(f"{name.replace('_', '-')} {version}" for name, version in receipt.tool)
    yield Fact(name="at", text=f"{receipt.at:%Y-%m-%d %H:%M:%S} UTC, by {versions}")
    yield Fact(name="receipt", text=f"BLAKE3 {receipt.digest}")
    if receipt.fingerprint is not None:
        yield Fact(name="content", text=f"fingerprint {receipt.fingerprint}, the same in every layout")


def digest_text(entry: Sealed | None) -> str:
    """The digest of an array of one chunk, or how many there are and the first."""
    return "; ".join(map(_of_chunks, entry.digests)) if entry is not None else ""


def _of_chunks(digests: ChunkDigests) -> str:
    given = [digest for digest in digests.chunks if digest is not None]
    of = "" if digests.kind == "stored" else "of values "
    if len(given) > 1:
        return f"{of}{len(given)} chunks, {given[0]} …"
    return f"{of}{given[0]}" if given else ""
