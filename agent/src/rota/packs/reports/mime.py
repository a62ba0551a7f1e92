"""What kind of content a file is sent as, by its extension."""

from rota.packs.reports.names import extension_of

UNKNOWN = "application/octet-stream"
TYPES = {
    "csv": "text/csv",
    "html": "text/html",
    "htm": "text/html",
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "kbart": "text/tab-separated-values",
    "marc": "application/marc",
    "marcxml": "application/xml",
    "md": "text/markdown",
    "mrc": "application/marc",
    "onix": "application/xml",
    "pdf": "application/pdf",
    "ris": "application/x-research-info-systems",
    "rss": "application/rss+xml",
    "atom": "application/atom+xml",
    "tsv": "text/tab-separated-values",
    "txt": "text/plain",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "xml": "application/xml",
    "zip": "application/zip",
}
TEXTUAL = {"application/json", "application/x-ndjson", "application/x-research-info-systems"}


def media_type(file_name: str) -> str:
    """The bare type, as in `text/csv`. The same on every host, whatever types its system knows."""
    return TYPES.get(extension_of(file_name).lower(), UNKNOWN)


def content_type(file_name: str) -> str:
    """As a header has it: text with its charset, for scripts write UTF-8. XML says its encoding itself, as in UTF-8."""
    kind = media_type(file_name)
    is_text = kind.startswith("text/") or kind.endswith(("+xml", "/xml")) or kind in TEXTUAL
    return f"{kind}; charset=utf-8" if is_text else kind
