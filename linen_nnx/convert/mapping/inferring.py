"""Infer rules from a Linen state and a spec of the NNX one: accepted is what is proved, or asked for."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from math import prod

from linen_nnx.convert.mapping.colours import Colours
from linen_nnx.convert.mapping.drafting import Draft, drafts, flat_drafts
from linen_nnx.convert.mapping.evidence import AXIS, FLAT, NONE, PROBED, SQUARE, Evidence, weaker
from linen_nnx.convert.mapping.library import LINEN_CLASSES, is_of_any_rank, stacked_axes
from linen_nnx.convert.mapping.modules import Keys, Leaf, Node, Restacked, flattened
from linen_nnx.convert.mapping.pairing import Alike, pair
from linen_nnx.convert.mapping.probing import Probed, confirmed, probed
from linen_nnx.convert.mapping.running import Runner
from linen_nnx.convert.mapping.variants import TooManyError, is_stacked, variants
from linen_nnx.schema.inference import TODO, Inference
from linen_nnx.schema.options import Accept
from linen_nnx.schema.path import KeyPath
from linen_nnx.schema.problem import Code, Problem
from linen_nnx.schema.rule_text import glob
from linen_nnx.schema.rules import Keep, Mirroring, Rule, Rules
from linen_nnx.schema.spec import Kind, SpecLeaf

_SHOWN = 8


def infer(
    linen: Node,
    nnx: Node,
    accept: Accept,
    types: Iterable[SpecLeaf] = (),
    rngs: Iterable[KeyPath] = (),
    runner: Callable[[], Runner] | None = None,
) -> Inference:
    """The rules from `linen` to `nnx`; `types` are the variables of a spec, `rngs` its PRNG streams.

    With `runner`, what structure leaves open is settled by running both models, and no rule is proved unless
    they compute the same by it. It is not called where structure allows no mapping.
    """
    colours = Colours()
    wanted = colours.of(linen)
    try:
        fits = [tree for tree in variants(nnx, linen) if colours.of(tree) == wanted]
    except TooManyError:
        return Inference(rules=Rules(), problems=(_too_many(),), ways=0)
    if fits:
        found, problems, ways = _paired(linen, nnx, fits, colours, accept, runner and runner())
    else:
        found, problems, ways = _nested_otherwise(linen, nnx, accept, runner)
    rules = Rules(
        collections=_collections(linen, list(types)),
        rules=tuple(_rule(draft, accept) for draft in found),
        keep=tuple(_keeps(rngs)),
    )
    return Inference(rules=rules, problems=tuple(problems), ways=ways)


def _nested_otherwise(
    linen: Node, nnx: Node, accept: Accept, runner: Callable[[], Runner] | None
) -> tuple[list[Draft], list[Problem], int]:
    """Variable by variable, where all are unlike; module by module, where a run shows that nesting is all."""
    found, problems = _flat(linen, nnx)
    if runner is None:
        return found, problems, len(found[:1])
    if found:
        return found, confirmed([draft.rule for draft in found], linen, runner()), 1
    ours, theirs, colours = flattened(linen), flattened(nnx), Colours()
    if colours.of(ours) != colours.of(theirs):
        return found, problems, 0
    made, doubts, ways = _paired(ours, nnx, [theirs], colours, accept, runner())
    return [replace(draft, evidence=weaker(draft.evidence, PROBED)) for draft in made], doubts, ways


def _rule(draft: Draft, accept: Accept) -> Rule:
    word = str(draft.evidence)
    sure = draft.evidence.grade.enough(accept)
    return draft.rule.model_copy(update={"evidence": word if sure else f"{TODO} {word}"})


def _paired(
    linen: Node, nnx: Node, fits: Sequence[Node], colours: Colours, accept: Accept, run: Runner | None
) -> tuple[list[Draft], list[Problem], int]:
    doubted = dict(_doubtful(nnx, None))
    known = Probed(fits) if run is None else probed(linen, fits, list(doubted), run)
    doubted |= dict.fromkeys(known.upright, PROBED)
    made = [pair(linen, tree, colours, known.settled, refuted=known.refuted) for tree in known.fits]
    alike = made[0][1]
    rules = [drafts(one) for one, _ in made]
    forms = len({frozenset(map(_key, found)) for found in rules})
    common = _common(rules)
    common_before = _common([drafts(pair(linen, tree, colours, known.settled)[0]) for tree in fits])
    unordered = _unordered(alike)
    out = []
    for draft in rules[0]:
        evidence = draft.evidence
        if _key(draft) not in common:
            evidence = AXIS
        elif any(draft.linen[: len(path)] == path for path in unordered):
            evidence = NONE
        elif _key(draft) not in common_before:
            evidence = weaker(evidence, PROBED)
        out.append(Draft(draft.rule, evidence, draft.linen))
    out = [_doubt(draft, doubted) for draft in out]
    problems = [*known.problems]
    problems += [_alike_problem(one) for one in alike if not one.evidence.grade.enough(accept)]
    problems += _doubt_problems(out, accept)
    return out, problems, prod((one.ways for one in alike), start=forms)


def _common(rules: Sequence[Sequence[Draft]]) -> set[str]:
    return set.intersection(*({_key(draft) for draft in found} for found in rules))


def _too_many() -> Problem:
    return Problem(
        code=Code.NO_MAPPING,
        expected="few enough stacks, lists and cells to try all forms that Linen may have them in",
        found="too many to prove that one form alone fits",
        hint="write the rules by hand: `linen-nnx schema rules` describes them",
    )


def _key(draft: Draft) -> str:
    return draft.rule.model_dump_json(exclude={"evidence"})


def _unordered(alike: Sequence[Alike]) -> set[Keys]:
    """Layers that become a stack, and whose names do not number them from 0."""
    out: set[Keys] = set()
    for one in alike:
        for linen, nnx in zip(one.linen, one.nnx, strict=True):
            label = linen.label[-1]
            number = label[len(label.rstrip("0123456789")) :]
            if isinstance(nnx.variant, Restacked) and number != str(nnx.variant.index):
                out.update(node.path for node in one.linen)
    return out


def _doubtful(node: Node, above: Node | None) -> Iterator[tuple[Keys, Evidence]]:
    """Variables of which nothing tells whether they are stacked, and whose shape does not either."""
    if is_stacked(node, above):
        return
    for leaf in node.leaves:
        shape, level = leaf.spec.shape, stacked_axes(leaf, node, above)
        if level == 0 or is_of_any_rank(leaf, node) or len(shape) < 2 or shape[0] != shape[1]:
            continue
        # A checkpoint tells no classes: then a kernel is taken for flax's own.
        kernel = node.name is None and leaf.name == "kernel"
        known = level is None and (kernel or node.name in LINEN_CLASSES.values())
        yield (*node.path, leaf.name), SQUARE if known or len(shape) == 2 else AXIS
    for child in node.children:
        yield from _doubtful(child, node)


def _doubt(draft: Draft, doubted: dict[Keys, Evidence]) -> Draft:
    """The rule, with the doubt about any variable that it writes."""
    evidence = draft.evidence
    targets = [KeyPath.parse(text).names for text in draft.rule.targets] or [draft.rule.to_path or ()]
    for path, doubt in doubted.items():
        for target in targets:
            prefix = target[:-1] if target[-1:] == ("*",) else target
            fits = path[: len(prefix)] == prefix and (len(path) == len(target) or target[-1:] == ("*",))
            if fits:
                evidence = weaker(evidence, doubt)
    return Draft(draft.rule, evidence, draft.linen)


def _doubt_problems(found: Sequence[Draft], accept: Accept) -> Iterator[Problem]:
    for draft in found:
        if draft.evidence in (AXIS, NONE, SQUARE) and not draft.evidence.grade.enough(accept):
            yield Problem(
                code=Code.AMBIGUOUS_MAPPING,
                expected="one way to lay out its arrays",
                found=f"{draft.rule}: shapes allow several, of axes that are equally long",
                hint="say in the rule whether an axis moves, and delete its evidence",
            )


def _alike_problem(one: Alike) -> Problem:
    ours, theirs = _named(one.linen), _named(one.nnx)
    word = one.evidence.word
    widen = {1: "--accept names takes", 2: "--accept order takes"}.get(one.evidence.grade, "check")
    return Problem(
        code=Code.AMBIGUOUS_MAPPING,
        expected="modules that structure tells apart",
        found=f"{len(one.linen)} that hold the same ({one.ways} ways): {ours} and {theirs}",
        hint=f"{widen} the candidate, {word}; or check it in the rules file and delete its evidence",
    )


def _named(nodes: Sequence[Node]) -> str:
    names = ["/".join(node.path) for node in nodes]
    return ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")


def _flat(linen: Node, nnx: Node) -> tuple[list[Draft], list[Problem]]:
    """Variable by variable, if none is like another: then their nesting does not matter."""
    ours, theirs = _leaves(linen), _leaves(nnx)
    alone = len(ours) == len({leaf.signature for _, leaf in ours}) and ours
    if alone and sorted(leaf.signature for _, leaf in ours) == sorted(leaf.signature for _, leaf in theirs):
        by_signature = {leaf.signature: (path, leaf) for path, leaf in theirs}
        return flat_drafts([(one, by_signature[one[1].signature]) for one in ours], FLAT), []
    return [], list(_unlike(ours, theirs))


def _leaves(root: Node) -> list[tuple[Keys, Leaf]]:
    return [(node.path, leaf) for node in root.walk() for leaf in node.leaves]


def _unlike(ours: Sequence[tuple[Keys, Leaf]], theirs: Sequence[tuple[Keys, Leaf]]) -> Iterator[Problem]:
    """What only one of the models has, by what can be told without names."""
    left = _surplus(ours, theirs)
    right = _surplus(theirs, ours)
    text = "the same variables in modules that are put together otherwise"
    yield Problem(
        code=Code.NO_MAPPING,
        expected=f"a like for every variable of the target: {'; '.join(right) or 'they are there'}",
        found="; ".join(left) or text,
        hint="write the rules by hand: `linen-nnx schema rules` describes them"
        if left or right
        else "run both models: --probe tells which module is which, however they are nested",
    )


def _surplus(ours: Sequence[tuple[Keys, Leaf]], theirs: Sequence[tuple[Keys, Leaf]]) -> list[str]:
    pool = [leaf.signature for _, leaf in theirs]
    out = []
    for path, leaf in ours:
        if leaf.signature in pool:
            pool.remove(leaf.signature)
        else:
            out.append(f"{'/'.join((*path, leaf.name))} {leaf.kind.value} {leaf.spec}")
    return [*out[:_SHOWN], *([f"{len(out) - _SHOWN} more"] if len(out) > _SHOWN else [])]


def _collections(linen: Node, types: Sequence[SpecLeaf]) -> dict[str, str | Mirroring]:
    """The class of the variables of each collection whose name does not tell its kind, if there is one."""
    others = [one for one in linen.collections if Kind.of_collection(one) is Kind.OTHER]
    names = {leaf.type for leaf in types if leaf.kind is Kind.OTHER and leaf.type}
    return dict.fromkeys(others, names.pop()) if len(names) == 1 else {}


def _keeps(rngs: Iterable[KeyPath]) -> Iterator[Keep]:
    usual, paths = "**/rngs/*", sorted(rngs, key=KeyPath.natural)
    others = [str(path) for path in paths if not glob(usual).fullmatch(str(path))]
    yield from (Keep(to=path) for path in others)
    if len(others) < len(paths):
        yield Keep(to=usual)
