"""Texts are prose: no markup is left, and no article is lost."""

import re

import pytest

from sparsetheory.gpu.core import datasets
from sparsetheory.gpu.core.datasets.articles import plain_text


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("a [[b]] and [[c|d]]", "a b and d"),
        ("a {{x|{{y}}|z}}b", "a b"),
        ("a<ref name=x/> b<ref>c [[d]]</ref>.", "a b."),
        ("[[File:x.jpg|thumb|a [[b]] c]]d", "d"),
        ("== Life ==\n''a'' '''b'''", "Life\na b"),
        ("{| class=x\n| a\n{| nested\n|}\n|}\nb", "b"),
        ("* a\n** b\n\n\n: c", "a\nb\nc"),
        ("a<!-- b\nc --> &amp; d&nbsp;e", "a & d\xa0e"),
        ("[http://x.org y z] <sub>2</sub>", "y z 2"),
        ("a\n==References==\nb\n== See also ==\nc", "a"),
        ("[[Category:Ice]]a", "a"),
    ],
)
def test_markup_is_removed(markup, text):
    assert plain_text(markup) == text


@pytest.mark.slow
def test_articles_are_prose(needs):
    needs("gensim")
    articles = datasets.load_wikipedia_articles()
    assert len(articles.texts) == len(articles.titles) == 96
    assert 2.7e6 < sum(map(len, articles.texts)) < 3e6
    assert min(map(len, articles.texts)) >= 2000
    by_title = dict(zip(articles.titles, articles.texts, strict=True))
    assert by_title["Anarchism"].startswith(
        "Anarchism is a political philosophy that advocates self-governed societies"
    )
    assert "Aristotle" in by_title
    for mark in ("[[", "]]", "}}", "<ref", "'''", "==", "&nbsp;"):
        assert not [title for title, text in by_title.items() if mark in text], mark
    # Most characters are letters and spaces.
    whole = "".join(articles.texts)
    assert len(re.findall(r"[A-Za-z ]", whole)) > 0.9 * len(whole)


@pytest.mark.slow
def test_news(needs):
    needs("gensim")
    news = datasets.load_news()
    assert len(news.texts) == len(news.titles) == 300
    assert news.texts[0].startswith("Hundreds of people have been forced to vacate their homes")
    assert not any("\n" in text for text in news.texts)
