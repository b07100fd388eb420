"""Question sets: what a session asks, taken from the bank when it is prepared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Question:
    """One question, in one language, and the time to answer it."""

    question_id: str
    text: str
    time_limit_seconds: int


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """A version of a set of questions, in one language. A session keeps its own copy."""

    question_set_id: str
    version: int
    language_code: str
    questions: Sequence[Question]

    @property
    def time_limit(self) -> timedelta:
        """The time for all questions together."""
        return timedelta(seconds=sum(one.time_limit_seconds for one in self.questions))


class QuestionBank:
    """All question sets, by product and language."""

    def __init__(self, sets: Mapping[tuple[str, str], QuestionSet], general: str) -> None:
        """`general` is the product whose questions serve a product that has none of its own."""
        self._sets, self._general = sets, general

    def choose(self, product_id: str, language_code: str) -> QuestionSet:
        """The newest questions for a product, in a language or else in English."""
        product = product_id if (product_id, "en") in self._sets else self._general
        return self._sets.get((product, language_code)) or self._sets[product, "en"]
