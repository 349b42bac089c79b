"""An optimiser that makes weights sparse while the model computes with dense ones: Adam with a growing decay (CAST)."""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adam import adam

from sparsetheory.constraints import COUNT, FLAG, NONNEGATIVE, POSITIVE, Instance, Real
from sparsetheory.gpu.core.layer_masks import check_layer_shape, layer_mask
from sparsetheory.gpu.core.patterns import Pattern, parse_pattern

__all__ = ["AdamS"]

_BETA = Real(0.0, 1.0, closed="left")


class AdamS(Optimizer):
    """Adam that pulls the entries off a mask to zero, gently at first and with nothing else in the end.

    The model computes with dense weights throughout. Every `mask_every` steps the mask of a weight is chosen anew among
    its largest entries. In step t of T, with ``a = t / T`` and the running mean m of the gradients, an entry w moves
    along

        m on the mask,    ``(1 - a) m + a alpha sign(w)`` off it,

    divided by the root of the running mean of the squares *of that direction*. So whatever alpha is, an entry that has
    no gradient moves by one to two learning rates a step once ``a alpha`` is above 100 eps. Alpha only decides when the
    decay is stronger than the gradient: at ``a > |g| / (|g| + alpha)``. Choose it at the scale of the gradients, and
    see :func:`decay_budget`. The running mean m never contains the decay.

    Parameters
    ----------
    params : iterable
        Parameters, named parameters, or groups of them, as for any optimiser of torch. A group with ``"sparse": True``
        is made sparse, by default none is; with ``"transposed": True`` its weights are stored as (in, out).
        :func:`adam_s_groups` makes the groups of a model.
    lr : float
        Learning rate.
    total_steps : int
        Steps T of the whole run. Further steps are taken with ``a = 1``: off the mask there is only decay then.
    alpha : float
        Strength of the decay, in units of gradients.
    pattern : Pattern or str
        What is kept of each weight, as :func:`layer_mask` reads it, or its text such as ``"2:4"``.
    betas : tuple of float
        Factors of the two running means, in [0, 1).
    eps : float
        Added to the root, positive.
    mask_every : int
        Steps from one choice of masks to the next; the first step makes the first choice.

    Raises
    ------
    ValueError
        If an argument is not as described; if a weight to be made sparse cannot have the pattern, or is sharded or
        flattened, so that its masks would be those of something else; if a state to load lacks masks that fit.
    TypeError
        If a weight to be made sparse is not of at least 32 bits: steps would be lost in rounding. Keep such a copy and
        use autocast.

    Notes
    -----
    The state dict holds steps and masks, and a resumed run goes on to the bit. A step that a ``GradScaler`` leaves out
    is not counted. Updates are made for all tensors at once, by the fused Adam of torch where there is one. On a CPU
    core they take some 1.5 times as long as those of Adam with ``foreach``, and less than those where nothing is made
    sparse.

    The model itself shows dense outputs. Give :func:`sparsetheory.gpu.core.run_masked` the masks under the names of
    their parameters to see, on the way, what it would do if it ended here.

    For a fixed ``a < 1`` the entries off the mask settle where ``L + a / (1 - a) alpha sum |w|`` is stationary: the
    strength of this lasso grows from 0 to infinity. See the claims ``sparse_training.adam_s_*``.

    Source: W. Huang, Y. Hu, J. Zhu, J. Chen, "CAST: Continuous and Differentiable Semi-Structured Sparsity-Aware
    Training for Large Language Models", 2025, from its description; `betas` and `eps` are those of Adam.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sparsetheory.gpu.weights import adam_s_groups, finalize
    >>> model = nn.Linear(8, 4)
    >>> optimizer = AdamS(adam_s_groups(model), 0.01, total_steps=20, alpha=0.1, pattern="2:4")
    >>> for _ in range(20):
    ...     optimizer.zero_grad()
    ...     model(torch.eye(8)).square().sum().backward()
    ...     optimizer.step()
    >>> finalize(model, optimizer.masks)
    MaskSet(1 masks, 16 of 32 entries kept)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        total_steps: int,
        alpha: float,
        pattern: Pattern | str,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        mask_every: int = 10,
    ) -> None:
        self.pattern = parse_pattern(pattern) if isinstance(pattern, str) else pattern
        Instance(Pattern, "a pattern").check("pattern", self.pattern)
        NONNEGATIVE.require(lr=lr, alpha=alpha)
        COUNT.require(total_steps=total_steps, mask_every=mask_every)
        _BETA.check("betas[0]", betas[0])
        _BETA.check("betas[1]", betas[1])
        POSITIVE.check("eps", eps)
        group = {"lr": lr, "total_steps": total_steps, "alpha": alpha, "betas": betas, "eps": eps}
        defaults = group | {"mask_every": mask_every, "sparse": False, "transposed": False, "steps_done": 0}
        # As text: files of states are loaded without classes of others.
        defaults["pattern"] = str(self.pattern)
        super().__init__(params, defaults)

    @property
    def masks(self) -> dict[Tensor, Tensor]:
        """The masks of the parameters that are made sparse, as chosen last; :func:`finalize` takes them."""
        found = {}
        for group in self.param_groups:
            for name, parameter in _sparse(group):
                mask = self.state[parameter].get("mask") if parameter in self.state else None
                found[parameter] = self._choose(parameter, group, name) if mask is None else mask
        return found

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters; refuse those that cannot be made sparse."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            FLAG.require(sparse=group["sparse"], transposed=group["transposed"])
            for name, parameter in _sparse(group):
                _check_whole(name, parameter)
                check_layer_shape(self.pattern, parameter.shape, transposed=group["transposed"], name=name)
        except (TypeError, ValueError):
            self.param_groups.pop()
            raise
        group["steps_done"] = self.param_groups[0]["steps_done"]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Do one step.

        Parameters
        ----------
        closure : callable, optional
            Computes the gradients and returns the loss.

        Returns
        -------
        float or Tensor, optional
            The loss, of the closure.

        Raises
        ------
        ValueError
            If a mask and its parameter no longer have the same shape or device.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            due = group["steps_done"] % group["mask_every"] == 0
            for name, parameter in _sparse(group):
                # One that has joined late has no mask yet.
                if due or "mask" not in self.state[parameter]:
                    self.state[parameter]["mask"] = self._choose(parameter, group, name)
            for (count, _, _), parameters in self._alike(group).items():
                self._update(group, count, parameters)
            group["steps_done"] += 1
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state; refuse one that is not of this optimiser, or whose masks do not fit."""
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=False):
            if "steps_done" not in saved:
                raise ValueError("state_dict must be that of an AdamS; got one without its count of steps")
            if saved["pattern"] != str(self.pattern):
                raise ValueError(f"state_dict must be of the pattern {self.pattern}; got {saved['pattern']}")
            if saved["sparse"] and saved["steps_done"]:
                for (name, parameter), key in zip(_named(group), saved["params"], strict=False):
                    _check_mask(name, parameter, state_dict["state"].get(key, {}).get("mask"))
        super().load_state_dict(state_dict)
        for state in self.state.values():
            if "mask" in state:
                # Torch converts what it loads to the dtype of the parameter.
                state["mask"] = state["mask"].bool()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy needs."""
        return {**super().__getstate__(), "pattern": self.pattern}

    def _choose(self, parameter: Tensor, group: dict[str, Any], name: str) -> Tensor:
        return layer_mask(self.pattern, parameter.detach().abs(), transposed=group["transposed"], name=name)

    def _alike(self, group: dict[str, Any]) -> dict[tuple[int, torch.device, torch.dtype], list[Tensor]]:
        """Count a step of each parameter that has a gradient; return those together that one update can take."""
        found: dict[tuple[int, torch.device, torch.dtype], list[Tensor]] = {}
        for name, parameter in _named(group):
            if parameter.grad is None:
                continue
            if parameter.grad.is_sparse:
                raise ValueError(f"{name} must have a dense gradient; got a sparse one")
            state = self.state[parameter]
            if group["sparse"]:
                _check_mask(name, parameter, state.get("mask"), same_device=True)
            if "exp_avg" not in state:
                state["step"] = 0
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            state["step"] += 1
            found.setdefault((state["step"], parameter.device, parameter.dtype), []).append(parameter)
        return found

    def _update(self, group: dict[str, Any], count: int, parameters: list[Tensor]) -> None:
        """Move parameters that have had equally many gradients."""
        states = [self.state[parameter] for parameter in parameters]
        means, squares = [state["exp_avg"] for state in states], [state["exp_avg_sq"] for state in states]
        beta1, beta2 = group["betas"]
        torch._foreach_lerp_(
            means, [parameter.grad for parameter in parameters if parameter.grad is not None], 1 - beta1
        )
        directions = self._directions(group, parameters, means)
        # What is left is a step of Adam whose running mean and whose new gradient both are the direction: the mean of
        # the two is the direction again, and its squares are averaged.
        device = parameters[0].device
        adam(
            parameters,
            directions,
            directions,
            squares,
            max_exp_avg_sqs=[],
            state_steps=list(torch.full((len(parameters),), float(count - 1), device=device).unbind()),
            fused=device.type in ("cpu", "cuda") and _same_layout(parameters, means, squares),
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=float(group["lr"]),
            weight_decay=0.0,
            eps=group["eps"],
            maximize=False,
        )

    def _directions(self, group: dict[str, Any], parameters: list[Tensor], means: list[Tensor]) -> list[Tensor]:
        """Return ``mean + a (alpha sign(w) - mean)`` off the masks; on them the running means as they are."""
        part = min(1.0, group["steps_done"] / group["total_steps"])
        if not group["sparse"] or part == 0:
            return means
        directions = torch._foreach_sign(parameters)
        torch._foreach_mul_(directions, part * group["alpha"])
        torch._foreach_add_(directions, means, alpha=-part)
        # As integers of one byte: a choice between two tensors, or a product with booleans, takes several times longer.
        dropped = [self.state[parameter]["mask"].logical_not().view(torch.int8) for parameter in parameters]
        torch._foreach_mul_(directions, dropped)
        torch._foreach_add_(directions, means)
        return list(directions)


def _named(group: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters of a group, with the names that they were given or else their numbers."""
    names = group.get("param_names") or [f"parameter {index}" for index in range(len(group["params"]))]
    return zip(names, group["params"], strict=True)


