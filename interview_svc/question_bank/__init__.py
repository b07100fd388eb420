"""The question bank: one TOML file per product, each question in Chinese and English."""

import tomllib
from importlib import resources

from interview_svc.domain.questions import Question, QuestionBank, QuestionSet

# The columns of the files, by language code.
COLUMNS = {"zh-CN": "zh", "en": "en"}
DEFAULT_PRODUCT_ID = "behavioral-30"


def load() -> QuestionBank:
    """Reads the bank from the files of this package."""
    sets = {}
    for file in resources.files(__name__).iterdir():
        if file.name.endswith(".toml"):
            product_id = file.name.removesuffix(".toml")
            content = tomllib.loads(file.read_text("utf-8"))
            for language_code, column in COLUMNS.items():
                questions = tuple(
                    Question(entry["id"], entry[column], entry["minutes"] * 60)
                    for entry in content["questions"]
                )
                sets[product_id, language_code] = QuestionSet(
                    product_id, content["version"], language_code, questions
                )
    return QuestionBank(sets, DEFAULT_PRODUCT_ID)
