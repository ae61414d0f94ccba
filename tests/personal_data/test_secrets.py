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
    ("postgres://ada:Tr0ub4dor@db.example.org/x", "Tr0ub4dor"), ("redis://:Tr0ub4dor@localhost/0", "Tr0ub4dor"),
    ("DB_PASSWORD=hunter22", "hunter22"), ('{"password": "hunter22"}', "hunter22"), ("client_secret: a8f5f1", "a8f5f1"),
    ("AWS_SECRET_ACCESS_KEY = wJalrXUtnFEMI/K7MDENG", "wJalrXUtnFEMI"), ("My password is: hunter22", "hunter22"),
    ("password for GitHub: hunter22", "hunter22"), ("Das Passwort für das WLAN ist Gz7#pqr", "Gz7#pqr"),
    ("PIN-Code: 4711", "4711"), ("secret: password: hunter22", "hunter22"), ("password: [hunter22]", "hunter22"),
    ("password: " + "aB3" * 100, "aB3"),
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
    "The password for 2024 was a long one.",
    "Mind the password: [[Notes]] tell it.",
    "The -----END of a PRIVATE KEY----- is a line.",
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


NEIGHBOURS = [
    ("4111 1111 1111 1111 12/27 123", "[card number held back] 12/27 123"),
    ("2026-11-26 5555 5555 5555 4444 99,00 EUR", "2026-11-26 [card number held back] 99,00 EUR"),
    ("card 2 3782 822463 10005 and 1", "card 2 [card number held back] and 1"),
    ("1 4111111111111111 2", "1 [card number held back] 2"),
    ("AT61 1904 3002 3457 3201 BIC GIBAATWW", "[account number held back] BIC GIBAATWW"),
    ("to ES9121000418450200051332 by 12 May", "to [account number held back] by 12 May"),
    ("iban:de89 3704 0044 0532 0130 00.", "iban:[account number held back]."),
    ("4111 1111 1111 1112 12/27", "4111 1111 1111 1112 12/27"),
    ("AT61 1904 3002 3457 3202 BIC GIBAATWW", "AT61 1904 3002 3457 3202 BIC GIBAATWW"),
    ("+4111 1111 1111 1111", "+4111 1111 1111 1111"),
    ("0.4111111111111111", "0.4111111111111111"),
]


@pytest.mark.parametrize(("text", "held"), NEIGHBOURS)
def test_numbers_are_found_among_other_numbers_and_words(text: str, held: str) -> None:
    assert hold_back(text)[0] == held


@given(
    st.lists(st.text("0123456789", min_size=1, max_size=12), max_size=3),
    st.integers(0, 10**14 - 1),
    st.lists(st.text("0123456789", min_size=1, max_size=12), max_size=3),
)
def test_a_printed_card_is_found_between_any_numbers(before: list[str], number: int, after: list[str]) -> None:
    body = f"4{number:014}"
    digits = f"{body}{next(d for d in range(10) if luhn_sum(f'{body}{d}') % 10 == 0)}"
    card = " ".join(digits[start : start + 4] for start in range(0, 16, 4))
    assert card not in hold_back(" ".join([*before, card, *after]))[0]


BODY = "MIIEowIBAAKCAQEAq83vxx0Z\n" * 3


def test_a_locked_key_is_held_back_whole() -> None:
    headers = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0011\n\n"
    whole = f"-----BEGIN RSA PRIVATE KEY-----\n{headers}{BODY}-----END RSA PRIVATE KEY-----"
    assert hold_back(f"See {whole} - bye") == ("See [private key held back] - bye", {"private key": 1})
    assert hold_back(whole[: len(whole) // 2]) == ("[private key held back]", {"private key": 1})


def test_the_rest_of_a_key_that_was_cut_in_two_is_held_back() -> None:
    assert hold_back(f"And so it went on\n{BODY}A=\n-----END PRIVATE KEY-----\nBye")[0] == (
        "And so it went on\n[private key held back]\nBye"
    )


def luhn_sum(digits: str) -> int:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total


@pytest.mark.parametrize(
    "hostile",
    ["1 " * 200_000, "4111 " * 100_000, "password" * 50_000, "password is " * 40_000, "password for " * 40_000,
     "password for a b" * 40_000, "password: " + "a" * 400_000, "pin" + " " * 400_000, "eyJ" * 100_000,
     "-----BEGIN PRIVATE KEY-----" * 20_000, "-----BEGIN PRIVATE KEY-----Proc-Type: -" * 20_000,
     "-----END PRIVATE KEY-----" * 20_000, ("A" * 20 + "\n") * 50_000 + "-----END PRIVATE KEY-----",
     "://a:" * 100_000, "AB12" * 100_000, "sk-" * 100_000, "pass " * 100_000],
)  # fmt: skip
def test_hostile_texts_are_read_in_one_go(hostile: str) -> None:
    assert isinstance(hold_back(hostile)[0], str)
