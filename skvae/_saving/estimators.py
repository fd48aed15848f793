"""State of estimators in files."""

from typing import Any, ClassVar

from skvae._saving.plain import packed, unpacked

FORMAT = 1  # of the state; later releases still open earlier formats


class Saved:
    """Base class of estimators that skops, pickle, joblib and copy save as plain text and arrays."""

    _not_saved: ClassVar[frozenset[str]] = frozenset()  # attributes that are saved as None

    def __getstate__(self) -> dict[str, Any]:
        """A text and a list of arrays, without objects of torch and pandas."""
        attributes = {name: None if name in self._not_saved else value for name, value in vars(self).items()}
        return {"format": FORMAT, **packed(attributes)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["format"] > FORMAT:
            raise ValueError(
                f"This {type(self).__name__} was saved in format {state['format']}, but this version of skvae only reads "
                f"formats up to {FORMAT}. Open it with the version that saved it, or a later one."
            )
        vars(self).update(unpacked(state))
