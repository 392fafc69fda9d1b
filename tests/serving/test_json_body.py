"""Bodies that clients really send: other encodings, byte order marks, escapes that are half a
character, names given twice, numbers that are none.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tamis.serving.errors import Refusal
from tamis.serving.json_body import parse_json
from tests.serving import served

JSON = {"content-type": "application/json"}
TEXTS = {"texts": ["WIN a prize", "dîner à 20h 🎂"]}
PLAIN = json.dumps(TEXTS, ensure_ascii=False)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    models = served.models(Path(tmp_path_factory.mktemp("store")) / "s.sqlite")
    with served.client(models) as found:
        yield found


ENCODED = {
    "UTF-8": PLAIN.encode(),
    "escapes": json.dumps(TEXTS).encode(),
    "byte order mark": codecs.BOM_UTF8 + PLAIN.encode(),
    "UTF-16 with a mark": PLAIN.encode("utf-16"),
    "UTF-16 little-endian": PLAIN.encode("utf-16-le"),
    "UTF-16 big-endian with a mark": codecs.BOM_UTF16_BE + PLAIN.encode("utf-16-be"),
    "UTF-32": PLAIN.encode("utf-32"),
    "blanks around": b"\r\n\t " + PLAIN.encode() + b"\n\n",
}


@pytest.mark.parametrize("kind", ENCODED)
def test_every_unicode_encoding_gives_the_same_answer(client: TestClient, kind: str) -> None:
    expected = client.post("/v1/predict", json=TEXTS)
    found = client.post("/v1/predict", content=ENCODED[kind], headers=JSON)
    assert found.status_code == 200 and found.json() == expected.json()


@pytest.mark.parametrize("charset", ["utf-8", "UTF8", '"utf-8"', "us-ascii"])
def test_the_charset_of_unicode_may_be_named(client: TestClient, charset: str) -> None:
    headers = {"content-type": f"application/json; charset={charset}"}
    assert client.post("/v1/predict", content=ENCODED["UTF-8"], headers=headers).is_success


def test_another_charset_is_refused_unless_it_makes_no_difference(client: TestClient) -> None:
    headers = {"content-type": "application/json; charset=iso-8859-1"}
    found = client.post("/v1/predict", content=PLAIN.encode("utf-8"), headers=headers)
    assert found.status_code == 415 and found.json()["error"]["code"] == "unsupported_media_type"
    assert client.post("/v1/predict", content=ENCODED["escapes"], headers=headers).is_success


SURROGATES = [
    ("/v1/predict", b'{"texts":["ok","cut emoji \\ud83d"]}', "texts.1", 10),
    ("/v1/explain", b'{"texts":["\\udc00 low first"]}', "texts.0", 0),
    ("/v1/predict", b'{"texts":["wrong order \\ude00\\ud83d"]}', "texts.0", 12),
    ("/v1/predict", b'{"texts":["\\ud83d\\ude00 whole, then half \\ud83d"]}', "texts.0", 19),
    ("/v1/predict", b'{"texts":["ok"],"model":"\\ud83d"}', "model", 0),
    ("/v1/predict", b'{"texts":["ok"],"user":"me\\ud83d"}', "user", 2),
    ("/v1/feedback", b'{"items":[{"text":"ok","label":"ham"},{"text":"\\ud83d","label":"ham"}]}',
     "items.1.text", 0),
    ("/v1/feedback", b'{"items":[{"text":"ok","label":"h\\ud83d"}]}', "items.0.label", 1),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "field", "place"), SURROGATES)
def test_half_a_character_is_named_by_its_text_and_place(
    client: TestClient, path: str, body: bytes, field: str, place: int
) -> None:
    for encoded in (body, codecs.BOM_UTF8 + body, body.decode().encode("utf-16")):
        found = client.post(path, content=encoded, headers=JSON)
        error = found.json()["error"]
        assert (found.status_code, error["code"], error["field"]) == (422, "invalid", field)
        assert error["message"].startswith(f"{field} is not valid Unicode: character {place} ")
        assert "emoji" not in error["message"]


def test_whole_pairs_are_text(client: TestClient) -> None:
    found = client.post("/v1/predict", content=b'{"texts":["\\ud83d\\ude00"]}', headers=JSON)
    assert found.json() == client.post("/v1/predict", json={"texts": ["😀"]}).json()


REFUSED = [
    (b"", None, "it is empty"),
    (b" \n", None, "it is empty"),
    (codecs.BOM_UTF8, None, "it is empty"),
    (codecs.BOM_UTF16_LE, None, "it is empty"),
    (b'{"texts":["caf\xe9"]}', None, "byte 14 is not valid UTF-8"),
    (codecs.BOM_UTF16_LE + b'{"', None, "is not valid"),
    (b'{"texts":["a"]} {}', None, "extra data at line 1 column 17"),
    (b'{"texts":["a"],}', None, "at line 1 column"),
    (b"{'texts':['a']}", None, "at line 1 column 2"),
    (b'{"texts":["a\nb"]}', None, "invalid control character at"),
    (b'{"texts":["\\x41"]}', None, "escape"),
    (b'{"texts":[Infinity]}', None, "Infinity is not a JSON number"),
    (b'{"texts":[-Infinity]}', None, "-Infinity is not a JSON number"),
    (b'{"texts":[1e999]}', None, "out of range"),
    (b'{"texts":[' + b"9" * 5_000 + b"]}", None, "too many digits"),
    (b'{"texts":["a"],"texts":["b"]}', "texts", "texts is given twice"),
    (b'{"texts":["a"],"te\\u0078ts":["b"]}', "texts", "texts is given twice"),
    (b'{"items":[{"text":"a","label":"ham","label":"spam"}]}', "items.0.label", "given twice"),
    (b'{"my secret text":1,"my secret text":2}', None, "a field is given twice"),
    (b'{"texts":{"0":"a"}}', "texts", "texts must be a list"),
    (b'{"texts":true}', "texts", "texts must be a list"),
    (b'"texts"', None, "must be an object"),
    (b"[{}]", None, "must be an object"),
]


@pytest.mark.parametrize(("body", "field", "words"), REFUSED)
def test_what_is_no_request_is_422_in_the_documented_form(
    client: TestClient, body: bytes, field: str | None, words: str
) -> None:
    found = client.post("/v1/predict", content=body, headers=JSON)
    assert found.status_code == 422 and found.json().keys() == {"error"}
    error = found.json()["error"]
    assert (error["code"], error["field"]) == ("invalid", field) and words in error["message"]
    assert "secret" not in error["message"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "json"])
def test_another_content_type_is_415(client: TestClient, kind: str) -> None:
    found = client.post("/v1/predict", content=PLAIN.encode(), headers={"content-type": kind})
    assert found.status_code == 415 and found.json()["error"]["code"] == "unsupported_media_type"


def test_a_trailing_slash_makes_no_difference(client: TestClient) -> None:
    expected = client.post("/v1/predict", json=TEXTS).json()
    for path in ("/v1/predict/", "/v1/predict//"):
        assert client.post(path, json=TEXTS).json() == expected
    assert client.get("/healthz/").json() == client.get("/healthz").json()
    assert client.get("/v1/feedback/").json() == {"items": []}
    assert client.get("/v1/predict/").status_code == 405
    assert client.get("/nothing/").status_code == 404
    assert client.get("/").is_success


def test_a_trailing_slash_does_not_get_round_the_key(tmp_path: Path) -> None:
    from tamis.serving.api_keys import Keys

    models = served.models(tmp_path / "s.sqlite")
    with served.client(models, keys=Keys.of("k" * 32)) as client:
        for path in ("/v1/models/", "/metrics/", "/metrics", "/v1/models//"):
            assert client.get(path).status_code == 401


def test_deep_and_wide_bodies_are_refused_quickly() -> None:
    for body in (b"[" * 200_000, b'{"a":' * 200_000):
        with pytest.raises(Refusal, match="nested too deeply"):
            parse_json(body)
    assert len(parse_json(b"[" + b"1," * 500_000 + b"1]")) == 500_001
