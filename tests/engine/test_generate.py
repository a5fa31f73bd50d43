"""Unconstrained generation: the loop itself, against transformers and against itself."""

from __future__ import annotations

import gc
import threading

import pytest
import torch
from tiny_model import CHAT_TEMPLATE, CONTEXT, MODEL_TOKENS, tiny_model, tiny_tokenizer

from structgen.engine import LLM, Output
from structgen.errors import StructgenError

PROMPTS = ["the cat", "a", '{"name": "long prompt, so that others are padded"', "é€", "sat on"]


def greedy_reference(prompt: str, max_tokens: int) -> list[int]:
    ids = tiny_tokenizer()(prompt, return_tensors="pt").input_ids
    # Outputs past the tokenizer's end stand for nothing; a real model never prefers them.
    padding = list(range(len(tiny_tokenizer()), MODEL_TOKENS))
    out = tiny_model().generate(
        ids, max_new_tokens=max_tokens, do_sample=False, suppress_tokens=padding
    )
    return out[0, ids.shape[1] :].tolist()


def test_greedy_equals_transformers_for_a_padded_batch(llm):
    outputs = llm.generate(PROMPTS, temperature=0, max_tokens=40)
    for prompt, output in zip(PROMPTS, outputs, strict=True):
        assert list(output.token_ids) == greedy_reference(prompt, 40)
        assert output.prompt == prompt


def test_one_string_gives_a_list_of_one(llm):
    outputs = llm.generate("the cat", max_tokens=3)
    assert len(outputs) == 1
    assert isinstance(outputs[0], Output)
    assert llm.generate([]) == []


def test_token_ids_and_chats_are_prompts(llm):
    ids = tiny_tokenizer()("the cat")["input_ids"]
    by_ids, by_text = (llm.generate(p, temperature=0, max_tokens=8)[0] for p in (ids, "the cat"))
    assert by_ids.token_ids == by_text.token_ids
    chat = [{"role": "user", "content": "hi"}]
    by_chat = llm.generate(chat, temperature=0, max_tokens=8)[0]
    by_join = llm.generate("user: hi\nassistant:", temperature=0, max_tokens=8)[0]
    assert by_chat.token_ids == by_join.token_ids
    assert len(llm.generate([chat, "text", ids], max_tokens=2)) == 3


def test_a_seed_reproduces_and_seeds_differ(llm):
    first, again, other = (
        llm.generate("the cat", seed=seed, temperature=1.0, max_tokens=30)[0] for seed in (5, 5, 6)
    )
    assert first.token_ids == again.token_ids
    assert first.token_ids != other.token_ids


def test_without_a_seed_every_call_differs(llm):
    texts = {llm.generate("the cat", temperature=1.5, max_tokens=20)[0].text for _ in range(4)}
    assert len(texts) > 1


def test_a_result_does_not_depend_on_its_batch(llm):
    options = {"seed": 7, "temperature": 0.9, "top_p": 0.95, "max_tokens": 30}
    # 20 prompts on 8 rows: rows join and leave while others run.
    together = llm.generate(PROMPTS * 4, **options)
    for index, prompt in enumerate(PROMPTS):
        alone = llm.generate(prompt, **options)[0]
        for repeat in range(4):
            assert together[index + repeat * len(PROMPTS)].token_ids == alone.token_ids


def test_n_texts_use_different_streams(llm):
    texts = llm.generate("the cat", n=4, seed=3, temperature=1.2, max_tokens=20)
    assert len({t.token_ids for t in texts}) == 4
    again = llm.generate("the cat", n=4, seed=3, temperature=1.2, max_tokens=20)
    assert [t.token_ids for t in texts] == [t.token_ids for t in again]
    assert (
        texts[0].token_ids
        == llm.generate("the cat", seed=3, temperature=1.2, max_tokens=20)[0].token_ids
    )


def test_usage_and_finish_reasons(llm):
    prompt_tokens = len(tiny_tokenizer()("the cat")["input_ids"])
    outputs = llm.generate("the cat", n=40, temperature=3.0, max_tokens=90, seed=0)
    reasons = {output.finish_reason for output in outputs}
    assert reasons == {"stop", "length"}  # at this temperature end-of-text comes by chance
    for output in outputs:
        assert output.usage.prompt_tokens == prompt_tokens
        assert output.usage.completion_tokens == len(output.token_ids) <= 90
        assert output.usage.total_tokens == prompt_tokens + len(output.token_ids)
        assert (output.token_ids[-1] == 1) == (output.finish_reason == "stop")
        assert output.parsed is None
        assert output.error is None


def test_special_tokens_are_never_text_and_padding_is_never_sampled(llm):
    outputs = llm.generate("a", n=30, temperature=20.0, max_tokens=60, seed=0)
    tokens = {token for output in outputs for token in output.token_ids}
    assert max(tokens) < len(tiny_tokenizer())
    assert {0, 2} <= tokens  # <s> and <pad> were sampled, without spelling anything
    for output in outputs:
        assert not any(name in output.text for name in ("<s>", "</s>", "<pad>"))
        expected = tiny_tokenizer().decode(output.token_ids, skip_special_tokens=True)
        assert output.text == expected


