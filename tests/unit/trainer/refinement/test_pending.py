"""What a refine may be asked for."""

import pytest
from pydantic import ValidationError

from trainer.refinement.pending import Wishes
from worker.settings.training import RefineSettings


@pytest.mark.parametrize("name", ["settings", "cls", "self", "recipes"])
def test_a_wish_of_any_name_is_taken_or_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Wishes.of(RefineSettings(), **{name: 1})
    assert Wishes.of(RefineSettings(), force=True, parent=None).parent == "base"
