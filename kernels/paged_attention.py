"""Attention over a paged KV cache: its format, a plain-torch reference, and the dispatcher.

The formats, of one layer:

============== ============================================ ========================================
k_cache        fp32, fp16, bf16 [pages, page_size, K, D]    K heads of keys; D is any size
v_cache        the same type [pages, page_size, K, Dv]      Dv may differ from D
page_table     int32 [B, P]                                 the pages of each sequence, in order
query_starts   int32 [B + 1]                                sequence b has the query rows from
                                                            ``query_starts[b]`` up to the next one's
context_lens   int32 [B]                                    keys of a sequence, those of its query
                                                            rows included
query, output  [T, H, D], [T, H, Dv]                        H is a multiple of K: query head h reads
                                                            head h // (H / K) of the cache
============== ============================================ ========================================

Position i of a sequence lies in page ``page_table[b, i // page_size]``, row ``i % page_size``. Row
j of the n query rows of a sequence is at position ``context_len - n + j`` and sees the keys up to
its own, which must be in the cache already; with a ``window``, those at positions greater than its
own less the window. No other key, and no entry of the page table without such a key, has any
influence: both may hold anything.

A sequence with ``context_len`` 0 is padding: its rows are zero. Otherwise ``context_len`` is at
least the number of its query rows. Rows from ``query_starts[B]`` on belong to no sequence, and
their output is undefined.

Scores are ``scale * q . k``; with a ``softcap``, ``softcap * tanh(score / softcap)``, as in Gemma
2. ``sinks``, floats [H], are one more score of each head, which takes its share of the softmax and
has no value, as in gpt-oss. The softmax is computed in fp32.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F

from structgen.kernels.layout import launches
from structgen.kernels.paged_decode import DecodeWorkspace, paged_decode
from structgen.kernels.paged_prefill import paged_prefill


def paged_attention(
    query: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    page_table: torch.Tensor,
    query_starts: torch.Tensor,
    context_lens: torch.Tensor,
    *,
    max_query: int,
    scale: float,
    window: int = 0,
    softcap: float = 0.0,
    sinks: torch.Tensor | None = None,
    workspace: DecodeWorkspace | None = None,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attention of packed query rows over the paged cache of one layer.

    Formats and semantics are those of this module. Where kernels run there is no host
    synchronisation, and a CUDA graph may capture the call.

    Args:
        max_query: at least the query rows of any sequence. 1, with as many rows as sequences, says
            that row b is the one of sequence b.
        window: 0 for none.
        softcap: 0.0 for none.
        workspace: what :func:`~structgen.kernels.paged_decode.paged_decode` keeps between its
            programs; without one it is allocated by each call that decodes.
        out: [T, H, Dv], contiguous in the last axis, written and returned; allocated if not given.

    Raises:
        ValueError: shapes, types or strides do not go together.
    """
    _check(query, k_cache, v_cache, page_table, query_starts, context_lens)
    if not launches(query):
        found = paged_attention_reference(
            query, k_cache, v_cache, page_table, query_starts, context_lens,
            scale=scale, window=window, softcap=softcap, sinks=sinks,
        )  # fmt: skip
        return found if out is None else out.copy_(found)
    if out is None:
        out = query.new_empty((*query.shape[:2], v_cache.shape[3]))
    if max_query == 1 and len(query) == len(context_lens):
        if workspace is None:
            workspace = DecodeWorkspace.allocate(
                len(query), query.shape[1], k_cache.shape[2], v_cache.shape[3],
                max_context=page_table.shape[1] * k_cache.shape[1], device=query.device,
            )  # fmt: skip
        return paged_decode(
            query, k_cache, v_cache, page_table, context_lens, out=out, workspace=workspace,
            scale=scale, window=window, softcap=softcap, sinks=sinks,
        )  # fmt: skip
    return paged_prefill(
        query, k_cache, v_cache, page_table, query_starts, context_lens, out=out,
        max_query=max_query, scale=scale, window=window, softcap=softcap, sinks=sinks,
    )  # fmt: skip


def _check(
    query: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    page_table: torch.Tensor,
    query_starts: torch.Tensor,
    context_lens: torch.Tensor,
) -> None:
    batch = len(context_lens)
    if query.dtype != k_cache.dtype or query.dtype != v_cache.dtype:
        raise ValueError(
            f"queries of {query.dtype} over keys of {k_cache.dtype} and values of {v_cache.dtype}:"
            " the three must be of one type"
        )
    if k_cache.shape[:3] != v_cache.shape[:3] or query.shape[2] != k_cache.shape[3]:
        raise ValueError(
            f"queries {list(query.shape)}, keys {list(k_cache.shape)}, values"
            f" {list(v_cache.shape)}: [T, H, D], [pages, page_size, K, D] and"
            " [pages, page_size, K, Dv] go together"
        )
    if query.shape[1] % k_cache.shape[2]:
        raise ValueError(
            f"{query.shape[1]} query heads are no multiple of {k_cache.shape[2]} heads of keys"
        )
    if len(page_table) != batch or len(query_starts) != batch + 1:
        raise ValueError(
            f"{batch} context_lens need as many rows of page_table and one more of query_starts,"
            f" not {len(page_table)} and {len(query_starts)}"
        )
    if any(t.stride(-1) != 1 for t in (query, k_cache, v_cache, page_table)):
        raise ValueError("queries, keys, values and page_table must be contiguous in the last axis")


