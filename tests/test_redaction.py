"""Secrets are found where users put them hidden where they turn up, and words are left alone."""

import pytest

from evomerge.redaction import redacted, secrets_in

HF = "hf_" + "a1B2" * 8


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"401 for token {HF}", HF),
        ("GET https://me:pass-word@host/x failed", "pass-word"),
        ("GET https://me@host/x failed", "me@"),
        ("https://host/x?api_key=abcdef&n=1: refused", "abcdef"),
        ("https://host/x?n=1&Token=abcdef", "abcdef"),
        ("header Authorization: Bearer abc.def.ghijk", "abc.def.ghijk"),
        ("the judge said: bad key my-own-secret", "my-own-secret"),
    ],
)
def test_what_looks_like_a_secret_is_left_out(text, secret):
    found = redacted(text, {"JUDGE_API_KEY": "my-own-secret", "HOME": "401 for"})
    assert secret not in found
    assert "[hidden]" in found
    assert len(found.split()) >= len(text.split()) - 1


@pytest.mark.parametrize(
    "text",
    [
        "tensor 'model.layers.0.mlp.up_proj.weight': 3 of 9 merged values are inf or NaN",
        "https://host/x?page=2&tokens=5",
        "max_new_tokens=64: expected at most 32",
        "file.py:3: a@b is no address; write x=1",
    ],
)
def test_other_texts_stay_as_they_are(text):
    assert redacted(text, {"API_KEY": "short"}) == text


def test_secrets_of_a_study_are_found_with_their_place():
    study = {
        "objectives": {
            "judge": {
                "api_key": "0123456789abcdef",
                "max_new_tokens": 64,
                "stop_token": "<|end_of_it|>",
            }
        },
        "callbacks": [
            {"tracking_uri": "http://me:word@host:5000"},
            {"tracking_uri": "http://host"},
        ],
        "workers": {"runtime_env": {"env_vars": {"HF_TOKEN": HF, "OPENAI_API_KEY": "${MINE}"}}},
        "models": {"base": "meta-llama/Llama-3.1-8B", "tokenizer": "someone/some-tokenizer"},
    }
    assert set(secrets_in(study)) == {
        ("objectives", "judge", "api_key"),
        ("callbacks", 0, "tracking_uri"),
        ("workers", "runtime_env", "env_vars", "HF_TOKEN"),
    }
