"""HTML as text: closed as it should be, never closed, and made to take long."""

from __future__ import annotations

import time
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.data.files.html_text import declared_charset, strip_html


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("a<br>b <b>bo</b>ld<div>c &amp; d</div><!-- no -->e", "a\nb bold\nc & d\ne"),
        ("<td>one</td><td>two</td>", "one two"),
        ("a < b, <3 &lt;i&gt;", "a < b, <3 <i>"),
        ("<head><title>no</title><style>p{}</style></head><p>yes", "yes"),
        ("<HTML><HEAD /><BODY>offer<br /></BODY>", "offer"),
        ("<title/>seen", "seen"),
        ("<html><head><style>p {color: red}<body><p>seen", "seen"),
        ("<p>Hi</p><script>var x = 1; <p>seen", "Hi\nseen"),
        ("<p>Hi</p><!-- open <p>seen", "Hi\nopen\nseen"),
        ("<!-->seen<!--->too", "seentoo"),
        ("<p>seen</p><a href='http://x", "seen"),
        ('<a href="http://x>seen</a> too', "seen too"),
        ('<a title="1 > 0">seen</a>', "seen"),
        ("<!--[if mso]>no<![endif]--><![if !mso]>seen<![endif]>", "seen"),
        ("<template>no</template><noscript>seen</noscript>", "seen"),
        ("<stylex>seen</stylex>", "seen"),
        ("one\ntwo\tthree", "one two three"),
        ("&nbsp;&#8364;50&nbsp;", "€50"),
        # Only where nothing is seen:
        ('<img alt="a prize" src=x><img alt=now>', "a prize\nnow"),
        ("<html><head><title>a prize</title></head><body></body>", "a prize"),
        ("<p a prize", "a prize"),
        ("<template><p>a <b>prize</b></p></template>", "a prize"),
        ("<![CDATA[a prize]]>", "a prize]]"),
        ("", ""),
    ],
)
def test_html_is_what_a_reader_sees(markup: str, text: str) -> None:
    assert strip_html(markup) == text


class Words(HTMLParser):
    """The standard library's reading."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words += data.split()


@given(
    st.recursive(
        st.sampled_from(["free prize", "a &amp; b", "x &lt; y", "é", "50 &euro;"]),
        lambda inner: st.builds(
            lambda name, attribute, pieces: f"<{name}{attribute}> {' '.join(pieces)} </{name}>",
            st.sampled_from(["p", "DIV", "b", "td", "span", "h1"]),
            st.sampled_from(["", " class=x", ' title="a > b"', " alt='it'"]),
            st.lists(inner, max_size=4),
        ),
    )
)
def test_well_formed_html_has_the_words_of_the_standard_library(markup: str) -> None:
    reference = Words()
    reference.feed(markup)
    reference.close()
    if reference.words:
        assert strip_html(markup).split() == reference.words


@given(st.text(alphabet="<>!-/\"'= ap&;\n"))
def test_no_markup_makes_it_fail(markup: str) -> None:
    strip_html(markup)


@pytest.mark.parametrize(
    "piece", ["<!--", "<style>", "<style ", "<title>", "<a ", '<a "', "<a x='\"", "<!", "</style"]
)
def test_the_time_is_linear(piece: str) -> None:
    begin = time.process_time()
    strip_html(piece * 50_000)
    assert time.process_time() - begin < 5  # quadratic time would be minutes


@pytest.mark.parametrize(
    ("content", "charset"),
    [
        (b"<meta charset=koi8-r>", "koi8-r"),
        (
            b'<META http-equiv="Content-Type" content="text/html; charset=windows-1251">',
            "windows-1251",
        ),
        (b"<style>" + b"x" * 3000 + b"</style><meta charset='gb2312'/>", "gb2312"),
        (b'<?xml version="1.0" encoding="iso-8859-2"?>', "iso-8859-2"),
        (b"<meta charset=utf-16>", "utf-8"),
        (b"<p>charset=koi8-r", None),
    ],
)
def test_the_charset_in_html_is_found(content: bytes, charset: str | None) -> None:
    assert declared_charset(content) == charset
