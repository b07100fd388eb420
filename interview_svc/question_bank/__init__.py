"""The question bank: one TOML file per product, each question in Chinese and English."""

import tomllib
from importlib import resources

from interview_svc.domain.questions import Question, QuestionBank, QuestionSet

LANGUAGES = {"zh-CN": "zh", "en": "en"}
GENERAL = "behavioral-30"


def load() -> QuestionBank:
    """Reads the bank that ships with the service."""
    sets = {}
    for file in resources.files(__name__).iterdir():
        if file.name.endswith(".toml"):
            product_id = file.name.removesuffix(".toml")
            content = tomllib.loads(file.read_text("utf-8"))
            for language, column in LANGUAGES.items():
                questions = tuple(
                    Question(entry["id"], entry[column], entry["minutes"] * 60)
                    for entry in content["questions"]
                )
                sets[product_id, language] = QuestionSet(
                    product_id, content["version"], language, questions
                )
    return QuestionBank(sets, GENERAL)
