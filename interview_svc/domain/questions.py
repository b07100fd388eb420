"""Question sets and the bank from which a session gets its set when it is prepared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Question:
    """One question in one language, and the time to answer it."""

    question_id: str
    text: str
    time_limit_seconds: int


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """One version of a set of questions in one language. A session stores its own copy."""

    question_set_id: str
    version: int
    language_code: str
    questions: Sequence[Question]

    @property
    def time_limit(self) -> timedelta:
        """The sum of the questions' time limits."""
        return timedelta(seconds=sum(question.time_limit_seconds for question in self.questions))


class QuestionBank:
    """All question sets, by product and language."""

    def __init__(
        self, sets: Mapping[tuple[str, str], QuestionSet], default_product_id: str
    ) -> None:
        """Products without a set of their own get the set of `default_product_id`."""
        self._sets, self._default_product_id = sets, default_product_id

    def choose(self, product_id: str, language_code: str) -> QuestionSet:
        """The question set of a product in a language, in English if there is no translation."""
        product = product_id if (product_id, "en") in self._sets else self._default_product_id
        return self._sets.get((product, language_code)) or self._sets[product, "en"]
