"""The norm of the gradient of every example, from one ordinary backward pass."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.nn.parallel import DistributedDataParallel

from critbatch.errors import UserError
from critbatch.gradient_noise import layer_calls as of_calls
from critbatch.gradient_noise.broadcasts import (
    Consumers,
    Ways,
    consumers_below,
    is_product,
    learn_ways,
    watch,
    without_tensors,
)
from critbatch.gradient_noise.example_axis import (
    Cut,
    check_alone,
    check_sums,
    cuts_of,
    one_at_a_time,
    random_slopes,
    tolerance_of,
)
from critbatch.gradient_noise.layer_calls import Call, WatchedLayers, joined_factors, norms2_in_slices
from critbatch.gradient_noise.layer_rules import Factors, in_float32, part_of
from critbatch.gradient_noise.reruns import (
    UNCLEAR,
    NoDropout,
    Shapes,
    floats_in,
    layouts_of,
    map_tensors,
    nothing_changes,
    tensors_in,
    unwatched,
)

MOST_LAYOUT_RUNS = 16  # how often the layouts of a model are determined


class GhostNorms:
    """The squared norm of every example's gradient, for every weight, although only their sum is computed.

    For a linear layer, the gradient of an example is a sum of outer products of its inputs and its output gradients. So
    its norm follows from these (Goodfellow 2015, arXiv:1510.01799). For sequences it follows from the Gram matrices of
    both (Li et al. 2021, arXiv:2110.05679, section 4), or from the gradients themselves if that is less work.
    Convolutions, embeddings and normalization layers have their own rules. A weight that is added to the activations of
    all examples, or multiplies them, has the gradients that arrive at that operation. So does a layer whose output all
    examples share, such as an embedding of positions. Any other module with weights runs again by `torch.func`, example
    by example. If the examples of a layer cannot be separated, the layer is refused by name; nothing is left out
    silently. A weight that several layers share has the norm of its whole gradient.

    The axis of the examples is not guessed. Before the first forward pass, the model runs separately, without dropout,
    on two and on three examples of the batch. In each layer, the axis that grows is that of the examples. Then it runs
    on three examples together and on each alone. The norms must be the same for every weight; this finds a model that
    mixes examples. At the first backward pass, the gradients of the examples are added up and compared with the
    gradient itself; this finds a weight that is also used in another way. A loss outside of the model is not visible:
    the gradient of an example is that of its own rows of the model's outputs.

    Memory: the inputs and output gradients of the layers for one forward and backward pass, and at most 2^26 numbers
    for gradients of examples.

    Args:
        model: The examples are on the first dimension of the tensors with which it is called. It may be a
            DistributedDataParallel model: then the examples are those of this process.

    Raises:
        UserError: If a layer of the model mixes examples. If this is detected later, it never interrupts a forward or
            backward pass: `take` raises the error, then and at every later call.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.failure = ""  # why nothing is measured any more; empty while measuring works
        self.unchecked = ""  # why the first step was not compared with examples passed alone; empty if it was
        inner = model.module if isinstance(model, DistributedDataParallel) else model
        self._inner = inner
        self._names: dict[Tensor, str] = {
            weight: name for name, weight in model.named_parameters() if weight.requires_grad
        }
        self._layers = WatchedLayers(inner)
        self._empty: dict[nn.Module, bool] = {}  # whether a module and its submodules have no weights
        self._roots: dict[tuple[nn.Module, int], Cut] = {}  # by module and number of input tensors
        self._weight_ways: dict[Tensor, list[Ways]] = {}  # more than one where the model's graph depends on the batch
        self._call_ways: dict[nn.Module, list[Ways]] = {}
        self._batch = self._depth = self._layout_runs = 0
        self._records: list[Call] | None = None  # calls of a run that determines layouts
        self._calls: list[Call] = []
        self._shared: list[Call] = []  # calls in this forward pass whose outputs all examples share
        self._by_example: dict[Tensor, Tensor] = {}  # gradients of weights that are broadcast over examples
        self._products: dict[Tensor, list[Factors]] = {}  # factors of gradients, of matrices that multiply activations
        self._not_followed: set[Tensor] = set()
        self._done: list[dict[str, Tensor]] = []
        self._paused = self._in_test_pass = False
        self._first: dict[Tensor, Tensor] | None = {}  # gradients of the first backward pass, until they are checked
        self._handles: list[Any] = []
        self._checks: list[Any] = []
        self.attach()

    def attach(self) -> None:
        """Put the hooks on the model again after `close`."""
        if self._handles:
            return
        for module in self._inner.modules():
            self._handles.append(module.register_forward_pre_hook(self._enter, with_kwargs=True))
            self._handles.append(module.register_forward_hook(self._leave, with_kwargs=True, always_call=True))
        for module in self._layers.units:
            self._handles.append(module.register_forward_hook(self._see, with_kwargs=True, prepend=True))
        if self._first is not None:
            self._checks = [
                weight.register_hook(lambda grad, weight=weight: self._note(weight, grad))  # type: ignore[no-untyped-call]
                for weight in self._names
            ]

    def take(self, examples: int | Sequence[int] | None = None) -> dict[str, Tensor]:
        """Return, for each weight, the squared norms of the examples since the last call, shape (examples,).

        They belong to the loss on which `backward` was called: for a mean over B losses they are 1 / B^2 of an
        example's own.

        Args:
            examples: The number of examples since the last call, in total or for each backward pass. None if you do
                not know it.

        Raises:
            UserError: If the model mixes examples, if the gradient of a weight is not the sum over its layers'
                examples, or if the number of examples in the layers differs from `examples`.
        """
        self.end_pass()
        if self.failure:
            raise UserError(self.failure)
        sizes, done, self._done = self.sizes, self._done, []
        if not done and self._first:
            raise UserError(
                f"Gradients arrived, but no layer of the {type(self._inner).__name__} was called: a compiled, scripted "
                "or replicated model does not call its layers one by one. Use it as it is, or micro-batches instead."
            )
        if done and examples is not None:
            _compare_sizes(sizes, examples)
        return {name: torch.cat([norms2[name] for norms2 in done]) for name in (done[0] if done else {})}

    @property
    def sizes(self) -> list[int]:
        """Return the number of examples in each backward pass since the last `take`, up to the last `end_pass`."""
        return [len(next(iter(norms2.values()))) for norms2 in self._done]

    def discard(self) -> None:
        """Forget the backward passes since the last `take`."""
        self._calls, self._shared, self._done = [], [], []
        self._by_example, self._products, self._not_followed = {}, {}, set()
        if self._first is not None:
            self._first = {}

    def end_pass(self) -> None:
        """End a backward pass. Needed only if the next one calls parts of the model."""
        try:
            self._reduce()
        except Exception as error:
            self._fail(error)

    def close(self) -> None:
        """Remove all hooks."""
        for handle in (*self._handles, *self._checks):
            handle.remove()
        self._handles, self._checks, self._depth = [], [], 0
        self.discard()

    def _fail(self, error: Exception) -> None:
        """Stop measuring, and let training go on."""
        if self._paused:
            raise error
        line = (str(error).splitlines() or [""])[0][:120]
        self.failure = (  # not the error itself, whose traceback keeps tensors alive
            str(error)
            if isinstance(error, UserError)
            else f"The gradients of the examples of a {type(self._inner).__name__} could not be measured "
            f"({type(error).__name__}: {line}): use micro-batches instead."
        )
        self.discard()

    def _has_no_weights(self, root: nn.Module) -> bool:
        """Whether a module has no weights to measure, such as an activation."""
        if root not in self._empty:
            self._empty[root] = not any(module in self._layers.units for module in root.modules())
        return self._empty[root]

    def _is_paused(self) -> bool:
        """Whether a forward pass is not part of training."""
        return self._paused or bool(self.failure) or not torch.is_grad_enabled() or _in_backward()

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before a forward pass of any module. A module that no other module of the model calls is a root."""
        self._depth += 1
        if self._depth > 1 or self._is_paused() or self._has_no_weights(module):
            return
        try:
            self._reduce()
            self._shared = []
            key = module, len(list(tensors_in((args, kwargs))))
            if key not in self._roots:
                self._determine_layouts(module, args, kwargs)
            self._batch = self._roots[key].size_of(args, kwargs)
        except Exception as error:
            self._fail(error)

    def _leave(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> None:
        self._depth -= 1
        if self._depth > 0 or self._is_paused() or self._has_no_weights(module):
            return
        try:
            tensors, spread = floats_in(outputs), self._broadcast_sources()
            failed = self._follow(tensors, spread)
            if failed and self._layout_runs < MOST_LAYOUT_RUNS:
                # The graph depends on the batch: for example, a mask that hides nothing is left out.
                self._determine_layouts(module, args, kwargs)
                failed = self._follow(tensors, failed)
            self._not_followed.update(source for source in failed if isinstance(source, Tensor))
            _forget_nodes(source for source in spread if isinstance(source, Call))
        except Exception as error:
            self._fail(error)

    def _see(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> Any:
        recording = self._records is not None
        watching = torch.is_grad_enabled() and (self._in_test_pass or not self._paused) and not self.failure
        if not recording and not watching:
            return None
        try:
            return self._record(module, args, kwargs, outputs)
        except Exception as error:
            self._fail(error)
            return None

    def _record(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> Any:
        """Record a call and, later, the gradients of its outputs. Returns the outputs for the rest of the model."""
        if not self._layers.by_rule[module] and len(floats_in(outputs)) > 1:
            # One output may depend on another: only gradients from outside the module count.
            outputs = map_tensors(lambda leaf: leaf.view_as(leaf) if leaf.requires_grad else leaf, outputs)
        tensors = floats_in(outputs)
        shapes = Shapes(
            tuple(tuple(tensor.shape) for tensor in tensors_in((args, kwargs))),
            tuple(tuple(tensor.shape) for tensor in tensors),
        )
        call = Call(module, args, kwargs, self._batch, shapes, [None] * len(tensors))
        followed = self._records if self._records is not None else self._shared if module in self._call_ways else None
        if followed is not None:
            # A node refers to the hooks of its output, and these to this call. `_forget_nodes` breaks the cycle, which
            # would keep the activations in memory for too long.
            call.node = tensors[0].grad_fn if len(tensors) == 1 else None
            followed.append(call)
        for i, output in enumerate(tensors):
            if output.requires_grad:
                output.register_hook(lambda slope, i=i: self._meet(call, i, slope))  # type: ignore[no-untyped-call]
        return outputs

    def _meet(self, call: Call, i: int, slope: Tensor) -> None:
        if self.failure:
            return
        if not any(known is call for known in self._calls[-1:]) and call not in self._calls:
            self._calls.append(call)
        known = call.slopes[i]
        call.slopes[i] = slope.detach() if known is None else known + slope.detach()

    def _note(self, weight: Tensor, grad: Tensor) -> None:
        if self._first is not None and not self._paused:
            self._first[weight] = self._first[weight] + grad if weight in self._first else grad.clone()

    def _follow(self, outputs: list[Tensor], spread: Sequence[Tensor | Call]) -> list[Tensor | Call]:
        """Hook the nodes where a source is broadcast over the examples. Returns the sources that cannot be followed."""
        if not spread:
            return []
        consumers = consumers_below(outputs)
        return [source for source in spread if not self._watch(source, consumers)]

    def _watch(self, source: Tensor | Call, consumers: Consumers) -> bool:
        if isinstance(source, Tensor):
            node, shape, alternatives = get_gradient_edge(source).node, tuple(source.shape), self._weight_ways[source]
        else:
            node, shape, alternatives = source.node, source.shapes.outputs[0], self._call_ways[source.module]
        receive = partial(self._receive, source)
        return node not in consumers or any(
            watch(node, shape, consumers, ways, self._batch, receive, self._fail) for ways in alternatives
        )

    def _broadcast_sources(self) -> list[Tensor | Call]:
        """Sources that are broadcast over the examples in this pass, except those whose gradients are too large."""
        large = {
            weight
            for weight, alternatives in self._weight_ways.items()
            if weight.numel() * self._batch > of_calls.NUMBERS_AT_ONCE and not all(map(is_product, alternatives))
        }
        self._not_followed |= large
        shared, self._shared = self._shared, []
        return [*(weight for weight in self._weight_ways if weight not in large), *shared]

    def _receive(self, source: Tensor | Call, slopes: Tensor | Factors) -> None:
        if isinstance(slopes, Factors):
            if isinstance(source, Tensor):
                self._products.setdefault(source, []).append(slopes)
                return
            slopes = slopes.gradients()
        if isinstance(source, Tensor):
            known = self._by_example.get(source)
            self._by_example[source] = slopes if known is None else known + slopes
        else:
            source.by_example = slopes if source.by_example is None else source.by_example + slopes

    def _reduce(self) -> None:
        """Compute the norms of the last backward pass, and free its tensors."""
        if self._paused or not self._calls:
            return
        self._paused = True
        try:
            first = self._first
            if first is not None and not all(bool(grad.isfinite().all()) for grad in first.values()):
                # The first steps with a GradScaler overflow: check the first step that does not.
                self._first, first = {}, None
            elif first is not None:
                self._first = None
                for handle in self._checks:
                    handle.remove()
                self._checks = []
            norms2, sums = self._norms2(totals=first is not None)
            if first is not None:
                check_sums(first, sums, self._names)
            self._done.append(norms2)
        finally:
            self._paused = False

    @torch.no_grad()
    def _norms2(self, *, totals: bool) -> tuple[dict[str, Tensor], dict[Tensor, Tensor]]:
        """The norms of the examples of a pass and, if `totals`, the sums of their gradients."""
        calls, self._calls = self._calls, []
        spread, self._by_example = self._by_example, {}
        products, self._products = self._products, {}
        for weight in self._not_followed:
            spread.pop(weight, None)
            products.pop(weight, None)
        self._not_followed = set()
        batch = max(call.batch for call in calls)
        if other := next((call for call in calls if call.batch != batch), None):
            raise UserError(
                f"{self._layers.path(other.module)} was called with {other.batch} examples where others had {batch}: "
                "call the model with the same number throughout a step's forward pass, or use micro-batches instead."
            )
        uses: dict[Tensor, list[tuple[Call, str]]] = {}
        for call in calls:
            for local in self._layers.units[call.module]:
                uses.setdefault(call.module.get_parameter(local), []).append((call, local))
        groups: dict[tuple[Call, ...], list[Tensor]] = {}
        for weight, of_weight in uses.items():
            if weight not in spread and weight not in products:
                groups.setdefault(tuple(call for call, _ in of_weight), []).append(weight)
        results: dict[Tensor, tuple[Tensor, Tensor]] = {}  # the examples' norms, and the sum of their gradients
        for weight, gradients in spread.items():
            whole = gradients.to(in_float32(gradients).dtype)
            for factors in products.pop(weight, []):
                whole = whole + factors.gradients().view_as(whole)
            part = part_of(whole)
            results[weight] = part.norms2(), part.total()
        for weight, factors_of_weight in products.items():
            joined = joined_factors(factors_of_weight)
            results[weight] = norms2_in_slices(joined), joined.total()
        for weights in groups.values():
            of_group = {weight: uses[weight] for weight in weights}
            results.update(self._layers.norms_and_sums(of_group, batch, totals=totals))
        none = torch.zeros(batch, device=next(iter(self._names)).device)
        norms2 = {name: results[weight][0] if weight in results else none for weight, name in self._names.items()}
        return norms2, {weight: total.view_as(weight) for weight, (_, total) in results.items()} if totals else {}

    def _determine_layouts(self, root: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Determine the layout of each layer, and compare examples in a batch with examples alone."""
        paused, calls, shared, batch = self._paused, self._calls, self._shared, self._batch
        spread, products, not_followed = self._by_example, self._products, self._not_followed
        self._paused, self._by_example, self._products, self._not_followed = True, {}, {}, set()
        self._calls, self._shared = [], []
        self._layout_runs += 1
        try:
            weights = list(self._inner.parameters())
            with unwatched(self._inner, weights, but=self), nothing_changes(self._inner) as restore, NoDropout():
                self._try_cuts(root, args, kwargs, restore)
        finally:
            self._paused, self._in_test_pass, self._records = paused, False, None
            self._calls, self._shared, self._batch = calls, shared, batch
            self._by_example, self._products, self._not_followed = spread, products, not_followed

    def _try_cuts(
        self, root: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], restore: Callable[[], None]
    ) -> None:
        why, mixed = "it is given no tensor with examples on its first axis", None
        key = root, len(list(tensors_in((args, kwargs))))
        cuts = [self._roots[key]._replace(size=self._batch)] if key in self._roots else cuts_of(args, kwargs)
        for cut in cuts:
            if mixed is not None and cut.size != mixed[1]:
                break  # the likeliest tensor mixes its examples: do not try the rows of a different tensor
            known = _copied(self._layers.layouts)
            ways = _copied(self._weight_ways), _copied(self._call_ways)
            recorded: list[Call] = []
            try:
                reason = self._try(root, cut, args, kwargs, restore, recorded)
            except UserError as error:
                mixed = mixed or (error, cut.size)
            except Exception as error:
                why = f"{(str(error).splitlines() or [type(error).__name__])[0][:120]}"
            else:
                if not reason:
                    self._roots.setdefault(key, cut)
                    return
                why = reason
            finally:
                _forget_nodes(recorded)
            self._layers.layouts, (self._weight_ways, self._call_ways) = known, ways
            restore()
        if mixed is not None:
            raise mixed[0]
        raise UserError(
            f"The examples of a batch that goes into {self._layers.path(root)} cannot be told apart ({why}): give "
            "tensors with the examples on the first axis, in tuples, lists or dicts, or use micro-batches instead."
        )

    def _try(
        self,
        root: nn.Module,
        cut: Cut,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        restore: Callable[[], None],
        recorded: list[Call],
    ) -> str:
        """Cut the batch in this way and check it. Returns what is wrong, if that shows before examples are compared.

        Args:
            recorded: the calls of all runs are added to it.

        Raises:
            UserError: if the gradients of examples in a batch are not those of the same examples alone.
        """
        rows = cut.choice(args, kwargs)
        restore()
        two, few = self._run(root, cut, args, kwargs, rows[:2])
        restore()
        three, outputs = self._run(root, cut, args, kwargs, rows)
        recorded += [*two, *three]
        shapes = [Shapes((), tuple(tuple(output.shape) for output in of_run)) for of_run in (few, outputs)]
        layouts = layouts_of(*shapes).outputs
        single = all(len(shape) == 0 for shape in shapes[1].outputs)
        if not single and all(layout in (None, UNCLEAR) for layout in layouts):
            return "no axis of its outputs grows with the number of examples"
        self._layers.keep(two, three)
        self._keep_ways(consumers_below(few), two, consumers_below(outputs), three)
        self._records = None
        slopes = random_slopes(outputs, layouts)
        if not any(slope is not None for slope in slopes):
            return ""
        try:
            self._backward(three, outputs, slopes)
        except RuntimeError:
            # A checkpoint recomputes the tensors of a node only once: leave out those nodes.
            self._weight_ways = {weight: _without_tensors(ways) for weight, ways in self._weight_ways.items()}
            self._call_ways = {module: _without_tensors(ways) for module, ways in self._call_ways.items()}
            self._calls = []
            restore()
            three, outputs = self._run(root, cut, args, kwargs, rows)
            recorded += three
            self._records = None
            self._backward(three, outputs, slopes)
        grads = {weight: weight.grad for weight in self._names if weight.grad is not None}
        together, sums = self._norms2(totals=True)
        alone = one_at_a_time(root, cut, args, kwargs, rows, slopes, layouts, self._names, restore)
        finite = all(bool(grad.isfinite().all()) for grad in grads.values())
        if alone.drawn or not finite:
            why = "draws random numbers other than dropout's" if finite else "has gradients that are not finite"
            self.unchecked = (
                f"{self._layers.path(root)} {why}, so that the gradients of examples in a batch could not be compared "
                "with those of examples passed alone."
            )
            warnings.warn(self.unchecked, stacklevel=6)
            return ""
        between = [slope for call in three for slope in call.slopes if slope is not None]
        tolerance = tolerance_of([*self._names, *outputs, *between])
        check_alone(grads, sums, together, alone, self._names, tolerance=tolerance, proportional=single)
        return ""

    def _backward(self, calls: list[Call], outputs: list[Tensor], slopes: list[Tensor | None]) -> None:
        """Run a backward pass of three examples, with the same hooks as in training."""
        self._shared = [call for call in calls if call.module in self._call_ways]
        self._batch = 3
        failed = self._follow(outputs, self._broadcast_sources())
        self._not_followed.update(source for source in failed if isinstance(source, Tensor))
        for call in calls:
            call.batch = 3
        pairs = [(output, slope) for output, slope in zip(outputs, slopes, strict=True) if slope is not None]
        self._in_test_pass = True
        try:
            torch.autograd.backward([output for output, _ in pairs], [slope for _, slope in pairs])
        finally:
            self._in_test_pass = False

    def _run(
        self, root: nn.Module, cut: Cut, args: tuple[Any, ...], kwargs: dict[str, Any], rows: list[int]
    ) -> tuple[list[Call], list[Tensor]]:
        """Call the root with some of the examples. Returns the calls of its units and the outputs with gradients."""
        self._records = []
        again_args, again_kwargs = cut.rows(args, kwargs, rows)
        outputs = [output for output in floats_in(root(*again_args, **again_kwargs)) if output.requires_grad]
        return self._records, outputs

    def _keep_ways(self, in_two: Consumers, two: list[Call], in_three: Consumers, three: list[Call]) -> None:
        """Save the paths from each shared source to the nodes that broadcast it over the examples."""
        called = {call.module for call in three}
        for module, names in self._layers.units.items():
            if self._layers.by_rule[module] and module in called:
                continue
            for weight in map(module.get_parameter, names):
                node = get_gradient_edge(weight).node
                if ways := learn_ways((node, node), weight.shape, (in_two, in_three)):
                    _add_alternative(self._weight_ways.setdefault(weight, []), ways)
        for module in dict.fromkeys(call.module for call in three):
            if not any(layouts.outputs == (None,) for layouts in self._layers.layouts[module]):
                continue
            of_two, of_three = ([call for call in calls if call.module is module] for calls in (two, three))
            if len(of_two) != len(of_three) or not all(call.node for call in (*of_two, *of_three)):
                continue
            learned = [
                learn_ways((few.node, many.node), many.shapes.outputs[0], (in_two, in_three))
                for few, many in zip(of_two, of_three, strict=True)
            ]
            ways = learned[0]
            if ways is not None and all(other == ways for other in learned):
                _add_alternative(self._call_ways.setdefault(module, []), ways)


