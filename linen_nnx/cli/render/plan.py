"""A plan, leaf by leaf, and what a conversion did."""

import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from linen_nnx.cli.render.out import counted, drops, duration, notes, say, size
from linen_nnx.schema.array import ArrayValue
from linen_nnx.schema.ops import Cast, Concat, Copy, Fill, MoveAxis, Op, Rounding, Split, Stack, Take
from linen_nnx.schema.plan import Write
from linen_nnx.schema.receipt import Digested, Receipt, Seal
from linen_nnx.schema.routing import Execution, RoutedPlan, Traffic, Transfer


def plan(made: RoutedPlan) -> None:
    """Every write with its route, every drop, and what it all costs."""
    # The values of a plan are a few objects, each of many writes.
    distinct = {id(write.value): write.value for write in made.writes}
    values = {number: str(one) for number, one in distinct.items()}
    sys.stdout.writelines(
        f"{write.place:<4} {routed.route:<9} {write.target}: {values[id(write.value)]}  <- {op(write.op)}\n"
        for write, routed in zip(made.writes, made.execution.writes, strict=True)
    )
    drops(made.drops)
    notes(made.notes)
    print(
        f"{made.source.layout.value} -> {made.target.layout.value}: {len(made.item_writes)} entries, "
        f"{len(made.side_writes)} kept aside, {len(made.drops)} dropped, {size(_nbytes(made.writes))}"
    )
    execution(made.execution)


def execution(cost: Execution) -> None:
    """Bytes by route, memory and time."""
    verb = "linked" if cost.effort.transfer is Transfer.LINK else "copied"
    print(
        f"stored bytes: {size(cost.referenced)} by reference, {size(cost.moved)} moved one by one; "
        f"{size(cost.decoded)} decoded; {counted(cost.files, 'data file')} "
        f"({size(cost.file_bytes)}) {verb}"
    )
    if cost.sparse_files:
        print(f"{counted(cost.sparse_files, 'data file')} left behind, mostly of no use: values are moved")
    print(f"memory at most {size(cost.peak_memory)}; about {duration(cost.seconds)} on a fast disk")


def _nbytes(writes: Sequence[Write]) -> int:
    return sum(write.value.spec.nbytes for write in writes if isinstance(write.value, ArrayValue))


def op(made: Op) -> str:
    """An op on a line."""
    match made:
        case Copy(source=source):
            return str(source)
        case Take(of=of, axis=axis, index=index):
            return f"{op(of)}, slice {index} of axis {axis}"
        case Stack(parts=parts, axis=axis):
            return f"{len(parts)} on axis {axis}: {op(parts[0])} … {op(parts[-1])}"
        case MoveAxis(of=of, source=source, destination=destination):
            return f"{op(of)}, axis {source} moved to {destination}"
        case Concat(parts=parts, axis=axis):
            return f"{len(parts)} joined on axis {axis}: {op(parts[0])} … {op(parts[-1])}"
        case Split(of=of, axis=axis, index=index, count=count):
            return f"{op(of)}, piece {index} of {count} on axis {axis}"
        case Cast(of=of, dtype=dtype, rounding=Rounding.COUNTED):
            return f"{op(of)} rounded to {dtype.value}"
        case Cast(of=of, dtype=dtype):
            return f"{op(of)} as {dtype.value}"
        case Fill(value=ArrayValue() as value):
            return f"zeros, {value}"
        case Fill(value=value):
            return f"{value}, put in"


def receipt(done: Receipt) -> None:
    """What was done."""
    drops(done.drops)
    notes(done.notes)
    print(
        f"{done.source_layout.value} -> {done.target_layout.value}: {done.target}\n"
        f"{done.written} entries, {done.kept_aside} kept aside, {len(done.drops)} dropped, "
        f"{size(done.nbytes)} in {done.times.total:.1f} s"
    )
    print(_moved(done.traffic))
    content(done)
    if done.digested is Digested.NEVER:
        say("note: no digests were taken; `linen-nnx seal` takes them later")
    # What was cast is not what the source has.
    against = "" if done.options.dtypes else f" --against {quote(done.source)}"
    say(f"hint: linen-nnx verify {quote(done.target)}{against}")


def _moved(traffic: Traffic) -> str:
    """What `execution` foretold, as it was."""
    return (
        f"stored bytes: {size(traffic.referenced)} by reference, {size(traffic.moved)} moved one by one; "
        f"{size(traffic.decoded)} decoded; {size(traffic.copied)} copied, {size(traffic.linked)} linked; "
        f"memory {size(traffic.peak_memory)}"
    )


def sealed(done: Receipt | Seal, path: Path) -> None:
    """What was sealed."""
    arrays = sum(1 for entry in done.entries if entry.digests)
    print(f"sealed: {len(done.entries)} entries, {arrays} of them arrays; {counted(len(done.files), 'file')}")
    print(f"receipt {done.digest}")
    content(done)
    say(f"hint: linen-nnx verify {quote(str(path))}")


def content(done: Receipt | Seal) -> None:
    """The fingerprint, where the receipt has one."""
    if done.fingerprint is not None:
        print(f"content {done.fingerprint}")
