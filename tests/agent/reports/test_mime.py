"""Laws of content types: those that the original gave, and text always with its charset."""

import pytest

from rota.packs.reports.mime import content_type, media_type


@pytest.mark.parametrize(
    ("extension", "kind"),
    [
        ("json", "application/json"),
        ("html", "text/html"),
        ("xml", "application/xml"),
        ("rss", "application/rss+xml"),
        ("csv", "text/csv"),
        ("tsv", "text/tab-separated-values"),
        ("ris", "application/x-research-info-systems"),
        ("onix", "application/xml"),
        ("marcxml", "application/xml"),
        ("kbart", "text/tab-separated-values"),
        ("marc", "application/marc"),
        ("mrc", "application/marc"),
        ("687t9fougjhgr65e8", "application/octet-stream"),
    ],
)
def test_the_original_s_types_are_kept(extension: str, kind: str) -> None:
    assert media_type(f"file.{extension}") == media_type(f"a.b.{extension.upper()}") == kind


@pytest.mark.parametrize("name", ["a.csv", "a.xml", "a.json", "a.rss", "a.ris", "a.kbart", "a.txt"])
def test_text_says_its_charset(name: str) -> None:
    assert content_type(name).endswith("; charset=utf-8")


@pytest.mark.parametrize("name", ["a.marc", "a.zip", "a.unknown", "noextension"])
def test_other_content_says_none(name: str) -> None:
    assert "charset" not in content_type(name)
