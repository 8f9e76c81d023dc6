"""A text as numbers, one for a word or, where a word is rare, one for each of its characters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

PAD, UNKNOWN, CLS, SEP, MASK = range(5)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

_TOKEN = re.compile(r"\w+|[^\w\s]")


def split_words(line: str) -> list[str]:
    """Words and punctuation marks of a line, in lower case.

    >>> split_words("Before we proceed, hear me.")
    ['before', 'we', 'proceed', ',', 'hear', 'me', '.']
    """
    return _TOKEN.findall(line.lower())


@dataclass(frozen=True)
class Words:
    """A vocabulary made from a text: special tokens, its characters, its most frequent words.

    It stands in for WordPiece (Wu et al. 2016, arXiv:1609.08144), whose vocabulary cannot be had offline. A word that
    is not in it becomes its characters; all but the first carry "##", as there. A character that the text did not have
    is unknown.

    >>> words = Words.of(["to be or not to be"], size=20)
    >>> [words.tokens[number] for number in words.numbers("to toe")]
    ['to', 't', '##o', '##e']
    """

    tokens: tuple[str, ...]
    _numbers: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_numbers", {token: number for number, token in enumerate(self.tokens)})

    @classmethod
    def of(cls, lines: Iterable[str], *, size: int) -> Words:
        """The vocabulary of a text.

        Args:
            lines: of the text.
            size: the most tokens it may have; characters come in even beyond it.
        """
        counts = Counter(word for line in lines for word in split_words(line))
        first = sorted({word[0] for word in counts})
        later = sorted({f"##{character}" for word in counts for character in word[1:]})
        tokens = [*SPECIAL, *first, *later]
        # By number, then by letters: the order of a set or of the text must not matter.
        frequent = sorted((word for word in counts if len(word) > 1), key=lambda word: (-counts[word], word))
        return cls((*tokens, *frequent[: max(size - len(tokens), 0)]))

    def __len__(self) -> int:
        return len(self.tokens)

    def numbers(self, line: str) -> list[int]:
        """The line's tokens as numbers."""
        found = []
        for word in split_words(line):
            if word in self._numbers:
                found.append(self._numbers[word])
            else:
                pieces = (word[0], *(f"##{character}" for character in word[1:]))
                found += [self._numbers.get(piece, UNKNOWN) for piece in pieces]
        return found
