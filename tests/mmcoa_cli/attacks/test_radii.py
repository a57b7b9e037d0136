"""eps and alpha: one form for one number, a default that fits the norm, and a word where the steps do not fit eps."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import NamedTuple

import pytest

from mmcoa_cli.attacks.image import IMAGE
from mmcoa_cli.attacks.radii import canonical, canonical_or_same, radius
from mmcoa_cli.attacks.settings import PgdSettings
from mmcoa_cli.jobs.evaluation_spec import evaluation_spec
from mmcoa_cli.jobs.training_spec import stored_options, train_spec
from store.errors import UserError
from store.keys import key_of


class Form(NamedTuple):
    canonical: str
    typed: tuple[str, ...]


FORMS = [
    Form("1/255", ("1/255", " 1/255 ", "2/510", "+1/255", "1.0/255", "1 / 255", "10e-1/255", "0.00392156862745098")),
    Form("0.5/255", ("0.5/255", ".5/255", "1/510", "0.0019607843137254902")),
    Form("8/255", ("8/255", "0.03137254901960784", "16/510", "008/255")),
    Form("1/64", ("4/256", "1/64", "0.015625")),
    Form("51/255", ("51/255", "0.2", "1/5")),
    Form("0.001", ("1e-3", "0.001", "1/1000", "1E-3")),
    Form("0.5", ("0.5", "1/2", "5e-1", "127.5/255")),
    Form("4", ("4", "4.0", "1020/255", "4/1", "4e0")),
    Form("0.0039", ("0.0039", "39/10000")),
    Form("5/14", ("5/14", "10/28")),
]
NO_NUMBERS = [
    "", " ", "eps", "1/0", "0/0", "nan", "inf", "-inf", "1/2/3", "1//255", "1/", "/255", "1_0/255", "0x1", "１/255",
    "1/٢٥٥", "1/255\x00", "1/255 of", "9" * 5000, "1/" + "9" * 5000, "1e9999999999", "1e-9999999999", "1/1e-9999999",
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.canonical.replace("/", ":"))
def test_a_number_has_one_form(form: Form):
    assert {canonical(text) for text in form.typed} == {form.canonical}
    assert {radius(text) for text in form.typed} == {radius(form.canonical)}


@pytest.mark.parametrize("levels", [*range(1, 255), *(Fraction(k, 8) for k in range(1, 40))])
def test_every_way_to_write_a_level_is_the_same(levels: Fraction):
    number = Fraction(levels) / 255
    texts = {f"{number.numerator}/{number.denominator}", repr(float(number)), f"{float(levels)}/255"}
    (form,) = {canonical(text) for text in texts}
    assert canonical(form) == form
    assert radius(form) == float(number)


@pytest.mark.parametrize("text", ["0.123456789", "0.1234567890123456789012345678901234/255", "1/999999", "9999.99999"])
def test_long_numbers_keep_their_double_and_fit_the_index(text: str):
    form = canonical(text)
    assert radius(form) == radius(text)
    assert canonical(form) == form
    assert len(form) <= 40


@pytest.mark.parametrize("text", NO_NUMBERS, ids=lambda text: ascii(text[:12]))
def test_what_is_no_number_is_one_short_line(text: str):
    for option in ("--eps", "--alpha"):
        with pytest.raises(UserError, match=f"{option} .* is not a number") as caught:
            radius(text, option)
        assert len(str(caught.value)) < 120
    assert canonical_or_same(text) == text


@pytest.mark.parametrize("text", ["1e-300", "1e-8", "1e300", "10001", "1/1e-400"])
def test_what_no_image_can_use_is_refused(text: str):
    with pytest.raises(UserError):
        PgdSettings("l2", text)


@pytest.mark.parametrize("text", ["0", "0/255", "0.0", "-0", "0e5"])
def test_eps_0_names_the_clean_test(text: str):
    with pytest.raises(UserError) as caught:
        PgdSettings(eps=text)
    assert "--attack clean" in str(caught.value.hint)
    with pytest.raises(UserError, match="--alpha") as caught:
        PgdSettings(alpha=text)
    assert "clean" not in str(caught.value.hint)


@pytest.mark.parametrize(
    "text,hint", [("8", "--eps 8/255"), ("1", "--eps 1/255"), ("2.5", "--eps 2.5/255"), ("255/255", "--eps 8/255"),
                  ("300/255", "--eps 8/255"), ("255", "--eps 8/255"), ("300", "--eps 8/255"), ("1.0", "--eps 1/255")]
)  # fmt: skip
def test_the_hint_for_the_whole_range_can_be_typed(text: str, hint: str):
    with pytest.raises(UserError) as caught:
        PgdSettings(eps=text)
    assert str(caught.value).startswith(f"--eps {text} is the whole range")
    assert caught.value.hint == hint
    PgdSettings(eps=hint.removeprefix("--eps "))


@pytest.mark.parametrize(
    "norm,eps,steps,alpha",
    [("linf", "4/255", 100, "1/255"), ("linf", "4/255", 10, "1/255"), ("l2", "4", 10, "1"), ("l2", "4", 100, "0.1"),
     ("l2", "128/255", 100, "3.2/255"), ("l2", "0.5", 7, "5/28"), ("l2", "0.5", 0, "1.25")],
)  # fmt: skip
def test_alpha_is_the_norms_own_unless_given(norm: str, eps: str, steps: int, alpha: str):
    attack = PgdSettings(norm, eps, steps=steps)
    assert attack.alpha == alpha
    assert evaluation_spec("x", ("y",), norm=norm, eps=eps, steps=steps).settings(IMAGE).alpha == alpha
    if norm == "l2":
        assert attack.step_size == pytest.approx(2.5 * radius(eps) / max(steps, 1), rel=1e-15)
    assert PgdSettings(norm, eps, "1/255", steps).alpha == "1/255"


def test_the_same_number_is_the_same_key():
    forms = ("2/255", "4/510", " 2/255", "0.00784313725490196")
    assert len({key_of(PgdSettings(eps=eps, alpha=alpha)) for eps in forms for alpha in forms}) == 1
    assert len({key_of(train_spec("tecoa", eps=eps, alpha=alpha)) for eps in forms for alpha in forms}) == 1
    assert len({key_of(evaluation_spec("x", ("y",), eps=eps)) for eps in forms}) == 1


def test_options_of_an_older_index_are_read_in_the_same_form():
    old = json.dumps({"eps": "2/510", "alpha": "0.00392156862745098", "seed": 3, "more": 1})
    assert stored_options(old) == {"eps": "1/255", "alpha": "1/255", "seed": 3, "more": 1}
    assert stored_options('{"eps": "wide", "alpha": null}') == {"eps": "wide", "alpha": None}


class Fit(NamedTuple):
    options: dict[str, object]
    said: str


FITS = [
    Fit({}, ""),
    Fit({"eps": "4/255", "steps": 4}, ""),
    Fit({"eps": "4/255", "steps": 3}, "does not reach"),
    Fit({"steps": 0}, "does not reach"),
    Fit({"eps": "2/255", "alpha": "4/255"}, ""),
    Fit({"eps": "2/255", "alpha": "4.01/255"}, "more than twice"),
    Fit({"eps": "0.25/255"}, "more than twice"),
    Fit({"norm": "l2", "eps": "4", "steps": 10}, ""),
    Fit({"norm": "l2", "eps": "4", "alpha": "1/255", "steps": 10}, "does not reach"),
    Fit({"norm": "l2", "eps": "4", "alpha": "8.1"}, "more than twice"),
]


@pytest.mark.parametrize("fit", FITS, ids=lambda fit: str(fit.options))
def test_steps_that_do_not_fit_eps_are_called_so(fit: Fit):
    caution = PgdSettings(**fit.options).caution  # type: ignore[arg-type]
    assert (fit.said in caution) if fit.said else caution == ""


def test_a_step_along_a_vector_is_told_as_a_length() -> None:
    assert PgdSettings(norm="l2", eps="0.5", steps=3).in_words() == "L2, eps 0.5, alpha 0.4167, 3 steps"
    assert PgdSettings(eps="2/255", steps=3).in_words() == "L-inf, eps 2/255, alpha 1/255, 3 steps"
