"""The gradients of examples for what all examples share, from where it is spread over them.

A table of positions is added to every example's words, a scale multiplies every example's activations: autograd sums
over the examples there, and what arrives at the table is the sum. The gradient that comes into that very addition is
still each example's own. From there it is taken down to the table, example by example, through autograd's own nodes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from critbatch.gradient_noise.layer_rules import Factors
from critbatch.gradient_noise.reruns import UNCLEAR, Layout, fits, layout_of, to_front

Consumers = dict[Any, list[tuple[Any, int, int]]]
"""For each node of a graph the nodes that use its outputs, as which of their inputs, and which output."""

Way = tuple[tuple[str, int, int], ...]
"""The kinds of nodes from a source up to where it is spread, as which of their inputs and which output it goes in."""

Ways = dict[Way, Layout]
"""Of each way where the examples are in what it is spread to."""

_Route = list[tuple[Any, int, int, Sequence[int]]]  # nodes, as which input, which output, and its shape
_MOST_WAYS = 4096

_SPREADS = {
    "AddBackward0",
    "AddmmBackward0",
    "ExpandBackward0",
    "MaskedFillBackward0",
    "MmBackward0",
    "MulBackward0",
    "RepeatBackward0",
    "SubBackward0",
    "WhereBackward0",
}
_PRODUCTS = {("AddmmBackward0", 2), ("MmBackward0", 1)}  # of activations with a matrix, and as what that goes in
_VIEWS = {"ReshapeAliasBackward0", "UnsafeViewBackward0", "ViewBackward0"}
_WITH_SEVERAL_OUTPUTS = {
    "NativeGroupNormBackward0",
    "NativeLayerNormBackward0",
    "SplitBackward0",
    "SplitWithSizesBackward0",
    "UnbindBackward0",
}
# These keep no tensors, which a checkpoint would make anew at the first use only.
_WITHOUT_TENSORS = {
    "AddBackward0",
    "AliasBackward0",
    "CloneBackward0",
    "ExpandBackward0",
    "NegBackward0",
    "PermuteBackward0",
    "RepeatBackward0",
    "ReshapeAliasBackward0",
    "SelectBackward0",
    "SliceBackward0",
    "SplitBackward0",
    "SplitWithSizesBackward0",
    "SqueezeBackward0",
    "SqueezeBackward1",
    "SqueezeBackward2",
    "SubBackward0",
    "TBackward0",
    "ToCopyBackward0",
    "TransposeBackward0",
    "UnsafeViewBackward0",
    "UnsqueezeBackward0",
    "ViewBackward0",
}


def _is_passed(node: Any) -> bool:
    """Whether it is one of torch's own nodes that can be run backward for each example.

    Where one of them mixes the examples after all, they are not seen to be spread above it.
    """
    kind: str = node.name()
    outputs = getattr(node, "_input_metadata", ())  # they are the inputs of the backward pass
    return kind[-1:].isdigit() and (len(outputs) == 1 or (len(outputs) > 1 and kind in _WITH_SEVERAL_OUTPUTS))


def consumers_below(tensors: Iterable[Tensor]) -> Consumers:
    """Who uses whose output, in the graph of these tensors."""
    found: Consumers = {}
    todo = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    visited = set(todo)
    while todo:
        node = todo.pop()
        for place, (below, output) in enumerate(node.next_functions):
            if below is None:
                continue
            found.setdefault(below, []).append((node, place, output))
            if below not in visited:
                visited.add(below)
                todo.append(below)
    return found


def learn_ways(source: tuple[Any, Any], shape: Sequence[int], consumers: tuple[Consumers, Consumers]) -> Ways | None:
    """The ways from what all examples share to the places where it is spread over them.

    Args:
        source: the node whose output all examples share, that of a module's output, or of a weight, in the graph of two
            examples, and in that of three.
        shape: of that output.
        consumers: of both graphs.

    Returns:
        None if a use of the output is not understood.
    """
    ways: Ways = {}
    longer: set[Way] = set()
    todo: list[tuple[Any, Any, Way]] = [(*source, ())]
    while todo:
        in_two, in_three, way = todo.pop()
        few, many = consumers[0].get(in_two, ()), consumers[1].get(in_three, ())
        if not few or len(few) != len(many) or len(todo) + len(ways) > _MOST_WAYS:
            return None
        for (two, place, output), (three, other_place, other_output) in zip(few, many, strict=True):
            kind = two.name()
            if not _is_passed(two) or (three.name(), other_place, other_output) != (kind, place, output):
                return None
            own = tuple(in_two._input_metadata[output].shape) if way else tuple(shape)
            wide, wider = tuple(two._input_metadata[0].shape), tuple(three._input_metadata[0].shape)
            layout = layout_of(wide, wider)
            step = (*way, (kind, place, output))
            if layout is None:
                longer.add(step)
                todo.append((two, three, step))
                continue
            if layout.folded:
                layout = layout._replace(apart=_is_apart(two, three, consumers))
            if not _is_spread(kind, place, own, wide, layout) or ways.get(step, layout) != layout:
                return None
            ways[step] = layout
    return ways if ways and not longer & ways.keys() else None


def is_product(ways: Ways) -> bool:
    """Whether a matrix does nothing but multiply activations, so that `Factors` are its gradients."""
    return all(way[-1][:2] in _PRODUCTS and _is_short(way[:-1]) for way in ways)


def _is_short(way: Way) -> bool:
    return way == () or (len(way) == 1 and way[0][0] in ("TBackward0", "TransposeBackward0"))


def without_tensors(ways: Ways) -> bool:
    """Whether the nodes on the ways keep no tensors, which a checkpoint would make anew once and no more."""
    return all(kind in _WITHOUT_TENSORS for way in ways for kind, _, _ in way)


def watch(
    source: Any,
    shape: Sequence[int],
    consumers: Consumers,
    ways: Ways,
    batch: int,
    receive: Callable[[Tensor | Factors], None],
    fail: Callable[[Exception], None],
) -> bool:
    """Have `receive` called, at the backward pass, with gradients of each example that add up to the source's.

    Args:
        source: the node whose output all examples share.
        shape: of that output.
        consumers: of the graph that the backward pass goes through.
        ways: what was learned.
        batch: how many examples there are.
        receive: gets tensors of shape (batch, *shape), or `Factors` of such.
        fail: gets what goes wrong meanwhile.

    Returns:
        Whether every use of the output is among the ways. If not, nothing is watched.
    """
    routes: list[tuple[_Route, Layout]] = []
    todo: list[tuple[Any, Way, _Route]] = [(source, (), [])]
    while todo:
        node, way, route = todo.pop()
        if not consumers.get(node) or len(todo) + len(routes) > _MOST_WAYS:
            return False
        for above, place, output in consumers[node]:
            if not _is_passed(above):
                return False
            own = tuple(node._input_metadata[output].shape) if way else tuple(shape)
            step = (*way, (above.name(), place, output))
            longer = [*route, (above, place, output, own)]
            wide = tuple(above._input_metadata[0].shape)
            if step not in ways:
                todo.append((above, step, longer))
            elif fits(wide, ways[step], batch):
                routes.append((longer, ways[step]))
            else:
                return False
    for route, layout in routes:
        route[-1][0].register_prehook(_receiver(route, layout, batch, receive, fail))
    return True


def _is_apart(two: Any, three: Any, consumers: tuple[Consumers, Consumers]) -> bool:
    """How several places of an example are folded into one axis, as a view above shows that unfolds them."""
    for _ in range(4):
        few, many = consumers[0].get(two, ()), consumers[1].get(three, ())
        if not few or not many:
            return False
        two, three = few[0][0], many[0][0]
        if not (_is_passed(two) and _is_passed(three)):
            return False
        layout = layout_of(tuple(two._input_metadata[0].shape), tuple(three._input_metadata[0].shape))
        if two.name() in _VIEWS and layout is not None and not layout.folded:
            return layout.axis == 1
    return False


def _is_spread(kind: str, place: int, own: Sequence[int], wide: Sequence[int], layout: Layout) -> bool:
    """Whether the axis of the examples is made here, and not one that was there before."""
    if layout == UNCLEAR or kind not in _SPREADS:
        return False
    if (kind, place) in _PRODUCTS:
        return layout.axis == 0
    if kind in ("AddmmBackward0", "MmBackward0") and (kind, place) != ("AddmmBackward0", 0):
        return False
    if kind == "RepeatBackward0":
        return layout.axis == 0 and len(own) == len(wide) and tuple(own[1:]) == tuple(wide[1:])
    axis = layout.axis - (len(wide) - len(own))
    return axis < 0 or own[axis] == 1


def _receiver(
    route: _Route,
    layout: Layout,
    batch: int,
    receive: Callable[[Tensor | Factors], None],
    fail: Callable[[Exception], None],
) -> Callable[[tuple[Tensor | None, ...]], None]:
    spread, place, _, narrow = route[-1]
    outputs = [output for _, _, output, _ in route[1:]]  # of each node but the last

    def at_backward(slopes: tuple[Tensor | None, ...]) -> None:
        if slopes[0] is None:
            return
        try:
            with torch.no_grad():
                step = spread.name(), place
                if step in _PRODUCTS:
                    factors = _of_product(spread, slopes[0].detach(), layout, batch)
                    if _is_short(tuple((node.name(), at, output) for node, at, output, _ in route[:-1])):
                        receive(Factors(factors.right, factors.left) if len(route) > 1 else factors)
                        return
                    pulled = factors.gradients()
                else:
                    pulled = _at_spread(spread, place, narrow, slopes[0].detach(), layout, batch)
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", "There is a performance drop")
                    for (node, at, _, own), output in reversed(list(zip(route[:-1], outputs, strict=True))):
                        pulled = vmap(partial(_one_back, node, at, output, own))(pulled)
                receive(pulled)
        except Exception as error:
            fail(error)

    return at_backward


def _of_product(node: Any, slopes: Tensor, layout: Layout, batch: int) -> Factors:
    """Of a matrix that activations are multiplied with from the left, shape (in, out)."""
    left, right = (
        to_front(side, layout, batch) if layout.folded else side[:, None]
        for side in (node._saved_mat1 if node.name() == "AddmmBackward0" else node._saved_self, slopes)
    )
    return Factors(left.detach().conj(), right)


def _at_spread(node: Any, place: int, narrow: Sequence[int], wide: Tensor, layout: Layout, batch: int) -> Tensor:
    """The examples' gradients of what is spread here, shape (batch, *narrow)."""
    kind = node.name()
    if kind == "RepeatBackward0":
        return wide.reshape(batch, -1, *narrow).sum(1)
    if kind == "MulBackward0":
        wide = wide * (node._saved_other if place == 0 else node._saved_self).conj()
    elif kind == "WhereBackward0":
        wide = wide * (node._saved_condition if place == 0 else ~node._saved_condition)
    elif kind == "MaskedFillBackward0":
        wide = wide.masked_fill(node._saved_mask, 0)
    elif kind in ("AddBackward0", "SubBackward0") and place == 1:
        wide = wide * (node._saved_alpha if kind == "AddBackward0" else -node._saved_alpha)
    aligned = (*[1] * (wide.ndim - len(narrow)), *narrow)
    axes = [axis for axis in range(wide.ndim) if aligned[axis] == 1 and wide.shape[axis] > 1 and axis != layout.axis]
    if axes:
        wide = wide.sum(axes, keepdim=True)
    front = to_front(wide, layout, batch)
    return (front.sum(1) if layout.folded else front).reshape(batch, *narrow)


def _one_back(node: Any, place: int, output: int, own: Sequence[int], slope: Tensor) -> Tensor:
    """One example's gradient of one output, taken through a node to one of its inputs."""
    slopes: list[Tensor | None] = [None] * len(node._input_metadata)
    slopes[output] = slope
    below = node(*slopes)
    found: Tensor = below[place] if isinstance(below, tuple) else below
    return found.sum_to_size(own)
