"""Keys, whatever clients put into their headers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from server.auth import Keys, NotAdmitted, Opening, credentials_of

OWN = "own-key"

VALUES = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=40),
    st.sampled_from(
        [
            OWN,
            f"Bearer {OWN}",
            f"bearer {OWN}",
            f"Basic {OWN}",
            f"realtime, openai-insecure-api-key.{OWN}",
            "Bearer",
            ",",
        ]
    ),
)
HEADERS = st.lists(
    st.tuples(st.sampled_from(["Authorization", "authorization", "api-key", "Sec-WebSocket-Protocol", "x"]), VALUES)
)


def headers(*pairs: tuple[str, str]) -> "CIMultiDictProxy[str]":
    return CIMultiDictProxy(CIMultiDict(pairs))


@settings(deadline=None)  # a busy machine says nothing about keys
@given(HEADERS)
def test_any_headers_are_read_and_only_the_right_key_is_right(pairs: list[tuple[str, str]]) -> None:
    found = credentials_of(headers(*pairs))
    assert all(key and key == key.strip() for key in found)
    if OWN in found:
        assert Keys(OWN).admit(found, to_a_session=True).proved
        return
    with pytest.raises(NotAdmitted) as refused:
        Keys(OWN).admit(found, to_a_session=True)
    assert OWN not in str(refused.value)


@pytest.mark.parametrize(
    ("pair", "keys"),
    [
        (("Authorization", "Bearer k"), ["k"]),
        (("Authorization", "BEARER   k "), ["k"]),
        (("Authorization", "Bearer"), []),
        (("Authorization", "k"), []),
        (("api-key", " k "), ["k"]),
        (("api-key", ""), []),
        (("Sec-WebSocket-Protocol", "openai-insecure-api-key.k"), ["k"]),
        (("Sec-WebSocket-Protocol", "realtime,openai-insecure-api-key.k , openai-insecure-api-key."), ["k"]),
        (("Sec-WebSocket-Protocol", "k"), []),
    ],
)
def test_a_key_is_found_where_clients_put_it(pair: tuple[str, str], keys: list[str]) -> None:
    assert credentials_of(headers(pair)) == keys


@settings(deadline=None)  # a busy machine says nothing about keys
@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_no_guess_opens_a_session_where_there_are_ephemeral_keys(guess: str) -> None:
    keys = Keys(OWN)
    key, _ = keys.issue(Opening("mini"), 60, 10)
    assert keys.admit([guess, key], to_a_session=True).opening == Opening("mini")
    if guess not in (OWN, key):
        for credentials in ([guess], [f"ek_{guess}"], [key[:-1]], [key + guess] if guess else []):
            with pytest.raises(NotAdmitted):
                keys.admit(credentials, to_a_session=True)


def test_an_ephemeral_key_is_no_key_to_other_doors() -> None:
    keys = Keys(OWN)
    key, _ = keys.issue(Opening(), 60, 10)
    with pytest.raises(NotAdmitted):
        keys.admit([key], to_a_session=False)


def test_keys_are_kept_by_their_digest_alone() -> None:
    keys = Keys()
    key, _ = keys.issue(Opening(), 60, 10)
    assert key not in repr(vars(keys))