def _forget_nodes(calls: Iterable[Call]) -> None:
    """Drop the references of calls to autograd's graph."""
    for call in calls:
        call.node = None


def _in_backward() -> bool:
    """Whether autograd runs a backward pass: it calls checkpointed modules again."""
    return torch._C._current_graph_task_id() != -1


def _copied(lists: dict[Any, list[Any]]) -> dict[Any, list[Any]]:
    return {key: list(values) for key, values in lists.items()}


def _add_alternative(alternatives: list[Ways], ways: Ways) -> None:
    if ways not in alternatives:
        alternatives.append(ways)


def _without_tensors(alternatives: list[Ways]) -> list[Ways]:
    return [ways for ways in alternatives if without_tensors(ways)]


def _compare_sizes(sizes: list[int], examples: int | Sequence[int]) -> None:
    """Raise UserError if the numbers of examples in the layers differ from those of the caller."""
    same = sum(sizes) == examples if isinstance(examples, int) else sizes == list(examples)
    if not same:
        given = examples if isinstance(examples, int) else " + ".join(map(str, examples))
        raise UserError(
            f"The model's layers had {' + '.join(map(str, sizes))} examples, but the batch has {given}: put the "
            "examples on the first dimension of all that goes into the model, or use micro-batches instead."
        )
