"""The pickle inside a PyTorch file, read without building anything but dictionaries, lists, numbers, text and tensors.

An object of any other class becomes an `Inert`, which remembers what it was given and does nothing. So what lies beside
the weights (NumPy scalars, an `argparse.Namespace`, a schedule of the learning rate) is passed over, and runs nothing.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from .tensors import NotWeights, Weight, sizes

MAX_STEPS, MAX_BYTES = 1_000_000, 2**26  # of a pickle; the largest CLIP with its optimizer takes a quarter
STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}  # fmt: skip
DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in STORAGES.values()}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_EMPTY = {"EMPTY_LIST": list, "EMPTY_SET": list, "EMPTY_DICT": dict}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip


@dataclass(frozen=True)
class Named:
    """A class or function that a pickle names."""

    module: str
    name: str


@dataclass(eq=False)
class Inert:
    """Stands for an object of a class that is not built. `state` is what the pickle would have set in it."""

    kind: str = "?"
    state: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Storage:
    """The numbers behind tensors: `count` of a type, under a key by which the file has them."""

    key: str
    dtype: torch.dtype
    count: int


Read = Callable[[Storage, int, torch.dtype, tuple[int, ...], tuple[int, ...]], torch.Tensor]


class PlainUnpickler:
    """Reads one pickle from `source` (with `read` and `readline`); `read` gives the numbers of a tensor.

    `kinds` are the classes that the pickle asked for, `storages` what its tensors lie in.
    """

    def __init__(self, source: Any, *, read: Read) -> None:
        self.source, self.read = _Bounded(source), read
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks below a mark
        self.memo: dict[int, Any] = {}
        self.kinds: set[str] = set()
        self.storages: dict[str, Storage] = {}

    def load(self) -> Any:
        """The object. Raises NotWeights for a pickle that is damaged, or far longer than one of weights."""
        try:
            for number, (step, value, _) in enumerate(pickletools.genops(self.source)):  # type: ignore[arg-type]
                if number > MAX_STEPS:
                    raise NotWeights("it holds far more than weights")
                if step.name == "STOP":
                    return self.stack.pop()
                self._take(step.name, value)
        except (LookupError, TypeError, ValueError, AttributeError, MemoryError) as error:
            raise NotWeights(f"it is damaged: {str(error)[:100] or type(error).__name__}") from error
        raise NotWeights("it is cut off")

    def _take(self, step: str, value: Any) -> None:
        if step in _VALUES or step in _CONSTANTS:
            self.stack.append(_CONSTANTS.get(step, value))
        elif step in _EMPTY:
            self.stack.append(_EMPTY[step]())
        elif step in _TUPLES:
            self.stack[-_TUPLES[step] :] = [tuple(self.stack[-_TUPLES[step] :])]
        elif step.endswith("GET"):
            self.stack.append(self.memo[int(value)])
        elif step.endswith("PUT") or step == "MEMOIZE":
            self.memo[len(self.memo) if value is None else int(value)] = self.stack[-1]
        elif step in ("PROTO", "FRAME"):
            pass
        else:
            steps = getattr(self, f"_{step.lower()}", None)
            if steps is None:
                raise NotWeights("it is no file that torch.save wrote")
            steps() if value is None else steps(value)

    def _mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def _above_mark(self) -> list[Any]:
        above, self.stack = self.stack, self.below.pop()
        return above

    def _pop(self) -> None:
        self.stack.pop() if self.stack else self._above_mark()

    def _pop_mark(self) -> None:
        self._above_mark()

    def _dup(self) -> None:
        self.stack.append(self.stack[-1])

    def _list(self) -> None:
        above = self._above_mark()
        self.stack.append(above)

    _frozenset = _list

    def _append(self) -> None:
        self._extend([self.stack.pop()])

    def _appends(self) -> None:
        self._extend(self._above_mark())

    _additems = _appends

    def _extend(self, values: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)

    def _tuple(self) -> None:
        above = self._above_mark()
        self.stack.append(tuple(above))

    def _dict(self) -> None:
        items = self._above_mark()
        self.stack.append({})
        self._update(items)

    def _setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([key, value])

    def _setitems(self) -> None:
        self._update(self._above_mark())

    def _update(self, items: list[Any]) -> None:
        """Keys that are no text or number are left out: the hash of nested tuples can take for ever."""
        target: Any = self.stack[-1].state if isinstance(self.stack[-1], Inert) else self.stack[-1]
        if isinstance(target, dict):
            pairs = zip(items[::2], items[1::2], strict=False)
            target.update((key, value) for key, value in pairs if isinstance(key, (str, int)))

    def _global(self, name: str) -> None:
        self.stack.append(Named(*name.split(" ", 1)))

    def _stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise TypeError("a class without a name")
        self.stack.append(Named(module, name))

    def _reduce(self) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        self.stack.append(self._built(function, args))

    _newobj = _reduce

    def _newobj_ex(self) -> None:
        self.stack.pop()
        self._reduce()

    def _inst(self, name: str) -> None:
        self._above_mark()
        self.stack.append(self._built(Named(*name.split(" ", 1)), ()))

    def _obj(self) -> None:
        kind, *args = self._above_mark()
        self.stack.append(self._built(kind, tuple(args)))

    def _build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(state, tuple) and state and isinstance(state[0], dict):
            state = state[0]
        if isinstance(target, Inert) and isinstance(state, dict):
            target.state.update(state)

    def _persid(self, value: object) -> None:
        self.stack.append(Inert())

    def _binpersid(self) -> None:
        """How PyTorch writes the storage of a tensor: ("storage", type, key, device, count)."""
        persistent = self.stack.pop()
        if not (isinstance(persistent, tuple) and len(persistent) >= 5 and isinstance(persistent[1], Named)):
            self.stack.append(Inert())
            return
        _, kind, key, _, count, *view = persistent
        if kind.name not in STORAGES:
            raise NotWeights(f"it has numbers of the type {kind.name[:40]}, and only plain numbers are taken")
        if not isinstance(key, str) or any(part is not None for part in view):
            raise NotWeights("it was written by a PyTorch of before 0.4")
        storage = Storage(key, STORAGES[kind.name], *sizes([count]))
        if self.storages.setdefault(key, storage) != storage:
            raise NotWeights("it says two things of the same numbers")
        self.stack.append(storage)

    def _built(self, kind: Any, args: Any) -> Any:
        """What calling `kind` would give: a tensor, a dictionary, or something inert."""
        if not isinstance(kind, Named) or not isinstance(args, tuple):
            return Inert()
        if kind.module in ("torch._utils", "torch._tensor"):
            return self._rebuilt(kind.name, args)
        if kind in (Named("collections", "OrderedDict"), Named("collections", "defaultdict")):
            return {}
        self.kinds.add(f"{kind.module}.{kind.name}"[:200])
        return Inert(kind.name)

    def _rebuilt(self, name: str, args: tuple[Any, ...]) -> Any:
        """A tensor or parameter, by the function with which PyTorch would rebuild it."""
        if name == "_rebuild_tensor_v2":
            return self._weight(*args[:4])
        if name == "_rebuild_tensor_v3":
            storage, offset, size, stride = args[:4]
            return self._weight(storage, offset, size, stride, DTYPES.get(getattr(args[6], "name", "")))
        if name in ("_rebuild_parameter", "_rebuild_parameter_with_state"):
            return args[0]
        if name == "_rebuild_from_type_v2" and args[0] != Named("torch._tensor", name):
            return self._built(args[0], args[2])
        return Inert(name)

    def _weight(self, storage: Any, offset: Any, size: Any, stride: Any, dtype: torch.dtype | None = None) -> Any:
        if not isinstance(storage, Storage):
            return Inert()
        kind = dtype or storage.dtype
        shape, steps, (start,) = sizes(size), sizes(stride), sizes([offset])
        count, held = math.prod(shape), storage.count * storage.dtype.itemsize // kind.itemsize
        last = start + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
        if count > held or (count and last >= held):
            raise NotWeights(f"it has a tensor of {count:,} numbers, of which the file holds {held:,}")
        return Weight(shape, kind, lambda: self.read(storage, start, kind, shape, steps))


class _Bounded:
    """Gives MAX_BYTES of a file, and no more."""

    def __init__(self, source: Any) -> None:
        self.source, self.left = source, MAX_BYTES

    def read(self, count: int) -> bytes:
        return self._counted(bytes(self.source.read(min(count, self.left + 1))))

    def readline(self) -> bytes:
        return self._counted(bytes(self.source.readline()))

    def _counted(self, data: bytes) -> bytes:
        self.left -= len(data)
        if self.left < 0:
            raise NotWeights("it holds far more than weights")
        return data
