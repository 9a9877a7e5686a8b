"""Tokens of networks in a prompt."""

import pytest

from backend.errors import InvalidRequest
from backend.prompt.grammar import LoraToken, read_prompt


@pytest.mark.parametrize(
    ("token", "name", "text_encoder", "unet", "rank"),
    [
        ("<lora:ink>", "ink", 1.0, 1.0, None),
        ("<lora:ink:0.8>", "ink", 0.8, 0.8, None),
        ("<lora:ink:0.8:0.3>", "ink", 0.8, 0.3, None),
        ("<lora:ink:0.8:0.3:16>", "ink", 0.8, 0.3, 16),
        ("<lora:ink:te=0.5>", "ink", 0.5, 0.5, None),
        ("<lora:ink:unet=0.5>", "ink", 1.0, 0.5, None),
        ("<lora:ink:te=0.5:unet=1:dyn=8>", "ink", 0.5, 1.0, 8),
        ("<lora:ink:0.7:unet=1>", "ink", 0.7, 1.0, None),
        ("<lora:ink:0.7:te=0.2>", "ink", 0.2, 0.2, None),
        ("<lora:ink:-1.5:.5>", "ink", -1.5, 0.5, None),
        ("<lora:ink:0>", "ink", 0.0, 0.0, None),
        ("<lyco:ink:2>", "ink", 2.0, 2.0, None),
        ("<lora:styles/ink v1.2 (old)=x:1>", "styles/ink v1.2 (old)=x", 1.0, 1.0, None),
        ("<lora: ink : 0.5 >", "ink", 0.5, 0.5, None),
    ],
)
def test_a_token_is_read(token: str, name: str, text_encoder: float, unet: float, rank: int | None) -> None:
    read = read_prompt(f"a cat {token}, red")
    assert read.problems == ()
    assert read.loras == (
        LoraToken(name=name, text_encoder=text_encoder, unet=unet, rank=rank, start=6, end=6 + len(token)),
    )
    assert read.text == "a cat , red"
    read.check()


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("<hypernet:anime:0.6>", "Hypernetworks"),
        ("<lroa:ink:1>", "'lroa'"),
        ("<lora::1>", "names no LoRA"),
        ("<lora:ink:strong>", "'strong'"),
        ("<lora:ink:0,8>", "'0,8'"),
        ("<lora:ink:nan>", "'nan'"),
        ("<lora:ink:inf>", "'inf'"),
        ("<lora:ink:>", "''"),
        ("<lora:ink:1:1:0>", "dyn"),
        ("<lora:ink:1:1:8.5>", "dyn"),
        ("<lora:ink:1:1:8:9>", "4 values"),
        ("<lora:ink:1:lbw=MIDD>", "'lbw'"),
    ],
)
def test_a_mistake_is_told_and_shown(token: str, said: str) -> None:
    prompt = f"<lora:ink:0.5>a cat {token}"
    read = read_prompt(prompt)
    assert [lora.name for lora in read.loras] == ["ink"]
    (problem,) = read.problems
    assert said in problem.message and problem.message.endswith(".")
    assert prompt[problem.start : problem.end] == token
    assert read.text == "a cat "
    with pytest.raises(InvalidRequest, match=r"\.$"):
        read.check()


def test_several_keep_their_order_and_places() -> None:
    prompt = "<lora:b:1> (a cat:1.2) <lora:a:0.5>\n[dog::3]<lora:b:0.25:0>"
    read = read_prompt(prompt)
    assert [(lora.name, lora.unet) for lora in read.loras] == [("b", 1.0), ("a", 0.5), ("b", 0.0)]
    assert [prompt[lora.start : lora.end] for lora in read.loras] == [
        "<lora:b:1>",
        "<lora:a:0.5>",
        "<lora:b:0.25:0>",
    ]
    assert read.text == " (a cat:1.2) \n[dog::3]"


@pytest.mark.parametrize(
    "prompt", ["", "a < b : c > d", "<3 cats>", "<lora>", "<lora:>", "lora:ink:1", "a <lora:ink:1"]
)
def test_what_is_no_token_stays(prompt: str) -> None:
    read = read_prompt(prompt)
    assert (read.text, read.loras, read.problems) == (prompt, (), ())
