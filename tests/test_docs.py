"""The documents that are made from the code say what the code says."""

import pytest

from scripts.make_docs.__main__ import DOCUMENTS, is_current


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_generated_document_is_up_to_date(name: str) -> None:
    assert is_current(name, DOCUMENTS[name]()), f"{name} is out of date: run `make docs`"
