"""A response as the checks read it: its Markdown blocks, its prose without code, its sentences and words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

LONGEST = 2000
"""Of a longer response only the first and the last `LONGEST` / 2 characters are read: no check looks further."""
WORD = re.compile(r"[^\W_]+(?:['\u2019.,:/-][^\W_]+)*")
_BULLET = re.compile(r"^[ \t]*[•◦▪‣]\s+\S", re.MULTILINE)
_STEP = re.compile(r"^[^\w\n]*step +\d+\b", re.MULTILINE | re.IGNORECASE)
_MARKUP = {
    "heading_open",
    "fence",
    "code_block",
    "table_open",
    "hr",
    "strong_open",
    "em_open",
    "code_inline",
    "link_open",
}


@dataclass(frozen=True, slots=True)
class Block:
    """One block of text and its kind: `paragraph`, `heading`, `cell` or `code`. Inline code is not part of `prose`."""

    kind: str
    text: str
    prose: str


class ResponseText:
    """A response, parsed once. Every property holds for any text, an empty one included."""

    def __init__(self, text: str) -> None:
        half = LONGEST // 2
        shortened = text if len(text) <= LONGEST else f"{text[:half]}\n\n{text[-half:]}"
        self.text = shortened.replace("\r\n", "\n").strip()

    @cached_property
    def _tokens(self) -> Sequence[Token]:
        return _parser().parse(self.text)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks in order."""
        return tuple(_blocks(self._tokens))

    @cached_property
    def marks(self) -> frozenset[str]:
        """The types of all Markdown tokens, inline ones included."""
        inline = {child.type for token in self._tokens for child in token.children or ()}
        return frozenset({token.type for token in self._tokens} | inline)

    @property
    def has_markup(self) -> bool:
        """Whether there is a heading, emphasis, code, a table, a rule, a link, or a list."""
        return bool(self.marks & _MARKUP) or self.bullets > 1 or self.numbered > 1

    @cached_property
    def bullets(self) -> int:
        """The number of bullet points, in all lists together; lines that begin with a bullet character count too."""
        return self._items("bullet_list_open") + len(_BULLET.findall(self.text))

    @cached_property
    def numbered(self) -> int:
        """The number of numbered points, in all lists together; lines that begin with "Step 1" count too."""
        return max(self._items("ordered_list_open"), len(_STEP.findall(self.text)))

    def _items(self, kind: str) -> int:
        open_lists: list[str] = []
        count = 0
        for token in self._tokens:
            if token.type.endswith("_list_open"):
                open_lists.append(token.type)
            elif token.type.endswith("_list_close"):
                open_lists.pop()
            elif token.type == "list_item_open":
                count += open_lists[-1] == kind
        return count

    @cached_property
    def prose(self) -> str:
        """All text but code, one line for each block."""
        return "\n".join(block.prose for block in self.blocks if block.kind != "code")

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words outside code blocks; headings and table cells count, list marks do not."""
        return tuple(WORD.findall("\n".join(block.text for block in self.blocks if block.kind != "code")))

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """The sentences of paragraphs and list points. A piece without a letter is none."""
        paragraphs = (block.text for block in self.blocks if block.kind == "paragraph")
        return tuple(sentence for text in paragraphs for sentence in _sentences(text))

    @cached_property
    def opening(self) -> str:
        """The beginning of the first paragraph."""
        return next((block.text for block in self.blocks if block.kind == "paragraph"), "")[:200].strip()

    @cached_property
    def ending(self) -> str:
        """The last sentence, if the response ends with prose; empty if it ends with code or a table."""
        if not self.blocks or self.blocks[-1].kind != "paragraph":
            return ""
        found = _sentences(self.blocks[-1].text)
        return found[-1] if found else ""

    @cached_property
    def code(self) -> tuple[str, ...]:
        """The code blocks. If there are none, the text from the first line that begins a Python function."""
        blocks = tuple(block.text for block in self.blocks if block.kind == "code")
        bare = re.search(r"^def \w+\(", self.text, re.MULTILINE)
        return blocks or ((self.text[bare.start() :],) if bare else ())

    @cached_property
    def language(self) -> str:
        """The most probable of the languages `LANGUAGES`, by py3langid; empty for a text without prose."""
        return _identifier().classify(self.prose)[0] if WORD.search(self.prose) else ""


LANGUAGES = ("de", "en", "es", "fr", "it", "nl", "pt")


def _blocks(tokens: Sequence[Token]) -> Iterator[Block]:
    kind = "paragraph"
    for token in tokens:
        if token.type in ("heading_open", "td_open", "th_open"):
            kind = "heading" if token.type == "heading_open" else "cell"
        elif token.type == "paragraph_open":
            kind = "paragraph"
        elif token.type in ("fence", "code_block"):
            yield Block("code", token.content, "")
        elif token.type == "inline" and token.content.strip():
            yield Block(kind, _plain(token), _plain(token, skip="code_inline"))


def _plain(token: Token, skip: str = "") -> str:
    """The text of an inline token without its marks; line breaks become blanks."""
    children = (child for child in token.children or () if child.type != skip)
    return "".join(" " if child.type.endswith("break") else child.content for child in children).strip()


def _sentences(text: str) -> list[str]:
    from sentencex import segment

    pieces = (piece.strip() for piece in segment("en", text))
    return [piece for piece in pieces if any(character.isalpha() for character in piece)]


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False, "maxNesting": 10}).enable("table")


@cache
def _identifier():  # type: ignore[no-untyped-def]
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    found = LanguageIdentifier.from_model_file(MODEL_FILE)
    found.set_languages(LANGUAGES)
    return found
