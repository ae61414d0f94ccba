"""Secrets are held back by kind; ordinary texts and numbers stay as they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personal_data.secrets import hold_back

CARDS = ["4111 1111 1111 1111", "5555-5555-5555-4444", "378282246310005", "6011111111111117", "3530111333300000"]
SECRETS = {
    "card number": CARDS,
    "account number": ["DE89 3704 0044 0532 0130 00", "GB29NWBK60161331926819", "FR1420041010050500013M02606"],
    "access key": [
        "sk-proj-" + "aB3_" * 12, "sk-ant-" + "x9Y-" * 10, "ghp_" + "a1B2" * 9, "github_pat_" + "A1b2_" * 10,
        "AKIAIOSFODNN7EXAMPLE", "AIza" + "Sy0_-" * 7, "xoxb-123456789012-abcdefGHIJ", "glpat-" + "a1B2c" * 4,
        "fm_cee13b4522ca_" + "77d792a4c349cf3e" * 4,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    ],
    "private key": [
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\nq83v\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END PRIVATE KEY-----",
    ],
}  # fmt: skip
PASSWORDS = [
    ("My password is hunter2!", "hunter2"), ("Passwort: Gz7#pqr", "Gz7#pqr"), ("PIN: 4711", "4711"),
    ("the pin is 0815.", "0815"), ("mot de passe : s3cret", "s3cret"), ("contraseña = 'Abc123'", "Abc123"),
    ("api_key=a8f5f167f44f4964e6c998dee827110c", "a8f5f167f44f4964e6c998dee827110c"),
    ("postgres://ada:Tr0ub4dor@db.example.org/x", "Tr0ub4dor"),
]  # fmt: skip
ORDINARY = [
    "Call me at +49 170 1234567 or 0151-23456789012.",
    "Order 4929 1234 5678 9012 3456 7890 is on its way.",
    "The commit is 8843d7f92416211de9ebb963ff4ce28125932878.",
    "ISBN 978-3-16-148410-0, 2023-05-13 18:37:05",
    "urn:uuid:123e4567-e89b-12d3-a456-426614174000",
    "My password is the name of my first cat.",
    "The secret is Patience.",
    "I changed my password yesterday, what is the password for the wifi?",
    "The secret: always add butter.",
    "1234567890123456",
    "4111 1111 1111 1112",
    "DE89 3704 0044 0532 0130 01",
    "https://example.org:8080/path@home",
    "sk-8 and ghp_short",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
]


@pytest.mark.parametrize(("kind", "secret"), [(kind, secret) for kind, all_ in SECRETS.items() for secret in all_])
def test_a_secret_is_held_back_where_it_stands(kind: str, secret: str) -> None:
    text, found = hold_back(f"Look: {secret} , that's it.\nBye")
    assert text == f"Look: [{kind} held back] , that's it.\nBye"
    assert found == {kind: 1}


def test_a_key_that_is_cut_off_is_held_back_to_the_end() -> None:
    assert (
        hold_back("See:\n-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\nAAAA")[0]
        == "See:\n[private key held back]"
    )


@pytest.mark.parametrize(("text", "secret"), PASSWORDS)
def test_passwords_are_held_back(text: str, secret: str) -> None:
    held, found = hold_back(text)
    assert secret not in held and found == {"password": 1}


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_texts_stay(text: str) -> None:
    assert hold_back(text) == (text, {})


@given(st.text(st.characters(exclude_characters="0123456789:=@", exclude_categories=["Cs", "Nd"])))
def test_a_text_without_digits_and_marks_stays(text: str) -> None:
    held, found = hold_back(text)
    assert (held, found) == (text, {}) or "is" in text.casefold() or "PRIVATE KEY" in text


@given(st.text(max_size=40), st.integers(0, 10**14 - 1), st.sampled_from(["", " ", "-"]), st.text(max_size=40))
def test_any_card_anywhere_is_held_back(before: str, number: int, gap: str, after: str) -> None:
    body = f"4{number:014}"
    check = next(d for d in range(10) if luhn_sum(f"{body}{d}") % 10 == 0)
    digits = f"{body}{check}"
    card = gap.join(digits[start : start + 4] for start in range(0, 16, 4))
    held, found = hold_back(f"{before}\n{card}\n{after}")
    assert card not in held and found["card number"] >= 1
    assert hold_back(held)[1]["card number"] == 0


def luhn_sum(digits: str) -> int:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total


@pytest.mark.parametrize(
    "hostile",
    ["1 " * 200_000, "password" * 50_000, "password is " * 40_000, "eyJ" * 100_000,
     "-----BEGIN PRIVATE KEY-----" * 20_000,
     "://a:" * 100_000, "AB12" * 100_000, "sk-" * 100_000, "pass " * 100_000],
)  # fmt: skip
def test_hostile_texts_are_read_in_one_go(hostile: str) -> None:
    assert isinstance(hold_back(hostile)[0], str)