def test_max_tokens_is_clipped_to_the_context(llm):
    for max_tokens in (10_000, None):
        output = llm.generate("the cat", temperature=0, max_tokens=max_tokens)[0]
        assert output.finish_reason == "length"
        assert output.usage.total_tokens == CONTEXT


def test_stop_strings_cut_the_text(llm):
    whole = llm.generate("the cat", temperature=0, max_tokens=40)[0]
    stop = whole.text[5:9]
    cut = llm.generate("the cat", temperature=0, max_tokens=40, stop=[stop, "never appears"])[0]
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == "stop"
    assert cut.usage.completion_tokens < whole.usage.completion_tokens
    assert llm.generate("the cat", temperature=0, max_tokens=40, stop=stop)[0].text == cut.text


def test_a_stream_gives_the_same_text(llm):
    options = {"seed": 11, "temperature": 1.0, "max_tokens": 40, "stop": "\x7f"}
    *pieces, last = llm.stream("the cat", **options)
    assert last == llm.generate("the cat", **options)[0]
    assert "".join(pieces) == last.text
    assert len(pieces) > 3


def test_a_stream_refuses_what_it_does_not_know(llm):
    with pytest.raises(TypeError, match="max_token'"):
        llm.stream("the cat", max_token=3)
    with pytest.raises(StructgenError, match="one prompt, not 2"):
        llm.stream(["a", "b"])
    with pytest.raises(StructgenError, match="temperature"):
        llm.stream("the cat", temperature=-1)


def test_closing_a_stream_frees_its_row(llm):
    stream = llm.stream("the cat", max_tokens=100)
    next(stream)
    stream.close()
    assert llm.generate("the cat", max_tokens=2)[0].usage.completion_tokens == 2


def test_many_threads_share_the_batch(llm):
    expected = [llm.generate(p, seed=1, max_tokens=20)[0].token_ids for p in PROMPTS]
    found: dict[int, tuple[int, ...]] = {}

    def work(index: int) -> None:
        prompt = PROMPTS[index % len(PROMPTS)]
        found[index] = llm.generate(prompt, seed=1, max_tokens=20)[0].token_ids

    threads = [threading.Thread(target=work, args=(index,)) for index in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(20)] == [expected[i % len(PROMPTS)] for i in range(20)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": -0.1}, "temperature must be a number 0 or more"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 0}, "top_p must be a number in"),
        ({"top_p": 1.5}, "top_p"),
        ({"min_p": 2}, "min_p"),
        ({"top_k": 0}, "top_k must be 1 or more"),
        ({"max_tokens": 0}, "max_tokens must be 1 or more"),
        ({"max_tokens": 2.5}, "max_tokens must be an integer"),
        ({"seed": "x"}, "seed must be an integer"),
        ({"n": 0}, "n must be"),
        ({"stop": [""]}, "non-empty strings"),
        ({"stop": [1]}, "non-empty strings"),
        ({"schema": True, "regex": "a"}, "both schema and regex"),
        ({"choice": []}, "choice is empty"),
        ({"choice": "yes"}, "list of strings"),
        ({"regex": 3}, "regex must be a string"),
        ({"json": "yes"}, "json must be True or False"),
        ({"schema": [True, True]}, "2 constraints for 1 prompts"),
    ],
)
def test_invalid_arguments(llm, arguments, message):
    with pytest.raises(StructgenError, match=message):
        llm.generate("the cat", **arguments)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ("", "the prompt is empty"),
        (["a", ""], "prompt 1: the prompt is empty"),
        (["a", []], "prompt 1: the prompt is empty"),
        (5, "a prompt cannot be 5"),
        (["a", 5.0], "prompt 1 cannot be 5.0"),
        ("\ud800", "lone surrogate"),
        ([1, 384], "token id 384 is not one of the model's 384 tokens"),
        ([-1], "token id -1"),
        ([{"role": "user"}], "a chat message is"),
        ([3] * CONTEXT, "128 tokens, but the model's context holds 128"),
    ],
)
def test_invalid_prompts(llm, prompts, message):
    with pytest.raises(StructgenError, match=message):
        llm.generate(prompts)


def test_a_chat_template_is_used_and_may_refuse(llm):
    chat = [{"role": "user", "content": "hi"}]
    tokenizer = llm.tokenizer
    try:
        tokenizer.chat_template = CHAT_TEMPLATE
        templated = llm.generate(chat, temperature=0, max_tokens=5)[0]
        plain = llm.generate("<s><user>hi\n<assistant>", temperature=0, max_tokens=5)[0]
        assert templated.token_ids == plain.token_ids
        assert templated.usage == plain.usage
        tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
        with pytest.raises(StructgenError, match="roles must alternate"):
            llm.generate(chat)
    finally:
        tokenizer.chat_template = None


