"""The LLM for event loops: what it says, and what it leaves behind when nobody listens any more."""

from __future__ import annotations

import asyncio

import pytest

from structgen.engine import AsyncLLM, Output
from structgen.errors import StructgenError

GREEDY = {"temperature": 0, "max_tokens": 20}


def test_it_says_what_the_llm_says(llm):
    async def run():
        served = AsyncLLM(llm)
        many = await asyncio.gather(*(served.generate(p, **GREEDY) for p in ("the cat", "a")))
        events = [event async for event in served.stream("the cat", choice=["yes", "no"], seed=1)]
        return many, events

    many, events = asyncio.run(run())
    assert [outputs[0] for outputs in many] == llm.generate(["the cat", "a"], **GREEDY)
    assert isinstance(events[-1], Output)
    assert events[-1].parsed == "".join(events[:-1]) in ("yes", "no")


def test_a_bad_argument_raises_before_anything_runs(llm):
    async def run():
        with pytest.raises(StructgenError, match="temperature"):
            await AsyncLLM(llm).generate("a", temperature=-1)
        with pytest.raises(StructgenError, match="stream takes one prompt"):
            async for _ in AsyncLLM(llm).stream(["a", "b"]):
                pass

    asyncio.run(run())


@pytest.mark.parametrize("how", ["generate", "stream"])
def test_cancelling_stops_the_requests(llm, how):
    before = llm.metrics().cancelled

    async def run():
        served = AsyncLLM(llm)
        if how == "generate":
            task = asyncio.create_task(served.generate("the cat", n=3, max_tokens=120, seed=0,
                                                       ignore_eos=True))  # fmt: skip
            while served.metrics().running < 3:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            stream = served.stream("the cat", max_tokens=120, ignore_eos=True)
            await anext(stream)
            await stream.aclose()
        while served.metrics().running:
            await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(run(), 30))
    assert llm.metrics().cancelled == before + (3 if how == "generate" else 1)
