"""What a hostile caller, a full machine or a fault at the wrong moment may not do to others."""

from __future__ import annotations

import gc
import random
import threading
import time

import pytest
import torch
from tiny_model import CONTEXT, tiny_model, tiny_tokenizer

from structgen.engine import LLM, EngineConfig, Output, SamplingParams, assembly
from structgen.engine.device_sampler import DeviceSampler
from structgen.engine.handle import Handle
from structgen.errors import StructgenError


def small(**settings) -> LLM:
    settings = {"max_batch_size": 3, "verify": True, "page_size": 4} | settings
    return LLM(tiny_model(), tokenizer=tiny_tokenizer(), **settings)


def submit(llm: LLM, prompt: str = "the cat", **options) -> Handle:
    options = {"max_tokens": 100, "ignore_eos": True, "temperature": 0} | options
    [handle] = llm.submit(llm.read(prompt, **options))
    return handle


def result(handle: Handle) -> Output | StructgenError:
    """What comes of a request; fails where nothing does."""
    found: list[Output | StructgenError] = []

    def wait() -> None:
        try:
            found.append(handle.result())
        except StructgenError as error:
            found.append(error)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    thread.join(20)
    assert found, "nobody is told how the request ended"
    return found[0]


def until(holds) -> None:
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < 20
        time.sleep(0.002)


class Gate:
    """Lets the forwards of a model through one at a time."""

    def __init__(self, llm: LLM) -> None:
        self._model = llm._engine._runner.model
        self._forward = self._model.forward
        self._passes = threading.Semaphore(0)
        self._model.forward = self

    def __call__(self, *arguments):
        self._passes.acquire(timeout=20)
        return self._forward(*arguments)

    def open(self) -> None:
        self._passes.release(1000)


# -- arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        {"stop": 5},
        {"stop_token_ids": 5},
        {"temperature": 10**400},
        {"temperature": 1e300},
        {"max_tokens": -(10**5000)},
        {"top_k": -(10**5000)},
        {"logprobs": 10**5000},
        {"logit_bias": {10**5000: 1.0, -1: 2.0}},
    ],
)
def test_sampling_parameters_that_no_machine_holds(arguments):
    with pytest.raises(StructgenError, match=next(iter(arguments))):
        SamplingParams(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 10**5000}, "more requests than may wait"),
        ({"logit_bias": {10**6: 1.0}}, "logit_bias names token 1000000"),
        ({"stop_token_ids": [2**70]}, "stop_token_ids names token"),
        ({"prompts": [10**5000]}, "is not one of the model's"),
    ],
)
def test_arguments_that_the_model_does_not_hold(llm, arguments, message):
    with pytest.raises(StructgenError, match=message):
        llm.generate(**({"prompts": "a"} | arguments))


def test_top_k_beyond_the_vocabulary_keeps_all(llm):
    options = {"seed": 1, "temperature": 1.0, "max_tokens": 8}
    [found] = llm.generate("a", top_k=10**40, **options)
    assert found.error is None
    assert found.token_ids == llm.generate("a", **options)[0].token_ids


@pytest.mark.parametrize("value", ["8", 2.5, float("nan"), True, 1])
def test_max_length_is_a_number_of_tokens(value):
    with pytest.raises(StructgenError, match="max_length"):
        small(max_length=value)


@pytest.mark.parametrize("value", ["x", float("nan"), 0, None])
def test_memory_fraction_is_a_fraction(value):
    with pytest.raises(StructgenError, match="memory_fraction"):
        EngineConfig(memory_fraction=value)


@pytest.mark.parametrize(
    "settings", [{"kv_tokens": 10**15}, {"max_batch_size": 10**12}, {"page_size": 1 << 50}]
)
def test_an_engine_for_which_there_is_no_memory(settings):
    with pytest.raises(StructgenError, match=f"no memory for .*{next(iter(settings))}"):
        small(**settings)


