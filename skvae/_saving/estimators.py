"""The state of estimators in files."""

from typing import Any, ClassVar

from skvae._saving.plain import packed, unpacked

FORMAT = 1  # of the state; a release that changes it still opens the earlier ones


class Saved:
    """An estimator whose state is plain: what skops, pickle and joblib write, and what copies are made of."""

    _not_saved: ClassVar[frozenset[str]] = frozenset()  # attributes that mean nothing elsewhere, and are None there

    def __getstate__(self) -> dict[str, Any]:
        """A text and a list of arrays, with nothing of torch and pandas."""
        attributes = {name: None if name in self._not_saved else value for name, value in vars(self).items()}
        return {"format": FORMAT, **packed(attributes)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["format"] > FORMAT:
            raise ValueError(
                f"This {type(self).__name__} was saved in format {state['format']}, and this version of skvae knows none after "
                f"{FORMAT}. Open it with the version that saved it, or a later one."
            )
        vars(self).update(unpacked(state))
