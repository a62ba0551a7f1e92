"""Every title as XML, for catalogues."""

from xml.sax.saxutils import escape, quoteattr

from database import connect
from queries.press import titles_xml

cursor = connect().cursor()
cursor.execute(titles_xml.query)
print('<?xml version="1.0" encoding="UTF-8"?>')
print("<titles>")
for isbn, name, language, published in cursor:
    attributes = f"isbn={quoteattr(isbn)} language={quoteattr(language)} published={quoteattr(str(published))}"
    print(f"  <title {attributes}>{escape(name)}</title>")
print("</titles>")
