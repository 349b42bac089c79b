"""English prose from the test data of gensim: long Wikipedia articles, and short news."""

import bz2
import html
import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from sparsetheory.gpu.core.datasets.files import packaged_file

__all__ = ["Articles", "load_news", "load_wikipedia_articles"]

_SHORTEST = 2000
# From here on an article holds lists of sources and links, no prose.
_END = re.compile(
    r"^==\s*(?:See also|Notes|References|Further reading|External links|Bibliography)\s*==.*", re.M | re.S
)
# Innermost pairs first: removed until there is none, so that nested ones go too.
_NESTED = re.compile(r"\{\{[^{}]*\}\}|\{\|(?:(?!\{\||\|\}).)*\|\}", re.S)
_MEDIA = re.compile(r"\[\[(?:File|Image|Category):(?:[^\[\]]|\[\[[^\[\]]*\]\]|\[[^\[\]]*\])*\]\]", re.I)
_STEPS = (
    (re.compile(r"<!--.*?-->", re.S), ""),
    (re.compile(r"<ref[^<>]*/>|<(ref|math|gallery|timeline|pre|score)\b.*?</\1\s*>", re.S | re.I), ""),
)
_LAST_STEPS = (
    (re.compile(r"\[\[(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]"), r"\1"),
    (re.compile(r"\[(?:https?|ftp):[^\s\]]*\s*([^\]]*)\]"), r"\1"),
    (re.compile(r"</?[a-zA-Z][^<>]*>"), ""),
    (re.compile(r"'{2,}"), ""),
    (re.compile(r"^=+\s*(.*?)\s*=+\s*$", re.M), r"\1"),
    (re.compile(r"^[*#:;]+\s*", re.M), ""),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r"\s*\n\s*"), "\n"),
)


@dataclass(frozen=True)
class Articles:
    """Texts, in the order of their file.

    Parameters
    ----------
    texts : tuple of str
    titles : tuple of str
        Title of each text; empty where texts have none.
    """

    texts: tuple[str, ...]
    titles: tuple[str, ...]


def load_wikipedia_articles() -> Articles:
    """Load the long articles of an extract of the English Wikipedia of 2016, freed of markup.

    Templates, tables, footnotes, pictures, formulas and the lists of sources at the end are removed; links keep their
    words. Redirects and articles of fewer than 2000 characters are left out.

    Returns
    -------
    Articles
        Paragraphs are lines. About 2.9 million characters in all.

    Raises
    ------
    ImportError
        Without the package ``gensim``; the message is the command that installs it.

    Notes
    -----
    Licence of the texts: CC BY-SA 3.0 (Wikipedia); of the package: LGPL-2.1.
    """
    file = packaged_file("gensim", "test/test_data/enwiki-latest-pages-articles1.*-shortened.bz2")
    found = [(title, plain_text(markup)) for title, markup in _pages(file)]
    kept = [(title, text) for title, text in found if len(text) >= _SHORTEST]
    return Articles(tuple(text for _, text in kept), tuple(title for title, _ in kept))


def load_news() -> Articles:
    """Load 300 news texts of the Australian Broadcasting Corporation, one paragraph each.

    Returns
    -------
    Articles
        Without titles.

    Raises
    ------
    ImportError
        Without the package ``gensim``; the message is the command that installs it.

    Notes
    -----
    Source: M. D. Lee, B. Pincombe and M. Welsh, "An Empirical Evaluation of Models of Text Document Similarity",
    CogSci 2005. Licence of the texts: free for research use; of the package: LGPL-2.1.
    """
    lines = packaged_file("gensim", "test/test_data/lee_background.cor").read_text(encoding="utf-8").splitlines()
    texts = tuple(line.strip() for line in lines if line.strip())
    return Articles(texts, ("",) * len(texts))


def plain_text(markup: str) -> str:
    """Return the prose of an article written in the markup of Wikipedia.

    Examples
    --------
    >>> plain_text("'''Ice''' is [[water|frozen water]].<ref>A book.</ref> {{cite|{{x}}}}")
    'Ice is frozen water.'
    """
    text = _END.sub("", markup)
    for pattern, replacement in _STEPS:
        text = pattern.sub(replacement, text)
    for pattern in (_NESTED, _MEDIA):
        removed = 1
        while removed:
            text, removed = pattern.subn("", text)
    for pattern, replacement in _LAST_STEPS:
        text = pattern.sub(replacement, text)
    return html.unescape(text).strip()


def _pages(file: Path) -> list[tuple[str, str]]:
    """Return title and markup of the pages of the encyclopedia that are no redirects."""
    with bz2.open(file) as stream:
        root = ElementTree.parse(stream).getroot()
    space = root.tag.removesuffix("mediawiki")
    pages = [page for page in root.iter(f"{space}page") if page.find(f"{space}redirect") is None]
    return [
        (page.findtext(f"{space}title", ""), page.findtext(f"{space}revision/{space}text", ""))
        for page in pages
        if page.findtext(f"{space}ns") == "0"
    ]
