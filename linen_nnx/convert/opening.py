"""A source (and template) opened, and the plan of its conversion."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from linen_nnx.convert.engine.commit import target_problems
from linen_nnx.convert.engine.execute import execution, parts_of
from linen_nnx.convert.planner import plan as plan_source
from linen_nnx.convert.store.location import Location, locate
from linen_nnx.convert.store.orbax_source import OrbaxItem, open_item
from linen_nnx.convert.store.read import open_array
from linen_nnx.convert.store.source_arrays import Items
from linen_nnx.convert.surroundings import items_beside
from linen_nnx.schema.errors import ConversionError, InvariantError, ProblemsError, raise_if
from linen_nnx.schema.layout import Layout
from linen_nnx.schema.ops import Origin
from linen_nnx.schema.options import ConversionOptions
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.routing import Effort, RoutedPlan


@dataclass(frozen=True, slots=True)
class Sources:
    """What a conversion reads, opened: all of its metadata."""

    location: Location
    item: OrbaxItem
    template: OrbaxItem | None

    @classmethod
    def open(
        cls,
        source: Path | str,
        *,
        template: Path | str | None = None,
        step: int | None = None,
        item: str | None = None,
    ) -> Self:
        """Open both. Raises `CheckpointError`."""
        location = locate(Path(source), step, item)
        like = None if template is None else locate(Path(template))
        return cls(location, open_item(location), None if like is None else open_item(like))

    def checkpoints(self) -> list[OrbaxItem]:
        """The source, and the template if there is one."""
        return [self.item] if self.template is None else [self.item, self.template]

    @property
    def items(self) -> Items:
        """The item of each origin."""
        items = {Origin.SOURCE: self.item}
        if self.item.side is not None and self.item.side.item is not None:
            items[Origin.SIDE] = self.item.side.item
        if self.template is not None:
            items[Origin.TEMPLATE] = self.template
        return items

    def leaf(self, path: KeyPath) -> Any | None:
        """An array of the source, opened and not read; None for an entry that is none."""
        return open_array(self.item.arrays[path]) if path in self.item.arrays else None


class Planned:
    """What becomes of `sources`: the plan, and the writes of each item with their routes."""

    def __init__(
        self,
        sources: Sources,
        options: ConversionOptions,
        *,
        target: Path | None = None,
        overwrite: bool = False,
    ) -> None:
        """Plan. Raises `CheckpointError` or `ConversionError` with all problems at once."""
        self.sources = sources
        guarded = sources.location.guarded
        problems = [] if target is None else target_problems(guarded, target, overwrite=overwrite)
        problems += [problem for opened in sources.checkpoints() for problem in opened.problems]
        try:
            made = plan_source(sources.item, options, sources.template)
        except InvariantError:
            raise_if(problems, ConversionError)
            raise
        except ProblemsError as error:
            raise type(error)([*problems, *error.problems]) from error
        raise_if(problems, ConversionError)
        notes = (*made.notes, *items_beside(sources.location))
        self.plan = made.model_copy(update={"notes": notes})
        if self.plan.residue is not None and self.plan.target.layout is Layout.TUNIX:
            residue = self.plan.residue.model_copy(update={"item": self._item_name})
            self.plan = self.plan.model_copy(update={"residue": residue})
        prefixes = [part.prefix for part in self.moved_to(Path()).items]
        self.parts = parts_of(self.plan, sources.items, sources.item.storage, prefixes, options.storing)

    @property
    def _item_name(self) -> str | None:
        """What one item of the state is called, or was before it became two."""
        side = self.sources.item.side
        return self.sources.location.item_name or (None if side is None else side.residue.item)

    def moved_to(self, folder: Path) -> Location:
        """Where the target lies below `folder`."""
        return self.sources.location.moved_to(folder, self.plan.target.layout, self._item_name)

    def routed(self, effort: Effort) -> RoutedPlan:
        """The plan, with what carrying it out will cost."""
        return RoutedPlan.of(self.plan, execution(self.plan, self.parts, self.sources.items, effort))
