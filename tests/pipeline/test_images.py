"""Images in data URLs: what is one, what it costs, and what is refused in so many words."""

import pytest

from pipeline.images import MAX_IMAGE_BYTES, data_url, image_of, image_tokens
from pipeline.types import Image
from tests.images import jpeg, png, url


def test_a_png_and_a_jpeg_are_read_with_their_size_and_come_back_as_they_were() -> None:
    picture, photo = image_of(url(png(3, 2))), image_of(url(jpeg(640, 480), "image/jpeg"), "low")
    assert (picture.media_type, picture.width, picture.height, picture.detail) == ("image/png", 3, 2, "auto")
    assert (photo.media_type, photo.width, photo.height, photo.detail) == ("image/jpeg", 640, 480, "low")
    assert data_url(picture) == url(png(3, 2))
    assert data_url(photo) == url(jpeg(640, 480), "image/jpeg")


def test_what_many_call_a_jpeg_is_one() -> None:
    assert image_of(url(jpeg(), "image/jpg")).media_type == "image/jpeg"
    assert image_of(url(jpeg(), "IMAGE/JPEG")).media_type == "image/jpeg"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("https://example.com/cat.png", "data URL"),
        ("", "data URL"),
        ("data:image/png,plain", "base64"),
        ("data:image/png;base64,???", "base64"),
        (url(png(), "image/jpeg"), "not what it is"),
        (url(png(), "image/webp"), "not what it is"),
        (url(b"GIF89a" + bytes(40), "image/gif"), "PNG or a JPEG"),
        (url(b"", "image/png"), "PNG or a JPEG"),
        (url(png()[:20]), "damaged"),
        (url(png(0, 1)), "no pixels"),
        (url(jpeg()[:12], "image/jpeg"), "damaged"),
        (url(b"\xff\xd8\xff\xe0\x00\x00" + bytes(100), "image/jpeg"), "damaged"),
        (url(png(padding=MAX_IMAGE_BYTES)), "more than"),
    ],
    ids=lambda value: value[:40],
)
def test_what_is_no_image_is_refused_and_says_why(wrong: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        image_of(wrong)


@pytest.mark.parametrize(
    ("width", "height", "detail", "tokens"),
    [
        (1024, 1024, "high", 765),  # OpenAI's own examples
        (2048, 4096, "high", 1105),
        (4096, 8192, "low", 85),
        (10, 10, "auto", 255),
        (100_000, 1, "high", 85 + 4 * 170),
    ],
)
def test_an_image_costs_what_openai_says(width: int, height: int, detail: str, tokens: int) -> None:
    assert image_tokens(Image(b"", "image/png", width, height, detail)) == tokens  # type: ignore[arg-type]