# -- ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [0, 1])
def test_a_text_that_is_whole_at_its_last_token_has_stopped_on_the_device_too(monkeypatch, ahead):
    def sampler(batch, vocabulary, table, device):
        return DeviceSampler(batch, vocabulary, device)

    monkeypatch.setattr(assembly, "_sampler", sampler)
    llm = small(ahead=ahead)
    [chosen] = llm.generate("a", choice=["a", "b"], max_tokens=1)
    assert (chosen.finish_reason, chosen.parsed) == ("stop", chosen.text)
    [more] = llm.generate("a", regex="a{3,9}", max_tokens=3)
    assert (more.finish_reason, more.parsed) == ("length", None)  # it could go on
    options = {
        "schema": {"type": "array", "items": {"type": "boolean"}, "minItems": 2,
                   "uniqueItems": True}, "whitespace": "compact", "temperature": 0,
    }  # fmt: skip
    [whole] = llm.generate("a", **options)
    [unique] = llm.generate("a", max_tokens=len(whole.token_ids) - 1, **options)
    assert (unique.finish_reason, unique.parsed) == ("stop", whole.parsed)
    assert sorted(unique.parsed) == [False, True]
    llm.close()


def test_the_end_of_a_request_can_be_asked_for_again(llm):
    handle = submit(llm, max_tokens=3)
    assert result(handle) == result(handle)
    handle.cancel()
    assert isinstance(result(handle), Output)


def test_whoever_waits_for_a_cancelled_request_is_told(llm):
    handle = submit(llm)
    handle.cancel()
    assert "cancelled" in str(result(handle))


def test_a_stream_keeps_its_llm():
    *pieces, output = small().stream("the cat", max_tokens=20, temperature=0)
    gc.collect()
    assert "".join(pieces) == output.text


@pytest.mark.parametrize("how", ["close", "drop"])
def test_a_stream_that_nobody_began_ends_its_request(how):
    llm = small()
    gate = Gate(llm)
    stream = llm.stream("the cat", max_tokens=100, ignore_eos=True)
    if how == "close":
        stream.close()
    del stream
    gc.collect()
    gate.open()
    until(lambda: llm.metrics().cancelled == 1)
    llm.close()


# -- waiting -------------------------------------------------------------------------------------


def test_cancelled_requests_leave_the_queue_wherever_they_are():
    llm = small(max_batch_size=1, max_waiting=100)
    gate = Gate(llm)
    first = submit(llm)
    until(lambda: llm.metrics().running == 1)
    waiting = [submit(llm) for _ in range(100)]
    with pytest.raises(StructgenError, match="max_waiting"):
        submit(llm)
    for handle in waiting[1:]:
        handle.cancel()
    gate._passes.release(3)
    until(lambda: llm.metrics().cancelled == 99)
    assert llm.metrics().waiting == 1
    assert llm._engine.scheduler.waiting_tokens == waiting[0].sequence.length
    assert len(llm._engine.scheduler._waiting) < 99
    last = submit(llm)
    gate.open()
    texts = {result(handle).text for handle in (first, waiting[0], last)}
    assert len(texts) == 1
    llm.close()


def test_what_a_prompt_computed_itself_is_not_found_in_the_cache():
    llm = small(max_step_tokens=16)
    llm.generate([5] * 100, max_tokens=1)
    assert (llm.metrics().prefix_lookups, llm.metrics().prefix_hits) == (100, 0)
    llm.generate([5] * 100, max_tokens=1)
    assert (llm.metrics().prefix_lookups, llm.metrics().prefix_hits) == (200, 99)
    llm.close()


def test_what_others_compute_meanwhile_is_found_in_the_cache():
    llm = small(max_step_tokens=16)
    llm.generate([[5] * 100] * 2, max_tokens=1)
    m = llm.metrics()
    assert m.prefix_lookups == 200
    assert m.prompt_tokens + m.prefix_hits == 200
    assert m.prefix_hits > 0
    llm.close()


# -- faults --------------------------------------------------------------------------------------

FAULTS = ["forward", "step", "join", "begin", "leave", "pages", "admit", "serve"]