def _sparse(group: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    return _named(group) if group["sparse"] else iter(())


def _check_whole(name: str, parameter: Tensor) -> None:
    """Raise unless a parameter is the whole weight of a layer, in numbers that hold small steps."""
    sharded = sys.modules.get("torch.distributed.tensor")
    if sharded is not None and isinstance(parameter, sharded.DTensor):
        raise ValueError(f"{name} must be a whole tensor; got a DTensor: the mask of a shard is not that of the weight")
    if parameter.ndim < 2:
        got = tuple(parameter.shape)
        raise ValueError(f"{name} must have the axes of its layer to be made sparse; got {got}, is it flattened?")
    if parameter.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"{name} must be float32 or float64 to be made sparse; got {parameter.dtype}, in which small steps are"
            " lost: keep a float32 copy and use autocast"
        )


def _same_layout(*lists: list[Tensor]) -> bool:
    """Return whether tensors lie in memory entry by entry alike: the fused kernel of CPUs reads them as they lie.

    A parameter that is a view with gaps, or one whose running means were loaded in another order, does not.
    """
    return all(len({tensor.stride() for tensor in together}) == 1 for together in zip(*lists, strict=True))


def _check_mask(name: str, parameter: Tensor, mask: Tensor | None, *, same_device: bool = False) -> None:
    if mask is None or mask.shape != parameter.shape:
        got = "none" if mask is None else f"one of {tuple(mask.shape)}"
        raise ValueError(f"{name} must have a mask of its shape {tuple(parameter.shape)}; got {got}")
    if same_device and mask.device != parameter.device:
        raise ValueError(f"{name} must lie with its mask on {mask.device}; got {parameter.device}")
