"""What `doivec.search` refuses before it opens anything."""

from pathlib import Path
from typing import Any

import pytest

from doivec import Settings, Unanswerable, search


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"registrant": "Nature"}, "is no registrant"),
        ({"year": "2020-2015"}, "end before they begin"),
        ({"year": "soon"}, "is no span of years"),
    ],
)
def test_a_filter_that_is_none_is_refused(tmp_path: Path, words: dict[str, Any], said: str) -> None:
    data = tmp_path / "data"
    with pytest.raises(Unanswerable, match=said):
        search(text="arrays", settings=Settings(data_dir=data), **words)
    assert not data.exists()