def paged_attention_reference(
    query: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    page_table: torch.Tensor,
    query_starts: torch.Tensor,
    context_lens: torch.Tensor,
    *,
    scale: float,
    window: int = 0,
    softcap: float = 0.0,
    sinks: torch.Tensor | None = None,
) -> torch.Tensor:
    """:func:`paged_attention` in plain torch, which is also what runs without a GPU.

    The sequences with one query row are computed together, the others one after the other. Rows of
    no sequence are zero. On a GPU it waits for the device.
    """
    out = query.new_zeros((*query.shape[:2], v_cache.shape[3]))
    starts, contexts = query_starts.tolist(), context_lens.tolist()
    n_rows = [end - start for start, end in pairwise(starts)]
    attend = partial(_attend, scale=scale, softcap=softcap, sinks=sinks)

    single = [b for b, n in enumerate(n_rows) if n == 1 and contexts[b]]
    if single:
        rows = torch.tensor([starts[b] for b in single], device=query.device)
        chosen = torch.tensor(single, device=query.device)
        length = context_lens[chosen].long()[:, None]
        longest = max(contexts[b] for b in single)
        first = max(0, min(contexts[b] for b in single) - window) if window else 0
        position = torch.arange(first, longest, device=query.device)[None, :]
        seen = position < length
        if window:
            seen &= position >= length - window
        # What is not seen is replaced by the row's own key: its place may hold NaN, or not exist.
        token = _tokens(
            k_cache, page_table, chosen[:, None], torch.where(seen, position, length - 1)
        )
        found = attend(
            query[rows][:, None], _gather(k_cache, token), _gather(v_cache, token),
            None if bool(seen.all()) else seen[:, None, :],
        )  # fmt: skip
        out[rows] = found[:, 0]

    for b, n in enumerate(n_rows):
        if n <= 1 or not contexts[b]:
            continue
        rows_of_b = slice(starts[b], starts[b + 1])
        context = contexts[b]
        first = max(0, context - n + 1 - window) if window else 0
        position = torch.arange(first, context, device=query.device)
        own = torch.arange(context - n, context, device=query.device)[:, None]
        seen = position <= own
        if window:
            seen &= position > own - window
        token = _tokens(k_cache, page_table, torch.full_like(position, b), position)[None]
        out[rows_of_b] = attend(
            query[None, rows_of_b], _gather(k_cache, token), _gather(v_cache, token),
            "causal" if n == context and not window else seen[None],
        )[0]  # fmt: skip
    return out


def _tokens(
    cache: torch.Tensor, page_table: torch.Tensor, sequence: torch.Tensor, position: torch.Tensor
) -> torch.Tensor:
    """Where positions of sequences lie in a cache whose pages are laid end to end."""
    page_size = cache.shape[1]
    return page_table[sequence, position // page_size].long() * page_size + position % page_size


def _gather(cache: torch.Tensor, token: torch.Tensor) -> torch.Tensor:
    """What lies there; indexing with a tensor of indices is far slower than index_select."""
    return cache.flatten(0, 1).index_select(0, token.flatten()).unflatten(0, token.shape)


def _attend(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    seen: torch.Tensor | str | None,
    *,
    scale: float,
    softcap: float,
    sinks: torch.Tensor | None,
) -> torch.Tensor:
    """Attention over dense keys.

    Args:
        query: [B, n, H, D].
        keys, values: [B, N, K, D] and [B, N, K, Dv].
        seen: bool [B, n, N], "causal" (where n = N), or None where every row sees every key.

    Returns:
        [B, n, H, Dv].
    """
    batch, n, heads, _ = query.shape
    n_keys, kv_heads = keys.shape[1:3]
    group = heads // kv_heads
    if softcap == 0.0 and sinks is None and group > 1 and n == 1:
        # The query heads that share a head of keys are rows over the same keys.
        rows = query.view(batch, kv_heads, group, -1)
        mask = None if seen is None or isinstance(seen, str) else seen[:, None]
        found = F.scaled_dot_product_attention(
            rows, keys.transpose(1, 2), values.transpose(1, 2), attn_mask=mask, scale=scale
        )
        return found.reshape(batch, 1, heads, -1)
    query = query.transpose(1, 2)
    keys = keys.transpose(1, 2).repeat_interleave(group, 1)
    values = values.transpose(1, 2).repeat_interleave(group, 1)
    causal = isinstance(seen, str)
    mask = None if seen is None or isinstance(seen, str) else seen[:, None]
    if softcap == 0.0 and sinks is None:
        return F.scaled_dot_product_attention(
            query, keys, values, attn_mask=mask, is_causal=causal, scale=scale
        ).transpose(1, 2)
    scores = query.float() @ keys.float().transpose(2, 3) * scale
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    if causal:
        mask = torch.ones((n, n_keys), dtype=torch.bool, device=scores.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    if sinks is not None:
        sink = sinks.float().view(1, heads, 1, 1).expand(batch, heads, n, 1)
        scores = torch.cat([scores, sink], 3)
    shares = torch.softmax(scores, 3)[..., :n_keys]
    return (shares @ values.float()).to(query.dtype).transpose(1, 2)
