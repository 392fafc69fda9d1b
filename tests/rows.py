"""Short messages written for this project, in the manner of text messages: no row of any public
data set.

`messages()` is the same list at every call and on every machine: it draws nothing at random.
"""

from __future__ import annotations

_HAM_OPENINGS = ["hey", "Ok so", "sorry,", "lol", "Hi mum,", "yo", "Morning!", "aight"]
_HAM_MIDDLES = [
    "im on the bus til {n}, cant talk",
    "did u eat yet? theres pasta in the fridge",
    "running {n} min late, traffic is mad",
    "can u bring my blue charger 2nite",
    "the match got moved to {n} oclock",
    "ill ring u after the lecture",
    "u left ur keys at mine again",
    "dont forget to pay the plumber {n} quid",
    "nan says thank you for the flowers",
    "meet at platform {n}, usual bench",
    "Just finished, walking home now",
]
_HAM_CLOSINGS = ["", " x", " :)", "...", " luv u", "?!", " ok?"]
_SPAM = [
    "URGENT! Your number won a £{n}00 prize. Call 0900 555 01{n} NOW, code T{n}",
    "FREE ringtones for {n} weeks! Txt TONE to 8{n}0{n}. 150p/msg, 18+ only, STOP to end",
    "Dear customer, your account is on hold. Verify at http://bank-{n}.example/login today",
    "Congrats!!! You have been chosen for a holiday for 2. Claim within {n} hrs: "
    "www.win{n}.example",
    "Lonely? {n} singles near you want to chat. Reply MEET to 6{n}11, £1.50 per text",
    "Final notice: parcel #{n}4{n} is waiting, pay the £1.{n} fee at parcel{n}.example",
]
_ODD = [
    ("ham", "dîner à 20h chez Zoé? j'apporte le gâteau 🎂"),
    ("ham", "ｆｕｌｌ width 你好 مرحبا שלום — see u"),
    ("ham", "e\u0301 is not é, zero\u200bwidth, soft\u00adhyphen"),
    ("ham", "family 👨‍👩‍👧‍👦 flag 🇫🇷 skin 👍🏽"),
    ("ham", "she said \"come, now\"; he said 'no'"),
    ("ham", "<|endoftext|> is only text here"),
    ("ham", "   spaces   everywhere   "),
    ("ham", "k"),
    ("ham", "&lt;3 &amp; 10% of 5,50€ = ½ €"),
    ("spam", "ＦＲＥＥ ｍｏｎｅｙ！！！ ✅✅✅ reply Y"),
    ("spam", "Wіn а рrіze: this has Cyrillic letters, call 0900 555 0000"),
    ("spam", "C.L.A.I.M y0ur v0ucher n0w -> http://xn--bcher-kva.example"),
]
HAM_ROWS, SPAM_ROWS = 96, 28
"""Of 124 rows: the natural share of spam, roughly. Three ham and two spam rows repeat an earlier
one exactly."""


def messages() -> list[tuple[str, str]]:
    """124 pairs of label ("ham" or "spam") and text, the classes well mixed."""
    odd = {label: [text for kind, text in _ODD if kind == label] for label in ("ham", "spam")}
    ham = odd["ham"] + [_ham(number) for number in range(HAM_ROWS - len(odd["ham"]) - 3)]
    spam = odd["spam"] + [_spam(number) for number in range(SPAM_ROWS - len(odd["spam"]) - 2)]
    rows = [("ham", text) for text in ham + ham[20:23]] + [
        ("spam", text) for text in spam + spam[5:7]
    ]
    # 37 shares no factor with 124: every row is visited once, in an order without long runs of
    # either class.
    return [rows[37 * position % len(rows)] for position in range(len(rows))]


def _ham(number: int) -> str:
    middle = _HAM_MIDDLES[number % len(_HAM_MIDDLES)].format(n=number % 9 + 2)
    opening = _HAM_OPENINGS[number * 3 % len(_HAM_OPENINGS)]
    return f"{opening} {middle}{_HAM_CLOSINGS[number * 5 % len(_HAM_CLOSINGS)]}"


def _spam(number: int) -> str:
    # One template with other digits each time: the near-repeats that every spam table is full of.
    return _SPAM[number % len(_SPAM)].format(n=number % 7 + 1)
