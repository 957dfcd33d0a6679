"""Rows for definitions of lm-eval whose form no error tells, in the schema of their data."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]
COLOURS = ["red", "green", "blue", "black"]
_BLANK = {"sentence": "The lid of _ is red.", "option1": "the box", "option2": "the jar", "answer": "2"}
_SPAN: Row = {"answers": {"text": ["red"], "answer_start": [0]}, "context": "It is red.", "question": "Which colour?"}
HINTS: dict[str, list[Row]] = {
    "afrobench": [{"translation": {"en": "red", "amh": "green"}}, {"tokens": ["a", "box"], "upos": [8, 0]}],
    "afrimmlu": [{"choices": str(COLOURS), "answer": "A", "question": "red", "subject": "red"}],
    "okapi": [
        {"ctx_a": "red", "ctx_b": "red", "ctx": "red", "activity_label": "red", "endings": COLOURS, "label": "0"}
    ],
    "xcopa": [{"question": "cause", "premise": "red.", "choice1": "red", "choice2": "green", "label": 0}],
    "super_glue": [
        {"question": "cause", "premise": "It is red.", "choice1": "Paint.", "choice2": "Rain.", "label": 1},
        {"sentence1": "a red box", "sentence2": "a red jar", "start1": 2, "end1": 5, "label": 1},
    ],
    "winogrande": [_BLANK],
    "xwinograd": [_BLANK],
    "wsc273": [
        {"text": "The box is red, it fits.", "pronoun": "it", "pronoun_loc": 16, "options": ["box", "jar"], "label": 0}
    ],
    "glue": [{"sentence": "It is red.", "label": 1, "idx": 0}],
    "siqa": [
        {"context": "It rains.", "question": "Why?", "answerA": "a", "answerB": "b", "answerC": "c", "label": "2"}
    ],
    "commonsense_qa": [
        {"question": "Which?", "choices": {"text": [*COLOURS, "grey"], "label": list("ABCDE")}, "answerKey": "B"}
    ],
    "logiqa": [{"context": "It is red.", "question": "Which?", "options": COLOURS, "label": "c"}],
    "squadv2": [{"id": "q", "title": "Colours", **_SPAN}],
    "xquad": [_SPAN],
    "tydiqa": [_SPAN],
    "hendrycks_math": [{"problem": "What is 1 + 1?", "solution": "It is \\boxed{2}.", "level": "1", "type": "algebra"}],
    "aradice": [
        {"Level": "High", "Country": "Egypt", "Subject": "History", "context": "red", "question": "red"}
        | {"options": dict(zip("ABCDE", [*COLOURS, "grey"], strict=True)), "Answer Key": "A"}
    ],
    "kmmlu": [{"question": "red", "A": "red", "B": "green", "C": "blue", "D": "black", "answer": 1}],
    "turkishmmlu": [{"question": "red", "choices": [*COLOURS, "grey"], "answer": "A", "solution": "red"}],
    "arabicmmlu": [
        {"Level": "Primary", "Country": "red", "Context": "red", "Answer Key": "A", "Subject": "red", "Question": "red"}
        | {f"Option {n}": "red" for n in range(1, 6)}
    ],
}
"""Folder of definitions -> rows whose form no error tells."""