@pytest.mark.parametrize("kind", [RuntimeError, torch.cuda.OutOfMemoryError])
@pytest.mark.parametrize("where", FAULTS)
@pytest.mark.parametrize("ahead", [0, 1])
def test_faults_at_any_moment(where, kind, ahead):
    llm = small(ahead=ahead, kv_tokens=60, max_step_tokens=7, admission="aggressive", verify=False)
    engine = llm._engine
    runner = engine._runner
    owner, name = {
        "forward": (runner.model, "forward"),
        "step": (runner.sampler, "step"),
        "join": (runner.sampler, "join"),
        "begin": (runner, "join"),
        "leave": (runner.sampler, "leave"),
        "pages": (runner, "_send_pages"),
        "admit": (engine.scheduler, "_admit"),
        "serve": (runner.sampler, "serve"),
    }[where]
    prompts = ["the cat sat on the", "a", "the cat", "the cat sat"] * 2
    schemas = [None, {"enum": ["ab", "cd"]}, {"type": "integer", "maximum": 50}, None] * 2
    options = {"schema": schemas, "max_tokens": 9, "temperature": 0}
    expected = [output.text for output in llm.generate(prompts, **options)]
    rng, original = random.Random(0), getattr(owner, name)
    on = True

    def faulty(*arguments, **named):
        if on and rng.random() < 0.1:
            raise kind("a fault")
        found = original(*arguments, **named)
        if on and rng.random() < 0.1:
            raise kind("a fault")
        return found

    setattr(owner, name, faulty)
    try:
        for _ in range(3):
            handles = llm.submit(llm.read(prompts, **options))
            rng.choice(handles).cancel()
            for handle, text in zip(handles, expected, strict=True):
                output = result(handle)
                if isinstance(output, Output) and output.error is None:
                    assert output.text == text
    except StructgenError as error:  # the engine said that it cannot go on, as it may
        assert where == "leave" and "closed" in str(error)
    on = False
    if where != "leave":
        assert [output.text for output in llm.generate(prompts, **options)] == expected
        engine.scheduler.verify()
        engine.scheduler.prefix.evict(engine.scheduler.pool.n_pages - 1)
        assert engine.scheduler.pool.n_free == engine.scheduler.pool.n_pages - 1
        m = llm.metrics()
        assert m.finished + m.failed + m.cancelled == 5 * len(prompts)
        assert (m.running, m.waiting, engine.scheduler.waiting_tokens) == (0, 0, 0)
    llm.close()


def test_whoever_waits_is_told_that_the_device_is_gone():
    llm = small()
    gate = Gate(llm)
    handles = [submit(llm) for _ in range(6)]
    runner = llm._engine._runner

    def gone(*_):
        raise RuntimeError("the device is gone")

    gate._forward = runner.sampler.leave = gone
    gate.open()
    for handle in handles:
        assert "device is gone" in str(result(handle))
    for _ in range(3):
        try:
            assert "device is gone" in str(result(submit(llm)))
        except StructgenError as error:
            assert "closed" in str(error)
    llm.close()


@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
def test_a_listener_that_raises_ends_its_request_only(error):
    llm = small()

    def listen(_index, _event):
        raise error("gone")

    llm.submit(llm.read("the cat", max_tokens=50, ignore_eos=True), listen)
    assert isinstance(result(submit(llm, max_tokens=20)), Output)
    until(lambda: llm.metrics().cancelled == 1)
    llm.close()


def test_two_llms_around_one_model_do_not_disturb_each_other():
    network = tiny_model()
    before = network.config._attn_implementation
    llms = [LLM(network, tokenizer=tiny_tokenizer(), prefix_cache=False) for _ in range(2)]
    [expected] = llms[0].generate("the cat", temperature=0, max_tokens=CONTEXT)
    found: list[Output] = []

    def work(llm: LLM) -> None:
        for _ in range(4):
            found.extend(llm.generate("the cat", temperature=0, max_tokens=CONTEXT))

    threads = [threading.Thread(target=work, args=(llm,)) for llm in llms]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [output.token_ids for output in found] == [expected.token_ids] * 8
    assert network.config._attn_implementation == before
    for llm in llms:
        llm.close()
