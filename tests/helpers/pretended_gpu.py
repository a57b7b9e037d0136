"""A GPU that is pretended: the CPU holds and computes its tensors, which say that they lie on "cuda".

What a GPU would refuse is refused: an operation on tensors of both devices, or one without a kernel that gives the same
bits every time. What a program would wait for is told:
numbers that it asks a tensor for, indices that depend on values, and copies between the devices. So it is tested
without a GPU that everything lies where it should, and comes out as on the CPU; not how quick anything is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _device
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device("cuda", 0)
DRIVER: dict[str, Callable[..., Any]] = {
    "_lazy_init": lambda: None,
    "synchronize": lambda *device: None,
    "reset_peak_memory_stats": lambda *device: None,
    "max_memory_allocated": lambda *device: 0,
    "mem_get_info": lambda *device: (2**40, 2**40),
    "get_device_name": lambda *device: "pretended",
    "get_device_capability": lambda *device: (9, 0),
}
ASKED = ("aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::is_nonzero")
INDEXED = ("aten::index.Tensor", "aten::index_put_", "aten::_index_put_impl_")  # indices may lie on the CPU
CHANCE = re.compile(  # as torch.use_deterministic_algorithms lists them
    r"aten::_?(adaptive_(avg|max)_pool\dd_backward|avg_pool3d_backward|fractional_max_pool|max_unpool|put_$|histc"
    r"|upsample_(linear|bilinear|bicubic|trilinear)\w*_backward|reflection_pad\dd_backward|nll_loss2d|ctc_loss"
    r"|median\.dim|grid_sampler_\dd_backward)"
)
told: list[Callable[[str], None]] = []


class OnGpu(Tensor):
    """A tensor whose values lie in `inner`, on the CPU."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnGpu:
        made: OnGpu = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            layout=inner.layout, device="meta",
        )  # fmt: skip
        made.inner = inner
        return made

    device = property(lambda self: GPU)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_meta = property(lambda self: False)  # type: ignore[assignment]
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def __repr__(self, **options: Any) -> str:  # type: ignore[override]
        return f"OnGpu({self.inner!r})"

    def tolist(self) -> Any:
        _tell("tolist")
        return self.inner.tolist()

    def numpy(self, **options: Any) -> Any:
        raise TypeError("a GPU's tensor is no array")

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


class _Dispatch(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


class _Built(TorchFunctionMode):
    """Tensors that are built of numbers; and indices, which torch builds of lists."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is Tensor.__getitem__ and isinstance(args[0], OnGpu):
            key = args[1]
            return func(args[0], torch.tensor(key).to(GPU) if isinstance(key, list) else key)
        if func is Tensor.new_tensor and isinstance(args[0], OnGpu):
            own, *args = args
            func, kwargs = torch.tensor, {"dtype": own.dtype, "device": GPU, **kwargs}
        if func not in (torch.tensor, torch.as_tensor) or torch.device(kwargs.get("device") or "cpu").type != "cuda":
            return func(*args, **kwargs)
        return func(*args, **{**kwargs, "device": "cpu"}).to(GPU)


@contextmanager
def pretended_gpu() -> Iterator[list[str]]:
    """Inside, tensors can be brought to the device GPU. Gives what a program has waited for, an entry each time."""
    waits: list[str] = []
    with ExitStack() as stack:
        for name, function in DRIVER.items():
            stack.enter_context(patch.object(torch.cuda, name, function))
        told.append(waits.append)
        stack.callback(told.pop)
        stack.enter_context(_Dispatch())
        stack.enter_context(_Built())
        yield waits


def _tell(what: str) -> None:
    for tell in told:
        tell(what)


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What an operation gives, on the device where it would be."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    own = [tensor for tensor in tensors if isinstance(tensor, OnGpu)]
    asked, name = kwargs.get("device"), func.name()
    if not own and not _is_gpu(asked):
        return func(*args, **kwargs)
    there = _is_gpu(asked) if asked is not None else name != "aten::copy_" or isinstance(tensors[0], OnGpu)
    if name in ("aten::_to_copy", "aten::copy_"):
        if (len(own) == 1) if name == "aten::copy_" else bool(own) != there:
            _tell("copy")
    else:
        _check(name, tensors)
    plain_args, plain = tree_map(lambda leaf: leaf.inner if isinstance(leaf, OnGpu) else leaf, (args, kwargs))
    if asked is not None:
        plain["device"] = torch.device("cpu")
    if not there:
        return func(*plain_args, **plain)

    def on_gpu(leaf: Any) -> Any:
        same = (tensor for tensor in own if tensor.inner is leaf)  # of an operation in place
        return next(same, OnGpu(leaf)) if isinstance(leaf, Tensor) else leaf

    return tree_map(on_gpu, func(*plain_args, **plain))


def _is_gpu(asked: Any) -> bool:
    """Whether a device is this one. To torch's own code that of these tensors is "meta"; but one may ask for that."""
    kind = asked and torch.device(asked).type
    return kind == "cuda" or (kind == "meta" and _device.CURRENT_DEVICE is None)


def _check(name: str, tensors: list[Tensor]) -> None:
    """Tell of an operation that is waited for. Raises RuntimeError for one on tensors of both devices, or of chance."""
    if CHANCE.match(name):
        raise RuntimeError(f"{name} gives other bits every time on a GPU")
    others = [tensor for tensor in tensors if not isinstance(tensor, OnGpu) and tensor.dim()]
    if name in INDEXED and isinstance(tensors[0], OnGpu):
        if others or any(tensor.dtype == torch.bool for tensor in tensors[1:]):
            _tell("index")
    elif others and any(isinstance(tensor, OnGpu) for tensor in tensors):
        raise RuntimeError(f"{name} of tensors of two devices, of the shapes {[tuple(one.shape) for one in tensors]}")
    elif name in ASKED:
        _tell(name)
