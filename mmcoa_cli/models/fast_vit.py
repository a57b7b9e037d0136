"""open_clip's vision transformer, quicker: the same modules and weights, with other ways to compute the same numbers.

Every class has the name of the one that it stands for, so that a configuration of Accelerate that names the blocks to
be wrapped finds them, and each is called as before: hooks, DDP and FSDP work module by module. What is not built as
`quicken` expects stays as it is.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from open_clip import transformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def quicken(tower: Any) -> None:
    """Have an image encoder compute what it computed, up to rounding, in less time; of another kind it stays."""
    if type(tower) is not transformer.VisionTransformer:
        return
    blocks = list(tower.transformer.resblocks)
    for block in blocks:
        if type(block) is transformer.ResidualAttentionBlock and _is_plain_attention(block.attn):
            block.attn.__class__ = MultiheadAttention
    if _cuts_patches(tower.conv1):
        tower.conv1.__class__ = Conv2d
    if blocks and _takes_the_class_token(tower):
        blocks[-1].__class__ = ResidualAttentionBlock
        tower.__class__ = VisionTransformer


def patch_of(tower: Any) -> int | None:
    """The side of the patches of an encoder that takes images of other sizes, too; None of one that does not."""
    return tower.conv1.kernel_size[0] if isinstance(tower, VisionTransformer) else None


def resize_matrix(size: int, side: int, *, device: torch.device) -> Tensor:
    """torch's bicubic resize of `side` values as a matrix (size, side): unlike `interpolate` its gradient on a GPU adds
    in a fixed order, so that an attack comes out the same every time."""
    unit = torch.eye(side, device=device)[None, None]
    return F.interpolate(unit, (size, side), mode="bicubic", align_corners=False, antialias=side > size)[0, 0]


def _takes_the_class_token(tower: Any) -> bool:
    """Whether nothing but the first token leaves the last of its blocks, which are all of the plain kind."""
    if not hasattr(tower, "_embeds") or not hasattr(tower, "_pool"):  # before open_clip 2.31
        return False
    plain = all(type(block) is transformer.ResidualAttentionBlock for block in tower.transformer.resblocks)
    stacked = type(tower.transformer) is transformer.Transformer and tower.transformer.batch_first
    return bool(plain and stacked and tower.attn_pool is None and tower.pool_type == "tok" and not tower.output_tokens)


def _is_plain_attention(attention: Any) -> bool:
    """Whether it is one linear layer for queries, keys and values, all of one width, and one behind it."""
    one_width = type(attention) is nn.MultiheadAttention and attention.in_proj_weight is not None
    added = one_width and (attention.bias_k is not None or attention.add_zero_attn or attention.dropout > 0)
    return bool(one_width and not added and attention.batch_first and attention.in_proj_bias is not None)


def _cuts_patches(layer: Any) -> bool:
    """Whether a convolution looks at squares that neither overlap nor leave a gap."""
    squares = type(layer) is nn.Conv2d and layer.kernel_size == layer.stride == layer.kernel_size[::-1]
    return bool(squares and layer.padding == (0, 0) and layer.dilation == (1, 1) and layer.groups == 1)


class MultiheadAttention(nn.MultiheadAttention):
    """Attention as two matrix products around torch's kernel; torch's own module copies between them."""

    def forward(  # type: ignore[override]
        self, query: Tensor, key: Tensor, value: Tensor, **options: Any
    ) -> tuple[Tensor, Tensor | None]:
        """(B, L, D) or, where only some queries are asked for, (B, l, D), to keys that are the values too."""
        if key is not value or options.get("attn_mask") is not None or options.get("need_weights", True):
            return super().forward(query, key, value, **options)
        q, k, v = self._projected(query, key)
        x = F.scaled_dot_product_attention(q, k, v)
        return self.out_proj(x.transpose(1, 2).flatten(2)), None

    def _projected(self, query: Tensor, key: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values of each head, (B, heads, L, D / heads)."""
        width, weight, bias = self.embed_dim, self.in_proj_weight, self.in_proj_bias
        if query is key:
            # not the keys' bias: the softmax over keys is blind to it, and its gradient, which is 0, would be rounding,
            # of which Adam makes steps as large as any
            without = torch.cat((bias[:width], torch.zeros_like(bias[:width]), bias[2 * width :]))
            parts = F.linear(key, weight, without).chunk(3, dim=-1)
        else:
            q = F.linear(query, weight[:width], bias[:width])
            k, v = F.linear(key, weight[width : 2 * width]), F.linear(key, weight[2 * width :], bias[2 * width :])
            parts = (q, k, v)
        return tuple(part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in parts)


class Conv2d(nn.Conv2d):
    """The patches of an image through a linear layer, (B, D, rows, columns): one matrix product."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, 3, H, W); of a size that squares do not fill as torch computes it."""
        side, (height, width) = self.kernel_size[0], input.shape[-2:]
        if height % side or width % side:
            return super().forward(input)
        grid = (height // side, width // side)
        patches = input.unflatten(3, (-1, side)).unflatten(2, (-1, side))  # (B, 3, rows, side, columns, side)
        flat = patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        found: Tensor = F.linear(flat, self.weight.flatten(1), self.bias).transpose(1, 2).unflatten(2, grid)
        return found


class ResidualAttentionBlock(transformer.ResidualAttentionBlock):  # type: ignore[misc]
    """A block that may be asked for some of its tokens only: `q_x`, of `k_x`, which are all."""

    def forward(
        self, q_x: Tensor, k_x: Tensor | None = None, v_x: Tensor | None = None, attn_mask: Tensor | None = None
    ) -> Tensor:
        """(B, L, D), or of l tokens (B, l, D)."""
        if k_x is None:
            found: Tensor = super().forward(q_x, attn_mask=attn_mask)
            return found
        every = self.ln_1(k_x)
        x: Tensor = q_x + self.ls_1(self.attention(self.ln_1(q_x), every, every))
        x = x + self.ls_2(self.mlp(self.ln_2(x)))
        return x


class VisionTransformer(transformer.VisionTransformer):  # type: ignore[misc]
    """The encoder, which of its last block takes the class token alone: nothing else of it is looked at."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, D), of any S that patches fill: the position embedding is resized to their number."""
        x = self._embeds(x)
        *blocks, last = self.transformer.resblocks
        for block in blocks:
            x = self._through(block, x)
        pooled, _ = self._pool(self._through(last, x[:, :1], x))
        features: Tensor = pooled if self.proj is None else pooled @ self.proj
        return features

    def _embeds(self, x: Tensor) -> Tensor:
        patches = self.conv1(x)
        grid, own = patches.shape[-2:], self.grid_size
        if grid == own:
            found: Tensor = super()._embeds(x)
            return found
        places = self.positional_embedding[1:].unflatten(0, own)
        rows, columns = (resize_matrix(n, of, device=x.device) for n, of in zip(grid, own, strict=True))
        places = torch.einsum("ri,cj,ijd->rcd", rows, columns, places.float()).flatten(0, 1)
        tokens = patches.flatten(2).transpose(1, 2) + places.to(patches.dtype)
        first = (self.class_embedding + self.positional_embedding[0]).to(tokens.dtype).expand(len(x), 1, -1)
        embedded: Tensor = self.ln_pre(self.patch_dropout(torch.cat([first, tokens], dim=1)))
        return embedded

    def _through(self, block: nn.Module, *tokens: Tensor) -> Tensor:
        if self.transformer.grad_checkpointing:
            return checkpoint(block, *tokens, use_reentrant=False)  # type: ignore[no-any-return]
        return block(*tokens)  # type: ignore[no-any-return]