def test_closing_fails_what_runs_and_what_comes():
    llm = LLM(tiny_model(), tokenizer=tiny_tokenizer())
    stream = llm.stream("the cat", max_tokens=100)
    next(stream)
    llm.close()
    with pytest.raises(StructgenError, match="closed"):
        list(stream)
    with pytest.raises(StructgenError, match="closed"):
        llm.generate("the cat")


def test_a_dropped_llm_ends_its_thread():
    before = threading.active_count()
    llm = LLM(tiny_model(), tokenizer=tiny_tokenizer())
    llm.generate("the cat", max_tokens=1)
    assert threading.active_count() == before + 1
    del llm
    gc.collect()
    assert threading.active_count() == before


def test_a_failing_forward_fails_its_requests_and_the_next_ones_run(llm, monkeypatch):
    expected = llm.generate("the cat", temperature=0, max_tokens=5)[0]

    def fail(*_: object) -> None:
        raise RuntimeError("no such kernel\nwith details")

    with monkeypatch.context() as patch:
        patch.setattr(llm._engine._runner.model, "forward", fail)
        with pytest.raises(StructgenError, match=r"generation failed: no such kernel$"):
            llm.generate(["the cat", "a"])
    assert llm.generate("the cat", temperature=0, max_tokens=5)[0] == expected


@pytest.mark.parametrize("failures", [1, 2, 4])
def test_out_of_memory_makes_all_wait_or_fails_them(monkeypatch, failures):
    llm = LLM(tiny_model(), tokenizer=tiny_tokenizer(), max_step_tokens=64, verify=True)
    expected = llm.generate(PROMPTS, temperature=0, max_tokens=9)
    model, calls = llm._engine._runner.model, 0
    forward = model.forward

    def sometimes(*arguments):
        nonlocal calls
        calls += 1
        if 3 <= calls < 3 + failures:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return forward(*arguments)

    monkeypatch.setattr(model, "forward", sometimes)
    if failures < 3:
        assert llm.generate(PROMPTS, temperature=0, max_tokens=9) == expected
        assert llm.metrics().preemptions > 0
        scheduler = llm._engine.scheduler
        assert scheduler.budget == 64 >> failures
        monkeypatch.setattr("structgen.engine.engine.RECOVERY_STEPS", 2)
        assert llm.generate(PROMPTS, temperature=0, max_tokens=40)[0].error is None
        assert scheduler.budget == 64
    else:
        with pytest.raises(StructgenError, match="out of memory"):
            llm.generate(PROMPTS, temperature=0, max_tokens=9)
        assert llm.generate(PROMPTS, temperature=0, max_tokens=9) == expected
    llm.close()


def test_a_model_that_gives_nan_fails_alone(llm, monkeypatch):
    model = llm._engine._runner.model
    forward = model.forward

    def poisoned(tokens, batch, rows):
        logits = forward(tokens, batch, rows)
        logits[0] = torch.nan
        return logits

    monkeypatch.setattr(model, "forward", poisoned)
    bad, good = llm.generate(["the cat", "a"], max_tokens=1)
    assert bad.finish_reason == "error"
    assert "no finite score" in bad.error
    assert good.finish_reason == "length"


@pytest.mark.parametrize("show", [True, False, None])
def test_progress_goes_to_stderr_where_it_is_wanted(llm, capsys, show):
    llm.generate(["the cat", "a"], max_tokens=3, progress=show)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("generating" in err) == bool(show)  # captured stderr is no terminal


def test_a_prompt_that_many_share_is_computed_once():
    llm = LLM(tiny_model(), tokenizer=tiny_tokenizer(), max_batch_size=8, page_size=4, verify=True)
    prompt = "the cat sat on the " * 4
    n = len(tiny_tokenizer()(prompt)["input_ids"])
    alone = llm.generate(prompt, seed=3, max_tokens=4)[0]
    assert llm.metrics().prompt_tokens == n
    texts = llm.generate(prompt, n=8, seed=3, max_tokens=4)
    assert texts[0].token_ids == alone.token_ids
    # At most a page of each is computed again, of which the last token's logits are wanted.
    assert llm.metrics().prompt_tokens <= n + 8 * 4
    assert all(text.usage.cached_tokens >= n - 4 for text in texts)
    fresh = "a cat sat on the " * 4  # eight requests of it arrive at once
    before = llm.metrics().prompt_tokens
    others = llm.generate([fresh + tail for tail in "abcdefgh"], temperature=0, max_tokens=4)
    m = len(tiny_tokenizer()(fresh)["input_ids"])
    assert llm.metrics().prompt_tokens - before <= m + 8 * 9
    again = [llm.generate(fresh + tail, temperature=0, max_tokens=4)[0] for tail in "abcdefgh"]
    assert [o.token_ids for o in others] == [o.token_ids for o in again]
    llm.close()
