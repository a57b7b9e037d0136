"""What computing takes of a device's memory, and what is left of it: above all what autograd holds for the backward
pass. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..memory import available

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .victim import Victim

PASSING = 1.4  # 512 images of which a ViT held 224 MB took 307 MB; the rest is there for a moment
MOMENTS = 3  # of each trained weight there are, beside it, its gradient and what the optimizer knows of it
FEW = 2  # images that are encoded to see what one holds


@contextmanager
def counted(weights: Iterable[Tensor]) -> Iterator[Count]:
    """Counts what is held of all that is computed inside, beside these weights."""
    from torch.autograd.graph import saved_tensors_hooks

    held = Count({weight.untyped_storage().data_ptr() for weight in weights})
    with saved_tensors_hooks(held.pack, held.unpack):
        yield held


def bytes_of_step(victim: Victim, images: int, *, side: int, parts: int = 1) -> float:
    """About how many bytes of a device a step on so many images takes, beside weights that are there: the gradients and
    moments of what is trained, divided among `parts` devices, and what is held of the image encoder."""
    import torch

    with counted(victim.parameters()) as held:
        victim.encode_images(torch.zeros(FEW, 3, side, side, device=victim.device))
    trained = sum(weight.nbytes for weight in victim.parameters() if weight.requires_grad)
    return float(MOMENTS * trained / parts + PASSING * images * held.most / FEW)


class Count:
    """Bytes of the different pieces of memory that are held at a time; the weights are there anyway."""

    def __init__(self, weights: set[int]) -> None:
        self._weights, self._times, self.now, self.most = weights, dict[int, int](), 0, 0

    def pack(self, tensor: Tensor) -> Any:
        storage = tensor.untyped_storage()
        return tensor if storage.data_ptr() in self._weights else _Kept(self, tensor, storage)

    def unpack(self, kept: Any) -> Tensor:
        tensor: Tensor = kept.tensor if isinstance(kept, _Kept) else kept
        return tensor

    def add(self, place: int, size: int) -> None:
        self._times[place] = self._times.get(place, 0) + 1
        if self._times[place] == 1:
            self.now += size
            self.most = max(self.most, self.now)

    def remove(self, place: int, size: int) -> None:
        self._times[place] -= 1
        if self._times[place] == 0:
            self.now -= size


class _Kept:
    def __init__(self, count: Count, tensor: Tensor, storage: torch.UntypedStorage) -> None:
        self.count, self.tensor = count, tensor
        self.place = (storage.data_ptr(), storage.nbytes())
        count.add(*self.place)

    def __del__(self) -> None:
        self.count.remove(*self.place)


def free_memory(device: torch.device) -> float:
    """Bytes that are left, of an accelerator or of the machine."""
    if device.type == "cuda":
        import torch

        return float(torch.cuda.mem_get_info(device)[0])
    return float(available())
