"""The choice of a question set, and the bank that ships with the service."""

import pytest

from interview_svc.domain.questions import QuestionBank, QuestionSet
from interview_svc.question_bank import DEFAULT_PRODUCT_ID, load


def question_set(product_id: str, language_code: str) -> QuestionSet:
    return QuestionSet(product_id, 1, language_code, ())


BANK = QuestionBank(
    {
        key: question_set(*key)
        for key in (
            ("general", "en"),
            ("general", "zh-CN"),
            ("system-design", "en"),
        )
    },
    "general",
)


@pytest.mark.parametrize(
    ("product_id", "language_code", "chosen"),
    [
        ("general", "zh-CN", ("general", "zh-CN")),
        ("system-design", "en", ("system-design", "en")),
        ("system-design", "zh-CN", ("system-design", "en")),
        ("unknown", "zh-CN", ("general", "zh-CN")),
        ("unknown", "fr", ("general", "en")),
        ("general", "", ("general", "en")),
    ],
)
def test_questions_are_chosen_by_product_then_by_language_then_in_english(
    product_id: str, language_code: str, chosen: tuple[str, str]
) -> None:
    assert BANK.choose(product_id, language_code) == question_set(*chosen)


def test_the_shipped_bank_is_complete() -> None:
    """Each set has questions with a text and a time limit, the same ones in both languages."""
    bank = load()
    for product_id in ("behavioral-30", DEFAULT_PRODUCT_ID, "unknown"):
        sets = [bank.choose(product_id, language) for language in ("zh-CN", "en")]
        assert [found.language_code for found in sets] == ["zh-CN", "en"]
        ids = [[question.question_id for question in found.questions] for found in sets]
        assert ids[0] == ids[1]
        assert len(ids[0]) == len(set(ids[0])) > 0
        for found in sets:
            assert all(
                question.text.strip() and question.time_limit_seconds > 0
                for question in found.questions
            )
